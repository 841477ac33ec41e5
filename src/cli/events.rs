//! `retune events`: what has happened, and what happens.

use std::{process::ExitCode, time::Duration};

use serde_json::Value;

use super::{
    client::{Client, Refused},
    id_prefix::IdPrefix,
    remote::{Remote, cell},
    retry_until::RetryUntil,
};
use crate::service::domain::transfers::Status;

/// Between two looks at a feed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Show the events of a transfer or, without an id, of all that the tenant has, oldest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id, or at least its first eight digits.
    id: Option<IdPrefix>,
    /// Go on until the transfer ends; without an id until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Only what came after the event with this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: i64,
    #[command(flatten)]
    remote: Remote,
}

/// Whose events.
enum Feed {
    OfTransfer(String),
    OfTenant,
}

impl Feed {
    async fn page(&self, client: &Client, after: i64) -> anyhow::Result<Value> {
        let query = [("after", after.to_string()), ("limit", "200".to_owned())];
        match self {
            Self::OfTransfer(id) => client.read(&["transfers", id, "events"], &query).await,
            Self::OfTenant => client.read(&["events"], &query).await,
        }
    }

    /// Whether nothing comes any more.
    async fn is_over(&self, client: &Client) -> anyhow::Result<bool> {
        let Self::OfTransfer(id) = self else {
            return Ok(false);
        };
        let transfer = client.read(&["transfers", id], &[]).await?;
        let status = serde_json::from_value::<Status>(transfer["status"].clone());
        Ok(status.is_ok_and(Status::is_final))
    }

    /// The number by which an event is named in this feed.
    fn cursor(&self, event: &Value) -> Option<i64> {
        match self {
            Self::OfTransfer(_) => event["seq"].as_i64(),
            Self::OfTenant => event["place"].as_i64(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.remote.client()?;
    let feed = match &args.id {
        Some(id) => Feed::OfTransfer(id.resolve(&client, "transfers").await?.to_string()),
        None => Feed::OfTenant,
    };

    let (mut after, mut retry) = (args.after, RetryUntil::default());
    loop {
        match look(&feed, &client, after, args.remote.json()).await {
            Ok(Looked {
                last,
                whole,
                is_over,
            }) => {
                retry.renew();
                after = last;
                if whole && (is_over || !args.follow) {
                    return Ok(ExitCode::SUCCESS);
                }
                if whole {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
            Err(error) if args.follow && error.is::<Refused>() => retry.wait_out(error).await?,
            Err(error) => return Err(error),
        }
    }
}

/// What a look has brought.
struct Looked {
    /// The number of the last event that was seen.
    last: i64,
    /// There was no further page.
    whole: bool,
    is_over: bool,
}

/// Prints a page of events.
async fn look(feed: &Feed, client: &Client, after: i64, json: bool) -> anyhow::Result<Looked> {
    // Read first: what happened before the end is then in the page.
    let is_over = feed.is_over(client).await?;
    let page = feed.page(client, after).await?;
    let mut last = after;

    for event in page["data"].as_array().into_iter().flatten() {
        last = feed.cursor(event).unwrap_or(last);
        if json {
            outln!("{event}");
        } else {
            outln!("{}", line(event));
        }
    }

    Ok(Looked {
        last,
        whole: page["next"].is_null(),
        is_over,
    })
}

/// Time, level where it is not plain, subject in the feed of the tenant, and the message.
fn line(event: &Value) -> String {
    let (time, kind) = (cell(event, "/created_at"), cell(event, "/kind"));
    let mut line = format!("{time}  {kind:28}");
    if let Some(subject) = event["subject"].as_str() {
        line += &format!("  {subject}");
    }

    match event["level"].as_str() {
        Some("info") | None => {}
        Some(level) => line += &format!("  {level}:"),
    }

    if let Some(message) = event["message"].as_str() {
        line += &format!("  {message}");
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_the_time_the_subject_and_what_is_wrong() {
        let event = json!({"place": 3, "subject": "transfers/x", "kind": "transfer.failed",
            "created_at": "2026-01-01T00:00:00.5Z", "level": "error", "message": "failed: no (x)"});
        let wanted = "2026-01-01T00:00:00Z  transfer.failed               transfers/x  error:  failed: no (x)";
        assert_eq!(line(&event), wanted);
        assert_eq!(Feed::OfTenant.cursor(&event), Some(3));
        assert_eq!(Feed::OfTransfer("x".into()).cursor(&event), None);
    }
}
