//! `GET /v1/events`: one feed of all that happens to what a tenant has, as a page or as a stream without end.

use std::time::Duration;

use axum::{extract::State, http::HeaderMap, response::Response};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time,
};

use super::{
    AppState,
    authentication::Reader,
    event_stream::{self, Bounds, Source, Told},
    extract::QueryPairs,
    page::Page,
    problem::{Problem, QueryRefusals, Refusals},
};
use crate::{
    contract::ids::{TenantId, TransferId},
    service::{
        database::{Database, events::feed},
        domain::events::FeedEvent,
    },
};

/// Least time between two looks: progress is announced far more often than events happen.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// List or stream all events of the tenant, oldest first.
///
/// With `Accept: text/event-stream` a stream that goes on until the client leaves; its ids are the events'
/// `place`. Otherwise a page of JSON. Whoever asks with the last `place` that it has seen misses nothing.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    operation_id = "list_events",
    params(
        ("after" = Option<i64>, Query, minimum = 0, description = "Only events of a higher `place`"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200, description = "Rows a page, 50 by default"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "As `after`, when a stream is resumed"),
    ),
    responses(
        (status = 200, description = "A page, or a stream",
         content((Page<FeedEvent> = "application/json"), (String = "text/event-stream"))),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    QueryPairs(query): QueryPairs,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let bounds = Bounds::read(&query, &headers)?;
    let source = OfTenant {
        database: state.database.clone(),
        tenant: caller.tenant,
        changes: state.changes.subscribe(),
    };

    event_stream::answer(&state, caller, source, &headers, bounds).await
}

impl Told for FeedEvent {
    fn cursor(&self) -> i64 {
        self.place
    }

    fn kind(&self) -> &str {
        self.kind.text()
    }
}

struct OfTenant {
    database: Database,
    tenant: TenantId,
    changes: Receiver<TransferId>,
}

impl Source for OfTenant {
    type Event = FeedEvent;

    async fn list(&self, after: i64, limit: i64) -> Result<Vec<FeedEvent>, sqlx::Error> {
        feed::list(&self.database, self.tenant, after, limit).await
    }

    /// A tenant's feed never is.
    async fn is_over(&self) -> Option<bool> {
        Some(false)
    }

    /// What is no transfer's is not announced; "anything may have changed" is, every two seconds.
    async fn changed(&mut self) {
        time::sleep(LOOK_INTERVAL).await;
        if let Err(RecvError::Closed) = self.changes.recv().await {
            std::future::pending::<()>().await;
        }
    }
}
