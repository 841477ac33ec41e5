//! What an attempt came to, recorded under the lease token.
//!
//! Locks are taken in one order: the endpoint, then its deliveries. To delete an endpoint takes them so, by the
//! cascade; who records does the same, and waits for nobody who waits for them.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Claimed, Database, events};
use crate::{
    contract::{events::EventKind, ids::WebhookEndpointId},
    service::domain::leases::{Lease, RetryPolicy},
};

/// What an attempt came to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// HTTP status, where there was an answer.
    status: Option<u16>,
    error: Option<String>,
    /// After which time the receiver wants to be asked again.
    retry_after: Option<Duration>,
}

impl Attempt {
    pub fn answered(status: u16, error: Option<String>) -> Self {
        Self {
            status: Some(status),
            error,
            retry_after: None,
        }
    }

    /// The same with what the answer's `Retry-After` says.
    pub fn retry_after(self, wait: Option<Duration>) -> Self {
        Self {
            retry_after: wait,
            ..self
        }
    }

    pub fn unanswered(error: String) -> Self {
        Self {
            status: None,
            error: Some(error),
            retry_after: None,
        }
    }

    pub fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// The receiver wants no more of these.
    fn is_gone(&self) -> bool {
        self.status == Some(410)
    }

    fn status(&self) -> Option<i32> {
        self.status.map(i32::from)
    }
}

/// What became of a delivery whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It will be attempted again.
    Pending,
    Failed,
    /// And its endpoint with it.
    Disabled,
    /// The lease was lost; nothing was recorded.
    Lost,
}

/// Records that it was taken; false when the lease is lost.
///
/// # Errors
/// From the database; the delivery is then attempted again.
pub async fn succeed(
    database: &Database,
    held: &Lease<Claimed>,
    attempt: &Attempt,
) -> Result<bool, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    lock_endpoint(&mut transaction, held).await?;
    let done = sqlx::query!(
        "UPDATE deliveries
         SET status = 'delivered', finished_at = now(), lease_token = NULL,
             response_status = $3, error = NULL
         WHERE id = $1 AND lease_token = $2",
        held.id.0,
        held.token.0,
        attempt.status(),
    )
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }

    sqlx::query!(
        "UPDATE webhook_endpoints SET failing_since = NULL, paused_until = NULL
         WHERE id = $1 AND (failing_since IS NOT NULL OR paused_until IS NOT NULL)",
        held.endpoint.map(Uuid::from),
    )
    .execute(&mut *transaction)
    .await?;

    transaction.commit().await?;

    Ok(true)
}

/// Records a failed attempt: to be made again, or given up when it was tried for long enough or the
/// receiver said that it is gone. An endpoint that is gone, or took nothing for as long, is disabled,
/// and with that everything ends that waits for it.
///
/// # Errors
/// From the database; the delivery is then attempted again.
pub async fn fail(
    database: &Database,
    held: &Lease<Claimed>,
    attempt: &Attempt,
    policy: RetryPolicy,
) -> Result<AfterFailure, sqlx::Error> {
    let mut transaction = database.pool.begin().await?;
    lock_endpoint(&mut transaction, held).await?;
    let pause = attempt
        .retry_after
        .map_or(0.0, |wait| wait.min(policy.longest_wait).as_secs_f64());
    // The last attempt is made when the time is up.
    let row = sqlx::query!(
        r#"WITH fate AS (
               SELECT id, $3 OR now() >= retry_since + make_interval(secs => $4) AS over
               FROM deliveries WHERE id = $1 AND lease_token = $2 FOR UPDATE
           )
           UPDATE deliveries d
           SET status = CASE WHEN fate.over THEN 'failed' ELSE 'pending' END::delivery_status,
               finished_at = CASE WHEN fate.over THEN now() END,
               next_attempt_at = least(now() + make_interval(secs => $5),
                                       greatest(now(), retry_since + make_interval(secs => $4))),
               lease_token = NULL, response_status = $6, error = $7
           FROM fate WHERE d.id = fate.id
           RETURNING fate.over AS "over!", d.retry_since"#,
        held.id.0,
        held.token.0,
        attempt.is_gone(),
        policy.give_up.as_secs_f64(),
        policy.scattered_wait_after(held.attempts).max(pause),
        attempt.status(),
        attempt.error,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else {
        return Ok(AfterFailure::Lost);
    };
    let mut after = if row.over {
        AfterFailure::Failed
    } else {
        AfterFailure::Pending
    };
    if let Some(endpoint) = held.endpoint {
        let failure = Failure {
            attempt,
            pause,
            tried_since: row.over.then_some(row.retry_since),
        };
        if blame(&mut transaction, endpoint, failure, policy).await? {
            after = AfterFailure::Disabled;
        }
        end_waiting(&mut transaction, endpoint).await?;
    }

    transaction.commit().await?;

    Ok(after)
}

/// Keeps the endpoint's row until the transaction ends, before its deliveries are touched. One that has been
/// deleted has no deliveries either.
async fn lock_endpoint(
    connection: &mut PgConnection,
    held: &Lease<Claimed>,
) -> Result<(), sqlx::Error> {
    if let Some(endpoint) = held.endpoint {
        sqlx::query!(
            "SELECT id FROM webhook_endpoints WHERE id = $1 FOR NO KEY UPDATE",
            endpoint.0
        )
        .fetch_optional(connection)
        .await?;
    }
    Ok(())
}

/// A failed attempt, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug)]
struct Failure<'a> {
    attempt: &'a Attempt,
    /// Seconds in which nothing is to be posted.
    pause: f64,
    /// Since when the delivery was tried, where it was given up.
    tried_since: Option<OffsetDateTime>,
}

/// Notes the endpoint's failure; true where it is disabled for it: it is gone, fails for as long as a
/// delivery is tried, or a delivery was given up and it has taken none since that was begun.
async fn blame(
    connection: &mut PgConnection,
    endpoint: WebhookEndpointId,
    failure: Failure<'_>,
    policy: RetryPolicy,
) -> Result<bool, sqlx::Error> {
    let Failure {
        attempt,
        pause,
        tried_since,
    } = failure;
    let row = sqlx::query!(
        r#"UPDATE webhook_endpoints e
           SET failing_since = coalesce(failing_since, now()),
               paused_until = CASE WHEN $5::double precision > 0 THEN now() + make_interval(secs => $5) END
           WHERE id = $1
           RETURNING tenant, name,
               enabled AND ($2 OR failing_since <= now() - make_interval(secs => $3)
                   OR ($4::timestamptz IS NOT NULL AND NOT EXISTS (
                       SELECT FROM deliveries d
                       WHERE d.endpoint = e.id AND d.status = 'delivered'
                         AND d.finished_at >= $4))) AS "hopeless!""#,
        endpoint.0,
        attempt.is_gone(),
        policy.give_up.as_secs_f64(),
        tried_since,
        pause,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row.filter(|row| row.hopeless) else {
        return Ok(false);
    };
    let reason = if attempt.is_gone() {
        "it answered 410 Gone"
    } else {
        "it failed for too long"
    };

    sqlx::query!(
        "UPDATE webhook_endpoints SET enabled = false, disabled_reason = $2 WHERE id = $1",
        endpoint.0,
        reason,
    )
    .execute(&mut *connection)
    .await?;

    let subject = format!("webhook_endpoints/{}", row.name);
    let data = json!({"name": row.name, "reason": reason, "error": attempt.error});
    events::record(
        connection,
        row.tenant.into(),
        &subject,
        EventKind::WebhookEndpointDisabled,
        data,
    )
    .await?;

    Ok(true)
}

/// Ends what waits for an endpoint that is disabled. What others hold at this moment is ended by them
/// or, should they die, by the next claim.
pub(in crate::service::database) async fn end_waiting(
    connection: &mut PgConnection,
    endpoint: WebhookEndpointId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH waiting AS (
             SELECT d.id FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint
             WHERE e.id = $1 AND NOT e.enabled AND d.status = 'pending'
             FOR UPDATE OF d SKIP LOCKED
         )
         UPDATE deliveries d
         SET status = 'failed', finished_at = now(), lease_token = NULL,
             error = coalesce(error, 'the endpoint is disabled')
         FROM waiting WHERE d.id = waiting.id",
        endpoint.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_2xx_and_410_is_gone() {
        let answered = |status| Attempt::answered(status, None);
        assert!(answered(200).is_success() && answered(299).is_success());
        assert!(!answered(199).is_success() && !answered(302).is_success());
        assert!(answered(410).is_gone() && !answered(404).is_gone());
        let cut = Attempt::unanswered("cut".into());
        assert!(!cut.is_success() && !cut.is_gone());
    }
}
