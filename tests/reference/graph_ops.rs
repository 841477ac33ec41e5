//! Operations of a graph. What they compute is told by hand; that the page names every one, with every option,
//! is seen by asking the reader of graphs what it knows.

use std::{fs, path::Path};

use retune::engine::network::Op;
use serde_json::json;

/// What begins the part that is written from the code, to the end of the page.
const GENERATED: &str = "## Every operation\n";

pub fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/graph-ops.md");
    let page = fs::read_to_string(file).expect("the page of operations");
    let told = page
        .split(GENERATED)
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned();

    let mut table = String::from("| `op` | fields |\n|---|---|\n");
    for op in known(&json!({"op": "?"}).to_string()) {
        assert!(
            told.contains(&format!("`{op}`")),
            "graph-ops.md does not tell of `{op}`"
        );
        let fields = known(&json!({"op": op, "?": null}).to_string());
        for field in &fields {
            assert!(
                told.contains(&format!("`{field}`")),
                "graph-ops.md: `{field}` of `{op}`"
            );
        }
        let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        table.push_str(&format!("| `{op}` | {} |\n", fields.join(", ")));
    }

    let source = "As the reader of graphs knows them (`tests/reference.rs` writes this table).";
    format!("{told}\n\n{GENERATED}\n{source}\n\n{table}")
}

/// The names that stand in the reader's refusal of an operation: those that it knows in the place of `?`.
fn known(operation: &str) -> Vec<String> {
    let refusal = serde_json::from_str::<Op>(operation)
        .expect_err("`?` is unknown")
        .to_string();
    // "unknown variant `?`, expected one of `a`, `b`": every second part is a name.
    refusal
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| *name != "?")
        .map(str::to_owned)
        .collect()
}
