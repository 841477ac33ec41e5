//! `retune list`: the newest transfers, one line each.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    client::{Client, Connection},
    remote::cell,
    table::left,
};

/// List transfers, newest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those of this status.
    #[arg(long)]
    pub status: Option<String>,
    /// Only those from or onto this base.
    #[arg(long, value_name = "URI")]
    pub base: Option<String>,
    /// Only those whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// The `next` of the page before.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// Print the page as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.status.map(|status| ("status", status)));
    query.extend(args.base.map(|base| ("base", base)));
    query.extend(args.name.map(|name| ("name", name)));
    let mut wanted = String::new();
    for (name, value) in &query {
        wanted += &format!(" --{name} {value}");
    }

    query.extend(args.after.map(|after| ("after", after)));
    let page = Client::open(args.connection)?.list(&query).await?;
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&page)?);
        return Ok(ExitCode::SUCCESS);
    }

    let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
    rows.extend(page["data"].as_array().into_iter().flatten().map(row));
    out!("{}", left(&rows));

    if let Some(next) = page["next"].as_str() {
        // Not among the rows, which a script may read.
        tellln!("more: retune list{wanted} --after {next}");
    }

    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [&str; 6] = ["ID", "STATUS", "VERDICT", "CREATED", "NAME", "TARGET"];

fn row(transfer: &Value) -> Vec<String> {
    let pointers = [
        "/id",
        "/status",
        "/verdict",
        "/created_at",
        "/name",
        "/spec/target/base",
    ];
    pointers
        .iter()
        .map(|pointer| cell(transfer, pointer))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_whole_seconds_and_a_dash_for_what_is_absent() {
        let row = row(&serde_json::json!({
            "id": "x", "status": "queued", "verdict": null, "name": "mail",
            "created_at": "2026-01-01T00:00:00.123Z", "spec": {"target": {"base": "file:///b/"}}
        }));
        assert_eq!(
            row,
            [
                "x",
                "queued",
                "-",
                "2026-01-01T00:00:00Z",
                "mail",
                "file:///b/"
            ]
        );
    }
}
