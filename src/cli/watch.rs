//! `retune watch`: follows a transfer to its end.
//!
//! A bar on a terminal, one line a change elsewhere. A service that is away for a moment (a
//! restart) is waited for; one that refuses ends the command.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;
use uuid::Uuid;

use super::client::{Client, Connection, Refused, Seen};
use crate::service::jobs::{Status, Transfer};

/// Between two looks at a transfer.
const PACE: Duration = Duration::from_millis(400);

/// For how long a service may be away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follow a transfer until it ends: exit 0 when it succeeded, 1 when it failed or was cancelled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id.
    pub id: Uuid,
    /// Print the finished transfer as JSON, and nothing before it.
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
    let client = Client::open(args.connection)?;
    let mut seen = None;
    // Without a tag the first look always brings the transfer.
    while seen.is_none() {
        seen = client.get(args.id, None).await?;
    }
    match seen {
        Some(seen) => follow(&client, seen, args.json).await,
        None => Ok(ExitCode::FAILURE),
    }
}

/// Shows a transfer until it ends, then what became of it; the value is the exit code.
///
/// # Errors
/// A refusal, or a service away for too long.
pub async fn follow(client: &Client, seen: Seen, json: bool) -> anyhow::Result<ExitCode> {
    let seen = to_the_end(client, seen, json).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&seen.document)?);
    } else {
        println!("{}", ending(&seen.transfer));
    }
    Ok(if seen.transfer.status == Status::Succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Shows a transfer's progress, unless `silent`, until it ends.
///
/// # Errors
/// A refusal, or a service away for too long.
pub async fn to_the_end(client: &Client, mut seen: Seen, silent: bool) -> anyhow::Result<Seen> {
    let mut display = Display::open(silent);
    let mut away_since = None;
    display.show(&seen.transfer);
    while !seen.transfer.status.is_final() {
        tokio::time::sleep(PACE).await;
        match client.get(seen.transfer.id, seen.etag.as_deref()).await {
            Ok(news) => {
                away_since = None;
                if let Some(news) = news {
                    display.show(&news.transfer);
                    seen = news;
                }
            }
            Err(error) if error.is::<Refused>() => return Err(error),
            Err(error) => {
                if away_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err(error);
                }
            }
        }
    }
    display.close();
    Ok(seen)
}

enum Display {
    Silent,
    Bar(ProgressBar),
    Lines(String),
}

impl Display {
    fn open(silent: bool) -> Self {
        if silent {
            Self::Silent
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            let style = "{spinner} {msg:14} [{wide_bar}] {pos}/{len}  {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("━╸ "));
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            Self::Bar(bar)
        } else {
            Self::Lines(String::new())
        }
    }

    fn show(&mut self, transfer: &Transfer) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                bar.set_message(stage(transfer));
                if let Some(progress) = &transfer.progress {
                    bar.set_length(u64::try_from(progress.total).unwrap_or(0));
                    bar.set_position(u64::try_from(progress.done).unwrap_or(0));
                } else {
                    bar.set_length(0);
                    bar.set_position(0);
                }
            }
            Self::Lines(last) => {
                let now = stage(transfer);
                if *last != now {
                    eprintln!("{now}");
                    *last = now;
                }
            }
        }
    }

    fn close(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// `"aligning"` while running, the status otherwise.
fn stage(transfer: &Transfer) -> String {
    match (transfer.status, transfer.phase) {
        (Status::Running, Some(phase)) => word(&phase),
        (status, _) => word(&status),
    }
}

/// A `snake_case` label as the API writes it, with spaces.
pub fn word(label: &impl serde::Serialize) -> String {
    match serde_json::to_value(label) {
        Ok(serde_json::Value::String(text)) => text.replace('_', " "),
        _ => String::new(),
    }
}

/// One line: what became of it.
pub fn ending(transfer: &Transfer) -> String {
    let id = transfer.id;
    match (transfer.status, &transfer.error, &transfer.result) {
        (Status::Succeeded, _, Some(result)) => {
            let verdict = transfer.verdict.as_ref().map(word).unwrap_or_default();
            let advice = transfer.recommendation.as_ref();
            let advice = advice.map(|advice| format!(", recommendation {}", word(advice)));
            format!("{id} succeeded: {verdict}{}\n{}", advice.unwrap_or_default(), result.uri)
        }
        (Status::Failed, Some(error), _) => {
            let place = error.pointer.as_ref().map(|p| format!(" at {p}")).unwrap_or_default();
            format!("{id} failed{place}: {} ({})", error.detail, error.code)
        }
        (status, ..) => format!("{id} {}", word(&status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(changes: serde_json::Value) -> Transfer {
        let mut document = serde_json::json!({
            "id": "0190f000-0000-7000-8000-000000000000", "status": "running", "phase": "fine_tuning",
            "progress": null, "attempt": 1, "created_at": "2026-01-01T00:00:00Z", "started_at": null,
            "finished_at": null, "spec": {}, "result": null, "verdict": null,
            "recommendation": null, "metrics": null, "error": null, "metadata": {}
        });
        for (key, value) in changes.as_object().unwrap() {
            document[key] = value.clone();
        }
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_running_transfer_is_named_by_its_phase() {
        assert_eq!(stage(&transfer(serde_json::json!({}))), "fine tuning");
        assert_eq!(stage(&transfer(serde_json::json!({"status": "cancelling"}))), "cancelling");
    }

    #[test]
    fn the_last_line_says_what_became_of_it() {
        let failed = transfer(serde_json::json!({
            "status": "failed",
            "error": {"code": "not_finite", "detail": "fc1.weight has NaN", "pointer": "/target/base"}
        }));
        assert!(
            ending(&failed).ends_with("failed at /target/base: fc1.weight has NaN (not_finite)")
        );
        let succeeded = transfer(serde_json::json!({
            "status": "succeeded", "verdict": "published", "recommendation": "transfer+fine_tune",
            "result": {"uri": "file:///out/x/", "manifest_sha256": "00"}
        }));
        assert!(ending(&succeeded).contains("published, recommendation transfer+fine tune"));
    }
}
