//! `retune show`: one transfer at a glance.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    id_prefix::IdPrefix,
    remote::{Remote, cell},
    table::left,
};

/// Show a transfer: where it is, what came of it, and what stands before it while it waits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id, or at least its first eight digits.
    id: IdPrefix,
    #[command(flatten)]
    remote: Remote,
}

/// Rows for people, where the transfer has them.
const ROWS: [(&str, &str); 17] = [
    ("id", "/id"),
    ("name", "/name"),
    ("status", "/status"),
    ("phase", "/phase"),
    ("attempt", "/attempt"),
    ("created", "/created_at"),
    ("started", "/started_at"),
    ("finished", "/finished_at"),
    ("old base", "/spec/source/base"),
    ("tuning", "/spec/source/trajectory"),
    ("new base", "/spec/target/base"),
    ("fine-tune", "/fine_tune"),
    ("retune", "/retune"),
    ("verdict", "/verdict"),
    ("recommendation", "/recommendation"),
    ("result", "/result/uri"),
    ("error", "/error/detail"),
];

/// Runs the command.
///
/// # Errors
/// A refusal, no service.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.remote.client()?;
    let id = args.id.resolve(&client, "transfers").await?.to_string();
    let transfer = client.read(&["transfers", &id], &[]).await?;
    if args.remote.json() {
        return args.remote.show(&transfer);
    }

    let mut rows = rows(&transfer);
    if transfer["status"] == "queued" {
        let position = client.read(&["transfers", &id, "position"], &[]).await?;
        rows.push(vec!["position".to_owned(), before_it(&position)]);
    }

    out!("{}", left(&rows));

    Ok(ExitCode::SUCCESS)
}

fn rows(transfer: &Value) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = ROWS
        .iter()
        .filter(|(_, pointer)| {
            transfer
                .pointer(pointer)
                .is_some_and(|value| !value.is_null())
        })
        .map(|(name, pointer)| vec![(*name).to_owned(), cell(transfer, pointer)])
        .collect();

    let progress = &transfer["progress"];
    if let (Some(done), Some(total)) = (progress["done"].as_i64(), progress["total"].as_i64()) {
        let unit = progress["unit"].as_str().unwrap_or_default();
        rows.push(vec![
            "progress".to_owned(),
            format!("{done} of {total} {unit}"),
        ]);
    }

    for (name, value) in transfer["metrics"].as_object().into_iter().flatten() {
        if !value.is_null() {
            rows.push(vec![
                name.replace('_', " "),
                cell(&transfer["metrics"], &format!("/{name}")),
            ]);
        }
    }

    rows
}

/// What stands before a transfer that waits.
fn before_it(position: &Value) -> String {
    if position["held"] == true {
        return "held: its retune is paused, or has as many at work as it may".to_owned();
    }

    let (ahead, at_work) = (cell(position, "/ahead"), cell(position, "/at_work"));
    let workers = cell(position, "/workers");
    let wait = match position["not_before"].as_str() {
        Some(time) => format!("; not before {time}"),
        None => String::new(),
    };
    format!("{ahead} wait before it, {at_work} are at work, {workers} workers are there{wait}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_there_for_what_the_transfer_has() {
        let transfer = json!({"id": "x", "name": null, "status": "running", "error": null,
            "progress": {"done": 2, "total": 5, "unit": "timesteps"},
            "metrics": {"accuracy": 0.5, "loss": null}});
        let rows = rows(&transfer);
        assert_eq!(rows[0], ["id", "x"]);
        assert_eq!(rows[2], ["progress", "2 of 5 timesteps"]);
        assert_eq!(rows[3], ["accuracy", "0.5"]);
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn what_stands_before_a_transfer_is_a_sentence() {
        let position =
            json!({"held": false, "ahead": 2, "at_work": 1, "workers": 0, "not_before": null});
        let said = before_it(&position);
        assert_eq!(said, "2 wait before it, 1 are at work, 0 workers are there");
        assert!(before_it(&json!({"held": true})).starts_with("held"));
    }
}
