//! Settings, from `config/default.toml`: a comment belongs to the key below it, or to the section.

use super::{head, line};

const DEFAULTS: &str = include_str!("../../config/default.toml");

pub fn page() -> String {
    let mut page = head(
        "Settings",
        "[config/default.toml](../../config/default.toml)",
    );
    let mut comment: Vec<&str> = Vec::new();
    let mut is_within_table = false;

    for text in DEFAULTS.lines() {
        if let Some(remark) = text.strip_prefix('#') {
            comment.push(remark.trim());
        } else if let Some((key, default)) = text.split_once(" = ") {
            if !is_within_table {
                page.push_str("| key | default | meaning |\n|---|---|---|\n");
            }
            is_within_table = true;
            let meaning = line(&comment.join(" "));
            page.push_str(&format!("| `{key}` | `{default}` | {meaning} |\n"));
            comment.clear();
        } else {
            if is_within_table {
                page.push('\n');
            }
            is_within_table = false;
            page.push_str(&remarks(&comment));
            comment.clear();
            if text.starts_with('[') {
                page.push_str(&format!("## `{text}`\n\n"));
            }
        }
    }

    page + &remarks(&comment)
}

/// What a comment says that belongs to no key, with its examples.
fn remarks(comment: &[&str]) -> String {
    let (examples, said): (Vec<&str>, Vec<&str>) = comment
        .iter()
        .partition(|text| text.starts_with('[') || text.contains(" = "));
    let mut text = String::new();
    if !said.is_empty() {
        text.push_str(&format!("{}\n\n", line(&said.join(" "))));
    }
    if !examples.is_empty() {
        text.push_str(&format!("```toml\n{}\n```\n\n", examples.join("\n")));
    }
    text
}
