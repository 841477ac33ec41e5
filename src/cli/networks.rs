//! `retune networks`: the architectures that are known, and what can be done with each.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::table::left;
use crate::engine::network::{Entry, entries};

/// Print the architectures that are known, with what can be done with each.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> ExitCode {
    if args.json {
        outln!("{}", document());
    } else {
        out!("{}", text());
    }
    ExitCode::SUCCESS
}

/// One object a family; the last is whatever no builder knows.
fn document() -> Value {
    let known = entries().into_iter().map(|entry| {
        json!({
            "names": entry.names,
            "library": entry.library,
            "classes": entry.classes,
            "bodies": entry.has_bodies,
            "experts": entry.has_experts,
            "network": "graph",
            "identity": true,
            "symmetry": true,
            "gradients": true,
            "functional": true,
        })
    });
    let other = json!({
        "names": [],
        "library": null,
        "classes": [],
        "bodies": true,
        "experts": null,
        "network": "by_names",
        "identity": true,
        "symmetry": false,
        "gradients": false,
        "functional": false,
    });
    known.chain([other]).collect()
}

fn text() -> String {
    let head = [
        "names",
        "library",
        "classes",
        "identity",
        "symmetry",
        "gradients",
        "functional",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];

    for Entry {
        names,
        library,
        classes,
        has_bodies,
        has_experts,
    } in entries()
    {
        let body = has_bodies.then_some("…Model (a)".to_owned());
        let classes = classes.iter().map(|class| format!("…{class}")).chain(body);
        let classes: Vec<String> = classes.collect();
        let [names, classes] = [names.join(", "), classes.join(", ")];
        let functional = if has_experts { "yes (b)" } else { "yes" };
        let can = ["yes", "yes", "yes", functional].map(String::from);
        rows.push([vec![names, library.to_owned(), classes], can.to_vec()].concat());
    }

    let other = ["any other", "", "", "yes", "no", "no", "no"];
    rows.push(other.map(String::from).to_vec());
    rows.push(vec![
        "\"model_type\": \"graph\"".into(),
        String::new(),
        "any".into(),
    ]);
    if let Some(last) = rows.last_mut() {
        last.extend(["yes"; 4].map(String::from));
    }

    left(&rows)
        + "(a) a body without a head: identity and symmetry alone\n\
           (b) of the layers beside experts; functional, bico and theseus leave the experts' order and units\n"
}
