//! The pages of `docs/reference/`, written from the code: nobody keeps them up by hand.
//!
//! `RETUNE_REWRITE_GOLDEN=1 cargo test --test main reference` rewrites them.

mod cli;
mod codes;
mod configuration;
mod graph_ops;
mod networks;
mod report;

use crate::support::kept;

#[test]
fn the_reference_pages_say_what_the_code_says() {
    for (name, page) in [
        ("cli", cli::page()),
        ("codes", codes::page()),
        ("configuration", configuration::page()),
        ("graph-ops", graph_ops::page()),
        ("networks", networks::page()),
        ("report", report::page()),
    ] {
        kept::hold(&format!("docs/reference/{name}.md"), &page, "reference");
    }
}

/// A text on one line of Markdown, in a table or outside: nothing in it is read as a mark.
fn line(text: &str) -> String {
    let text = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|");
    let parts = text.split('`').enumerate().map(|(i, part)| {
        // Between two backticks everything stands as it is.
        if i % 2 == 1 {
            part.to_owned()
        } else {
            part.replace('<', "\\<").replace('*', "\\*")
        }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// The head of a page, which says where its text comes from.
fn head(title: &str, source: &str) -> String {
    format!("# {title}\n\nThis page is written from {source} by `tests/reference.rs`.\n\n")
}
