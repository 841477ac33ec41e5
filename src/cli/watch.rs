//! `retune watch`: follows a transfer to its end.
//!
//! A bar on a terminal, one line a change elsewhere. A service that is away for a moment (a
//! restart, too many requests) is waited for; one that refuses ends the command.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;

use super::{
    Judged,
    bar::Bar,
    client::{Client, Connection, Refused, Seen},
    id_prefix::IdPrefix,
    retry_until::RetryUntil,
};
use crate::{
    pipeline::Verdict,
    service::domain::transfers::{Status, Transfer},
};

/// Between two looks at a transfer.
const POLL_INTERVAL: Duration = Duration::from_millis(400);

/// How long the service is asked to wait for a change of status, in seconds.
const LONG_POLL_SECONDS: u64 = 30;

/// Follow a transfer until it ends: exit 0 when its model was published, 3 when it was rejected or neither
/// samples nor a gate can tell (`collect`), 1 when the transfer failed or was cancelled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id, or at least its first eight digits.
    pub id: IdPrefix,
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
    let mut retry = RetryUntil::default();
    loop {
        match first_look(&client, &args.id).await {
            Ok(seen) => return follow(&client, seen, args.json).await,
            Err(error) if error.is::<Refused>() => retry.wait_out(error).await?,
            // Probably the wrong address.
            Err(error) => return Err(error),
        }
    }
}

async fn first_look(client: &Client, id: &IdPrefix) -> anyhow::Result<Seen> {
    let id = id.resolve(client, "transfers").await?;
    // Without a tag a look always brings the transfer.
    client
        .get(id.into(), None, 0)
        .await?
        .context("the service sent no transfer")
}

/// Shows a transfer until it ends, then what became of it; the value is the exit code.
///
/// # Errors
/// A refusal, or a service away for too long.
pub async fn follow(client: &Client, seen: Seen, json: bool) -> anyhow::Result<ExitCode> {
    let seen = to_the_end(client, seen, json).await?;
    if json {
        outln!("{}", serde_json::to_string_pretty(&seen.document)?);
    } else {
        outln!("{}", ending(&seen.transfer));
    }

    let Transfer {
        status,
        verdict,
        recommendation,
        spec,
        ..
    } = seen.transfer;
    Ok(match (status, verdict) {
        (Status::Succeeded, Some(verdict)) => {
            let has_gate = spec.get("gate").is_some_and(|gate| !gate.is_null());
            Judged {
                verdict,
                recommendation,
                has_gate,
            }
            .exit_code()
        }
        (Status::Succeeded, None) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Shows a transfer's progress, unless `silent`, until it ends.
///
/// # Errors
/// A refusal, or a service away for too long.
pub async fn to_the_end(client: &Client, mut seen: Seen, silent: bool) -> anyhow::Result<Seen> {
    let mut display = Display::open(silent);
    let mut retry = RetryUntil::default();
    display.show(&seen.transfer);
    while !seen.transfer.status.is_final() {
        tokio::time::sleep(POLL_INTERVAL).await;
        let wait = display.wait(&seen.transfer);
        match client
            .get(seen.transfer.id, seen.etag.as_deref(), wait)
            .await
        {
            Ok(news) => {
                retry.renew();
                if let Some(news) = news {
                    display.show(&news.transfer);
                    seen = news;
                }
            }
            Err(error) => retry.wait_out(error).await?,
        }
    }

    display.close();
    Ok(seen)
}

enum Display {
    Silent,
    Bar(Bar),
    Lines(String),
}

impl Display {
    fn open(silent: bool) -> Self {
        match (silent, Bar::open()) {
            (true, _) => Self::Silent,
            (false, Some(bar)) => Self::Bar(bar),
            (false, None) => Self::Lines(String::new()),
        }
    }

    /// For how many seconds nothing but another status would be shown.
    fn wait(&self, transfer: &Transfer) -> u64 {
        let waits = matches!(transfer.status, Status::Queued | Status::AwaitingEvaluation);
        let only_status = matches!(self, Self::Silent) || waits;
        if only_status { LONG_POLL_SECONDS } else { 0 }
    }

    fn show(&mut self, transfer: &Transfer) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                bar.say(stage(transfer));
                match &transfer.progress {
                    Some(progress) => bar.count(unsigned(progress.done), unsigned(progress.total)),
                    None => bar.uncounted(),
                }
            }
            Self::Lines(last) => {
                let now = stage(transfer);
                if *last != now {
                    tellln!("{now}");
                    *last = now;
                }
            }
        }
    }

    fn close(&self) {
        if let Self::Bar(bar) = self {
            bar.clear();
        }
    }
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
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
    let id = match &transfer.name {
        Some(name) => format!("{} ({name})", transfer.id),
        None => transfer.id.to_string(),
    };
    match (transfer.status, &transfer.error, &transfer.result) {
        (Status::Succeeded, _, Some(result)) => {
            let verdict = match transfer.verdict {
                Some(Verdict::Rejected) => "rejected, no model was published",
                _ => "published",
            };
            let advice = transfer.recommendation.as_ref();
            let advice = advice.map(|advice| format!("; recommendation: {}", word(advice)));
            format!(
                "{id} done: {verdict}{}\n{}",
                advice.unwrap_or_default(),
                result.uri
            )
        }
        (Status::Failed, Some(error), _) => {
            let place = error
                .pointer
                .as_ref()
                .map(|p| format!(" at {p}"))
                .unwrap_or_default();
            format!("{id} failed{place}: {} ({})", error.detail, error.code)
        }
        (status, ..) => format!("{id} {}", word(&status)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
        time::Instant,
    };

    use axum::{
        Json, Router,
        extract::{Request, State},
        http::{StatusCode, header},
        response::{IntoResponse, Response},
    };

    use super::*;
    use crate::contract::ids::TransferId;

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

    /// What a stub of the service has been asked, and how it goes on to answer.
    #[derive(Clone, Default)]
    struct Stub {
        asked: Arc<Mutex<Vec<String>>>,
        answers: Arc<Mutex<VecDeque<Response>>>,
    }

    impl Stub {
        async fn serve(answers: impl IntoIterator<Item = Response>) -> (Self, Client) {
            let stub = Self::default();
            stub.answers.lock().unwrap().extend(answers);
            let handle = async |State(stub): State<Self>, request: Request| {
                let line = format!("{} {}", request.method(), request.uri());
                stub.asked.lock().unwrap().push(line);
                stub.answers
                    .lock()
                    .unwrap()
                    .pop_front()
                    .expect("an answer is left")
            };
            let router = Router::new().fallback(handle).with_state(stub.clone());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap())
                .parse()
                .unwrap();
            tokio::spawn(axum::serve(listener, router).into_future());
            // As `main` does; another test may have been first.
            let _ = rustls::crypto::ring::default_provider().install_default();
            (
                stub,
                Client::open(Connection { url, api_key: None }).unwrap(),
            )
        }
    }

    fn away(status: u16) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        (status, [(header::RETRY_AFTER, "1")]).into_response()
    }

    fn is(status: &str) -> Response {
        let transfer = transfer(serde_json::json!({"status": status}));
        ([(header::ETAG, format!("W/{status:?}"))], Json(transfer)).into_response()
    }

    #[tokio::test]
    async fn a_service_that_is_away_or_busy_is_waited_out() {
        let answers = [
            is("queued"),
            away(429),
            away(502),
            is("running"),
            away(504),
            is("succeeded"),
        ];
        let (stub, client) = Stub::serve(answers).await;
        let begun = Instant::now();
        let seen = client
            .get(TransferId::ANY, None, 0)
            .await
            .unwrap()
            .expect("a transfer");
        let seen = to_the_end(&client, seen, true).await.unwrap();
        assert_eq!(seen.transfer.status, Status::Succeeded);
        assert!(
            begun.elapsed() >= Duration::from_secs(3),
            "as long as it asked for"
        );
        let asked = stub.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 6);
        assert!(
            asked[1..].iter().all(|line| line.ends_with("?wait=30")),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn a_refusal_for_good_ends_the_watch() {
        let (stub, client) = Stub::serve([is("queued"), away(404)]).await;
        let seen = client
            .get(TransferId::ANY, None, 0)
            .await
            .unwrap()
            .expect("a transfer");
        let error = to_the_end(&client, seen, true).await.unwrap_err();
        assert_eq!(error.downcast::<Refused>().unwrap().status.as_u16(), 404);
        assert_eq!(stub.asked.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_running_transfer_is_named_by_its_phase() {
        assert_eq!(stage(&transfer(serde_json::json!({}))), "fine tuning");
        assert_eq!(
            stage(&transfer(serde_json::json!({"status": "cancelling"}))),
            "cancelling"
        );
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
        assert!(ending(&succeeded).contains("done: published; recommendation: transfer+fine tune"));
        let rejected = Transfer {
            verdict: Some(Verdict::Rejected),
            ..succeeded
        };
        assert!(ending(&rejected).contains("done: rejected, no model was published"));
    }
}
