//! `retune list`: the newest transfers, one line each.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{Client, Connection};

/// List transfers, newest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those of this status.
    #[arg(long)]
    pub status: Option<String>,
    /// Only those from or onto this base.
    #[arg(long, value_name = "URI")]
    pub base: Option<String>,
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

    outln!("{:36}  {:10}  {:9}  {:20}  TARGET", "ID", "STATUS", "VERDICT", "CREATED");
    for transfer in page["data"].as_array().into_iter().flatten() {
        outln!("{}", line(transfer));
    }

    if let Some(next) = page["next"].as_str() {
        // Not among the rows, which a script may read.
        tellln!("more: retune list{wanted} --after {next}");
    }

    Ok(ExitCode::SUCCESS)
}

fn line(transfer: &Value) -> String {
    let texts = ["/created_at", "/id", "/status", "/verdict", "/spec/target/base"];
    let [created, id, status, verdict, base] =
        texts.map(|pointer| transfer.pointer(pointer).and_then(Value::as_str).unwrap_or("-"));

    // Whole seconds are enough for people.
    let created = match created.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => created.to_owned(),
    };
    format!("{id:36}  {status:10}  {verdict:9}  {created:20}  {base}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_whole_seconds_and_a_dash_for_what_is_absent() {
        let line = line(&serde_json::json!({
            "id": "x", "status": "queued", "verdict": null,
            "created_at": "2026-01-01T00:00:00.123Z", "spec": {"target": {"base": "file:///b/"}}
        }));
        assert!(
            line.ends_with("queued      -          2026-01-01T00:00:00Z  file:///b/"),
            "{line}"
        );
    }
}
