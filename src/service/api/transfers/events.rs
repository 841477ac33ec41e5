//! `GET /v1/transfers/{id}/events`: what happened, as a page or as a stream, which ends with the transfer.

use axum::{extract::State, http::HeaderMap, response::Response};
use tokio::sync::broadcast::Receiver;

use crate::{
    contract::ids::{TenantId, TransferId},
    service::{
        api::{
            AppState,
            authentication::Reader,
            event_stream::{self, Bounds, Source, Told},
            extract::{Id, QueryPairs},
            page::Page,
            problem::{Missing, Problem, QueryRefusals, Refusals},
        },
        database::{Database, events, transfers},
        domain::events::Event,
    },
};

/// List or stream a transfer's events, oldest first.
///
/// With `Accept: text/event-stream` a stream that ends with the transfer; its ids are the events'
/// `seq`. Otherwise a page of JSON.
#[utoipa::path(
    get,
    path = "/v1/transfers/{id}/events",
    tag = "transfers",
    operation_id = "list_transfer_events",
    params(
        ("id" = Uuid, Path, description = "The transfer"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Only events of a higher `seq`"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200, description = "Rows a page, 50 by default"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "As `after`, when a stream is resumed"),
    ),
    responses(
        (status = 200, description = "A page, or a stream",
         content((Page<Event> = "application/json"), (String = "text/event-stream"))),
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
    let bounds = Bounds::read(&query, &headers)?;
    super::load(&state, caller.tenant, id).await?;
    let source = OfTransfer {
        database: state.database.clone(),
        tenant: caller.tenant,
        id,
        changes: state.changes.subscribe(),
    };

    event_stream::answer(&state, caller, source, &headers, bounds).await
}

impl Told for Event {
    fn cursor(&self) -> i64 {
        self.seq
    }

    fn kind(&self) -> &str {
        self.kind.text()
    }
}

struct OfTransfer {
    database: Database,
    tenant: TenantId,
    id: TransferId,
    changes: Receiver<TransferId>,
}

impl Source for OfTransfer {
    type Event = Event;

    async fn list(&self, after: i64, limit: i64) -> Result<Vec<Event>, sqlx::Error> {
        events::list(&self.database, self.tenant, self.id, after, limit).await
    }

    async fn is_over(&self) -> Option<bool> {
        let transfer = transfers::get(&self.database, self.tenant, self.id)
            .await
            .ok()??;
        Some(transfer.status.is_final())
    }

    async fn changed(&mut self) {
        super::get::heard_of(self.id, &mut self.changes).await;
    }
}
