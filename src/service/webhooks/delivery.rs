//! Posts deliveries, as `queue` claims them, and records what came of it.
//!
//! Several processes may do so on one database: a delivery is claimed under a lease that outlives
//! the attempt, and only its holder records. A tenant and a slow endpoint hold few of the open posts
//! (`deliveries::claim`), so that they keep no other waiting. A receiver that says when it wants to be asked
//! again (`Retry-After`) is not asked before, within bounds.

use std::{error::Error, sync::Arc, time::Duration};

use metrics::counter;
use reqwest::{
    Client, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::address::{Guard, Lookup};
use crate::{
    config,
    service::{
        database::{
            Database,
            deliveries::{self, Capacity, Claimed},
            outage::is_passing,
        },
        domain::{
            events::{Attempt, CONTENT_TYPE},
            leases::{Lease, RetryPolicy},
        },
        queue::Queue,
        registry::delivery_attempts::{self, AfterFailure},
    },
    telemetry::traces,
};

/// How long open posts may go on after the end; what is cut off is posted again by the next sender.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_hours(3);

/// Wait before an outcome is recorded again that the database did not take.
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// Longest text of an error that is kept, in bytes.
const ERROR_LIMIT: usize = 500;

/// Runs in `serve`; cheap to clone.
#[derive(Clone)]
pub struct Sender {
    database: Database,
    client: Client,
    guard: Arc<Guard>,
    settings: config::Webhooks,
}

impl config::Webhooks {
    /// What the settings say of claims and retries.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            lease: self.timeout * 2,
            backoff: self.backoff,
            max_wait: MAX_WAIT,
            give_up: self.give_up,
        }
    }
}

impl Queue for Sender {
    type Entry = Claimed;

    const CHANNEL: &'static str = "deliveries";

    const NAME: &'static str = "deliveries";

    fn database(&self) -> &Database {
        &self.database
    }

    fn limit(&self) -> usize {
        self.settings.open_posts
    }

    fn poll(&self) -> Duration {
        self.settings.poll
    }

    fn shutdown_grace(&self) -> Option<Duration> {
        Some(SHUTDOWN_GRACE)
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Lease<Claimed>>, sqlx::Error> {
        let capacity = Capacity {
            posts: i64::try_from(limit).unwrap_or(i64::MAX),
            per_tenant: i64::from(self.settings.open_posts_per_tenant),
        };
        deliveries::claim(&self.database, capacity, self.settings.retry_policy()).await
    }

    async fn work(self, lease: Lease<Claimed>, _shutdown: CancellationToken) {
        self.deliver(lease).await;
    }
}

impl Sender {
    /// A sender whose names are resolved by `lookup` (`webhooks::lookup()`: the system's way).
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(
        database: Database,
        settings: &config::Webhooks,
        lookup: Lookup,
    ) -> Result<Self, reqwest::Error> {
        let guard = Arc::new(Guard::from(settings));
        let client = Client::builder()
            .user_agent(concat!("retune/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(guard.resolver(lookup)))
            .timeout(settings.timeout)
            .build()?;

        Ok(Self {
            database,
            client,
            guard,
            settings: settings.clone(),
        })
    }

    /// One attempt and its record. Where that cannot be written for as long as the lease holds, it runs out and the
    /// delivery is attempted again.
    async fn deliver(&self, lease: Lease<Claimed>) {
        let attempt = self.post(&lease).await;
        // A lease outlives the post by as much as the post may take.
        let recording = timeout_at(lease.until.into(), self.record_at_last(&lease, &attempt));
        let outcome = match recording.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                tracing::warn!(%error, delivery = %lease.id, "the outcome of a delivery was not recorded");
                "unrecorded"
            }
            Err(_) => "unrecorded",
        };

        counter!("retune_webhook_attempts_total", "outcome" => outcome).increment(1);
    }

    /// Records what an attempt came to, and tries again while the database is away; its name for the figures.
    async fn record_at_last(
        &self,
        lease: &Lease<Claimed>,
        attempt: &Attempt,
    ) -> Result<&'static str, sqlx::Error> {
        loop {
            match self.record(lease, attempt).await {
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, delivery = %lease.id, "cannot record an outcome; trying again");
                    sleep(RECORD_PAUSE).await;
                }
                recorded => return recorded,
            }
        }
    }

    /// Records what an attempt came to; its name for the figures.
    async fn record(
        &self,
        lease: &Lease<Claimed>,
        attempt: &Attempt,
    ) -> Result<&'static str, sqlx::Error> {
        if attempt.is_success() {
            let held = delivery_attempts::succeed(&self.database, lease, attempt).await?;
            return Ok(if held { "delivered" } else { "lost" });
        }

        let policy = self.settings.retry_policy();
        let after = delivery_attempts::fail(&self.database, lease, attempt, policy).await?;
        if after == AfterFailure::Disabled {
            tracing::warn!(endpoint = ?lease.endpoint, "a webhook endpoint was disabled");
        }

        Ok(if after == AfterFailure::Lost {
            "lost"
        } else {
            "failed"
        })
    }

    async fn post(&self, claimed: &Claimed) -> Attempt {
        let url = match self.guard.check(&claimed.url) {
            Ok(url) => url,
            Err(error) => return Attempt::unanswered(format!("the URL {error}")),
        };
        let Ok(body) = claimed.envelope.body() else {
            return Attempt::unanswered("the event cannot be written".to_owned());
        };

        let id = claimed.envelope.id;
        let signatures: Vec<_> = claimed
            .secrets
            .iter()
            .map(|key| key.sign(id, claimed.timestamp, &body))
            .collect();
        let mut post = self.client.post(url);
        if let Some(trace) = claimed
            .envelope
            .transfer
            .and_then(|id| traces::traceparent(id.0))
        {
            post = post.header("traceparent", trace);
        }
        let answer = post
            .header("content-type", CONTENT_TYPE)
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", claimed.timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(body)
            .send()
            .await;

        match answer {
            // The answer's body is of no interest, and may be endless.
            Ok(answer) => Attempt::answered(answer.status().as_u16(), complaint(answer.status()))
                .retry_after(retry_after(answer.headers(), OffsetDateTime::now_utc())),
            Err(error) => Attempt::unanswered(reason(error)),
        }
    }
}

fn complaint(status: StatusCode) -> Option<String> {
    if status.is_success() {
        return None;
    }
    let hint = if status.is_redirection() {
        "; redirects are not followed"
    } else {
        ""
    };
    Some(format!("answered {status}{hint}"))
}

/// The wait that an answer asks for: seconds, or the time until a date (RFC 9110, 10.2.3). What is neither, and
/// a date that has passed, ask for none.
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    (date - now).try_into().ok()
}

/// The chain of causes. The URL, which may have a token in it, is left out.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }

    text.truncate(text.floor_char_boundary(ERROR_LIMIT));
    text
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date() {
        let now = datetime!(2026-11-29 12:00:00 UTC);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        let date = read("Sun, 29 Nov 2026 12:01:30 GMT");
        assert_eq!(date, Some(Duration::from_secs(90)));
        for none in ["", "-1", "soon", "1.5", "Sun, 29 Nov 2026 11:00:00 GMT"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
