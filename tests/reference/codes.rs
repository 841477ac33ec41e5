//! Codes by which programs decide: failures of transfers, refusals of the API, events, audited actions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use retune::{
    contract::{
        codes::FailureCode,
        events::{AuditAction, EventKind},
    },
    service::api::{self, problem::ProblemCode},
};

use super::{head, line};

/// The sources of codes: what each means is told by its comment.
const FAILURES: &str = include_str!("../../src/contract/codes.rs");
const PROBLEMS: &str = include_str!("../../src/service/api/problem/code.rs");

/// A refusal of more requests than these is told by their number.
const LISTED_REQUESTS: usize = 4;

pub fn page() -> String {
    let mut page = head(
        "Codes",
        "`src/contract/{codes,events}.rs`, `src/service/api/problem/code.rs` and the OpenAPI document",
    );
    page.push_str("Texts may change from version to version, codes do not.\n\n");

    page.push_str("## Why a transfer failed\n\n`error.code` of a transfer. What to do: ");
    page.push_str("[runbook](../operate/runbook.md#failed-transfers).\n\n");
    page.push_str("| code | meaning |\n|---|---|\n");
    for code in FailureCode::ALL {
        page.push_str(&format!(
            "| `{}` | {} |\n",
            code.name(),
            line(&meaning(FAILURES, code.name()))
        ));
    }

    page.push_str(
        "\nThe service itself writes `attempts_exhausted`: the last attempt was lost, too.\n",
    );

    page.push_str(
        "\n## Refusals of the API\n\n`code` of the problem that is the answer. A specification is ",
    );
    page.push_str("refused with the code that its transfer would end with.\n\n");
    page.push_str("| code | status | meaning |\n|---|---|---|\n");
    for code in ProblemCode::ALL {
        page.push_str(&format!(
            "| `{}` | {} | {} |\n",
            code.name(),
            code.status().as_u16(),
            line(&meaning(PROBLEMS, code.name()))
        ));
    }
    page.push_str("\nWhich request may be refused with which:\n\n");
    page.push_str("| status | codes | requests |\n|---|---|---|\n");
    for ((status, codes), requests) in refusals() {
        let told = if requests.len() > LISTED_REQUESTS {
            format!("{} requests", requests.len())
        } else {
            requests.join(", ")
        };
        page.push_str(&format!("| {status} | {} | {told} |\n", line(&codes)));
    }

    page.push_str("\n## Events\n\nKinds of events that a webhook can tell of.\n\n");
    for kind in EventKind::ALL {
        page.push_str(&format!("- `{}`\n", kind.name()));
    }

    page.push_str(
        "\n## Audited actions\n\nThe audit log has a refusal under its method and route.\n\n",
    );
    for action in AuditAction::ALL {
        page.push_str(&format!("- `{}`\n", action.name()));
    }
    page
}

/// The comment above a code's value.
fn meaning(source: &str, code: &str) -> String {
    let mut comment = Vec::new();
    for text in source.lines().map(str::trim) {
        if let Some(said) = text.strip_prefix("///") {
            comment.push(said.trim());
            continue;
        }
        let name: String = text
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        if !comment.is_empty() && snake_case(&name) == code {
            return comment.join(" ");
        }
        comment.clear();
    }
    panic!("no source has a comment above {code}");
}

/// `not_a_file` of `NotAFile`.
fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// The requests that may be refused, by status and codes.
fn refusals() -> BTreeMap<(String, String), Vec<String>> {
    let document = serde_json::to_value(api::openapi()).expect("a document");
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                let codes = response["description"].as_str().unwrap_or_default();
                // Others are no refusals, or name no code.
                if status.starts_with(['4', '5']) && codes.contains('`') {
                    let requests = found.entry((status.clone(), codes.to_owned())).or_default();
                    requests.push(format!("`{} {path}`", method.to_uppercase()));
                }
            }
        }
    }
    found
}

/// A program that decides by a code finds it in an enum, and its reader in the page.
#[test]
fn every_code_of_the_document_is_one_of_ours_and_explained() {
    let failures = FailureCode::ALL.iter().map(|code| code.name());
    let problems = ProblemCode::ALL.iter().map(|code| code.name());
    let known: BTreeSet<&str> = failures.chain(problems).collect();

    let document = serde_json::to_value(api::openapi()).expect("a document");
    let example = &document["components"]["schemas"]["Problem"]["properties"]["code"]["example"];
    let example = example.as_str().expect("a code");
    assert!(known.contains(example), "{example}");

    let mut count = 0;
    for ((status, codes), requests) in refusals() {
        for code in codes.split('`').skip(1).step_by(2) {
            assert!(known.contains(code), "{status} {code}: {requests:?}");
            count += 1;
        }
    }
    assert!(count > 50, "only {count} codes were found");

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/codes.md");
    let page = fs::read_to_string(page).expect("a page");
    for code in known {
        assert!(page.contains(&format!("| `{code}` | ")), "{code}");
    }
}
