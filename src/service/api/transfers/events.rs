//! `GET /v1/transfers/{id}/events`: what happened, as a page or as a stream.
//!
//! A stream begins after `Last-Event-ID` (the event's `seq`), sends what there is, then what comes,
//! and ends when the transfer is final and everything was sent, when the service stops, or when what let the
//! caller in holds no more: a client that reconnects with the last id it saw misses nothing and sees nothing
//! twice.

use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};

use crate::{
    contract::ids::{KeyId, TenantId, TransferId},
    service::{
        api::{
            AppState,
            authentication::Reader,
            extract::{Id, QueryPairs},
            page::{self, Page},
            problem::{Missing, Problem, QueryRefusals, Refusals},
        },
        database::{events, transfers},
        domain::{access::Principal, events::Event},
        state::{Admission, Share},
    },
};

/// Events read from the database at once.
const BATCH: i64 = 100;

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
    let (mut after, limit) = bounds(&query)?;
    if let Some(last) = headers.get("last-event-id") {
        let last = last.to_str().ok().and_then(seq);
        let detail = "Last-Event-ID is the id of an event of this stream";
        after = last.ok_or_else(|| Problem::invalid_query("Last-Event-ID", detail))?;
    }

    super::load(&state, caller.tenant, id).await?;
    if wants_stream(&headers) {
        let share = super::stream_share(&state, caller)?;
        let follower = Follower::start(state, caller, share, id, after);
        let events = Sse::new(follower.events()).keep_alive(KeepAlive::default());
        return Ok(([("x-accel-buffering", "no")], events).into_response());
    }

    let rows = i64::try_from(limit + 1).unwrap_or(BATCH);
    let rows = events::list(&state.database, caller.tenant, id, after, rows).await?;

    Ok(Json(Page::cut(rows, limit, |event| event.seq.to_string())).into_response())
}

fn bounds(query: &[(String, String)]) -> Result<(i64, usize), Problem> {
    let (mut after, mut limit) = (0, page::DEFAULT_LIMIT);
    for (name, value) in query {
        match name.as_str() {
            "after" => {
                let detail = "the `seq` of an event";
                after = seq(value).ok_or_else(|| Problem::invalid_query("after", detail))?;
            }
            "limit" => limit = page::limit(value)?,
            _ => {
                let detail = "no such parameter; there are after and limit";
                return Err(Problem::invalid_query(name, detail));
            }
        }
    }

    Ok((after, limit))
}

/// What an event's `seq` can be, or 0 for all.
fn seq(text: &str) -> Option<i64> {
    text.trim().parse().ok().filter(|seq| *seq >= 0)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| accept.contains("text/event-stream"))
}

/// One open stream.
struct Follower {
    state: AppState,
    tenant: TenantId,
    admission: Admission,
    _share: Share<Option<KeyId>>,
    id: TransferId,
    after: i64,
    changes: tokio::sync::broadcast::Receiver<TransferId>,
    waiting: std::vec::IntoIter<Event>,
}

impl Follower {
    fn start(
        state: AppState,
        caller: Principal,
        share: Share<Option<KeyId>>,
        id: TransferId,
        after: i64,
    ) -> Self {
        Self {
            tenant: caller.tenant,
            admission: Admission::of(state.clone(), caller),
            _share: share,
            id,
            after,
            changes: state.changes.subscribe(),
            waiting: Vec::new().into_iter(),
            state,
        }
    }

    fn events(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event; none when the stream is over. A database that is away ends the stream, and
    /// the client comes back with its last id.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.waiting.next() {
                self.after = event.seq;
                let data = serde_json::to_string(&event).ok()?;
                return Some(
                    sse::Event::default().id(event.seq.to_string()).event(event.kind).data(data),
                );
            }
            // Whether it is over is read first: what happened before is then in the events.
            let database = &self.state.database;
            let transfer = transfers::get(database, self.tenant, self.id).await.ok()??;
            let new = events::list(database, self.tenant, self.id, self.after, BATCH).await.ok()?;
            let may_go_on = if new.is_empty() {
                self.admission.held_lately().await
            } else {
                self.admission.holds().await
            };
            if !may_go_on {
                return None;
            }
            if new.is_empty() {
                if transfer.status.is_final() || !self.wait().await {
                    return None;
                }
            } else {
                self.waiting = new.into_iter();
            }
        }
    }

    /// Until something may have happened; false when the service stops.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = super::get::heard_of(self.id, &mut self.changes) => true,
            () = self.state.shutdown.cancelled() => false,
        }
    }
}
