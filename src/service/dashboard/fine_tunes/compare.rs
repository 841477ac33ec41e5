//! `/fine-tunes/{name}/compare?a=1&b=2`: two versions side by side.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    response::Html,
};
use serde::Deserialize;

use crate::{
    contract::ids::TransferId,
    service::{
        dashboard::{
            error::PageError,
            format,
            frame::{Frame, Section},
            render,
            visit::Visitor,
        },
        database::fine_tunes::versions,
        domain::registry::fine_tunes::FineTuneVersion,
        state::AppState,
    },
};

#[derive(Deserialize)]
pub struct Two {
    a: i32,
    b: i32,
}

#[derive(askama::Template)]
#[template(
    path = "fine_tunes/compare.html",
    config = "src/service/dashboard/askama.toml"
)]
struct Page {
    frame: Frame,
    name: String,
    a: i32,
    b: i32,
    transfer_a: TransferId,
    transfer_b: TransferId,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    a: String,
    b: String,
    difference: String,
}

pub async fn handle(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(name): Path<String>,
    two: Result<Query<Two>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(two) = two.map_err(|_| PageError::NotFound)?;
    let (database, tenant) = (&state.database, visitor.principal.tenant);
    let name = name.replace('\0', "");
    let a = versions::get(database, tenant, &name, two.a)
        .await?
        .ok_or(PageError::NotFound)?;
    let b = versions::get(database, tenant, &name, two.b)
        .await?
        .ok_or(PageError::NotFound)?;

    Ok(render(&Page {
        frame: visitor.frame(
            Section::FineTunes,
            &format!("{name}: {} and {}", two.a, two.b),
        ),
        a: two.a,
        b: two.b,
        transfer_a: a.transfer,
        transfer_b: b.transfer,
        rows: rows(&a, &b),
        name,
    })?)
}

fn rows(a: &FineTuneVersion, b: &FineTuneVersion) -> Vec<Row> {
    let shares = [
        ("Accuracy", "accuracy"),
        ("R²", "r2"),
        ("Agreement with the old tuned model", "agreement"),
        ("Recovery of the tuning", "recovery"),
        ("Accuracy of the old tuned model", "source_accuracy"),
        ("R² of the old tuned model", "source_r2"),
        ("Accuracy of the new base", "target_accuracy_before"),
        ("R² of the new base", "target_r2_before"),
    ];
    let told = [
        Row::told("State", [a, b].map(|one| format::label(&one.state))),
        Row::told("Stands on", [a, b].map(base)),
        Row::told("Method", [a, b].map(method)),
        Row::told("Recommendation", [a, b].map(advice)),
    ];
    let measured = shares
        .into_iter()
        .filter_map(|(name, key)| share(name, key, a, b));
    let made = Row::told("Made", [a, b].map(|one| format::day(one.created_at)));

    told.into_iter().chain(measured).chain([made]).collect()
}

impl Row {
    /// The same of both, where a difference says nothing.
    fn told(name: &'static str, [a, b]: [String; 2]) -> Self {
        Self {
            name,
            a,
            b,
            difference: String::new(),
        }
    }
}

fn base(one: &FineTuneVersion) -> String {
    let version = one
        .base_version
        .as_ref()
        .map(|version| format!("{} {version}", one.base_model));
    version.unwrap_or_else(|| format::last_part(&one.target_base))
}

fn method(one: &FineTuneVersion) -> String {
    one.method.as_deref().map(format::words).unwrap_or_default()
}

fn advice(one: &FineTuneVersion) -> String {
    one.recommendation
        .as_ref()
        .map(format::label)
        .unwrap_or_default()
}

/// A share of both, with the difference in points; nothing where neither has it.
fn share(name: &'static str, key: &str, a: &FineTuneVersion, b: &FineTuneVersion) -> Option<Row> {
    let (of_a, of_b) = (a.metrics[key].as_f64(), b.metrics[key].as_f64());
    of_a.or(of_b)?;
    let difference = of_a
        .zip(of_b)
        .map(|(a, b)| format!("{:+.1} points", (b - a) * 100.0));

    Some(Row {
        name,
        a: format::percent(of_a),
        b: format::percent(of_b),
        difference: difference.unwrap_or_default(),
    })
}
