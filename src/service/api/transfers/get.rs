//! `GET /v1/transfers/{id}`: one transfer, at once or when its status changes.
//!
//! The hot path is one query by primary key. A long poll subscribes to changes *before* it reads,
//! so no change falls between.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};

use crate::{
    contract::ids::{TenantId, TransferId},
    service::{
        api::{
            AppState,
            authentication::{KEY_ENDED, Reader, unauthenticated},
            etag::matches,
            event_stream,
            extract::{Id, QueryPairs},
            problem::{Missing, Problem, QueryRefusals, Refusals},
        },
        domain::transfers::Transfer,
    },
};

/// The longest `wait`, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;

/// Show a transfer.
///
/// With `If-None-Match`, 304 while nothing changed. With `wait`, answers when the status changes
/// (at once if `If-None-Match` shows that the caller has not seen the present state), at the
/// latest after so many seconds.
#[utoipa::path(
    get,
    path = "/v1/transfers/{id}",
    tag = "transfers",
    operation_id = "get_transfer",
    params(
        ("id" = Uuid, Path, description = "The transfer"),
        ("wait" = Option<u64>, Query, minimum = 0, maximum = 60, description = "Seconds to wait for a change of status"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` seen last"),
    ),
    responses(
        (status = 200, body = Transfer, headers(("ETag" = String))),
        (status = 304, description = "Unchanged"),
        Missing,
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Id(id): Id<TransferId>,
    QueryPairs(query): QueryPairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = wait(&query)?;
    let known = headers.get(header::IF_NONE_MATCH);
    let transfer = if wait.is_zero() {
        super::load(&state, caller.tenant, id).await?
    } else {
        let _share = event_stream::share(&state, caller)?;
        let mut changes = state.changes.subscribe();
        let transfer = super::load(&state, caller.tenant, id).await?;
        let is_news = known.is_some() && !matches(known, &super::etag(&transfer));
        if is_news || transfer.status.is_final() {
            transfer
        } else {
            let deadline = Instant::now() + wait;
            let transfer = changed(&state, caller.tenant, transfer, &mut changes, deadline).await?;
            // It may have been long.
            if !state.still_holds(caller).await? {
                return Err(unauthenticated(KEY_ENDED));
            }
            transfer
        }
    };

    let etag = super::etag(&transfer);
    if matches(known, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }

    Ok(super::show(StatusCode::OK, &transfer))
}

fn wait(query: &[(String, String)]) -> Result<Duration, Problem> {
    let mut wait = 0;
    for (name, value) in query {
        match (name.as_str(), value.parse()) {
            ("wait", Ok(seconds)) if seconds <= MAX_WAIT_SECONDS => wait = seconds,
            ("wait", _) => {
                let detail = format!("whole seconds, at most {MAX_WAIT_SECONDS}");
                return Err(Problem::invalid_query("wait", detail));
            }
            _ => {
                return Err(Problem::invalid_query(
                    name,
                    "no such parameter; there is wait",
                ));
            }
        }
    }

    Ok(Duration::from_secs(wait))
}

/// The transfer with another status than `first`, or as it is at the deadline.
async fn changed(
    state: &AppState,
    tenant: TenantId,
    first: Transfer,
    changes: &mut Receiver<TransferId>,
    deadline: Instant,
) -> Result<Transfer, Problem> {
    loop {
        let over = tokio::select! {
            () = heard_of(first.id, changes) => false,
            () = tokio::time::sleep_until(deadline) => true,
            () = state.shutdown.cancelled() => true,
        };
        let now = super::load(state, tenant, first.id).await?;
        if over || now.status != first.status {
            return Ok(now);
        }
    }
}

/// Returns when this transfer changed, or may have: nil stands for any, and missed news are news.
pub(super) async fn heard_of(id: TransferId, changes: &mut Receiver<TransferId>) {
    loop {
        match changes.recv().await {
            Ok(changed) if [id, TransferId::ANY].contains(&changed) => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_bounded_and_nothing_else_is_known() {
        let ask = |name: &str, value: &str| wait(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(ask("wait", "60").unwrap(), Duration::from_mins(1));
        for (name, value) in [
            ("wait", "61"),
            ("wait", "-1"),
            ("wait", "soon"),
            ("hold", "1"),
        ] {
            assert_eq!(ask(name, value).unwrap_err().code(), "invalid_query");
        }
    }
}
