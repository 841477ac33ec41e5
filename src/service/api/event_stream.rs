//! Events as they happen, `text/event-stream`: of one transfer, or of all that a tenant has.
//!
//! A stream begins after the caller's cursor, sends what there is, then what comes. It ends when nothing more can
//! come, when the service stops, when the database does not answer, or when what let the caller in holds no more.
//! A client that reconnects with the last id that it saw misses nothing and sees nothing twice.

use std::{collections::VecDeque, convert::Infallible, future::Future};

use axum::{
    Json,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState,
    page::{self, DEFAULT_LIMIT, Page},
    problem::{Problem, ProblemCode},
};
use crate::{
    contract::ids::KeyId,
    service::{
        domain::access::Principal,
        state::{Admission, Share},
    },
};

/// When to ask again for a stream after one was refused, in seconds.
const STREAM_PAUSE: u32 = 5;

/// Events read from the database at once: as many as each open stream holds while its client takes none. Of hundreds
/// of streams that is most of the service's memory, for an event may have several kilobytes.
const BATCH: i64 = 16;

/// Where a page or a stream begins, and how long a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub after: i64,
    pub limit: usize,
}

impl Bounds {
    /// Reads `after` and `limit`, and `Last-Event-ID` in place of `after`.
    ///
    /// # Errors
    /// 422 for what is no cursor, out of range or unknown.
    pub fn read(query: &[(String, String)], headers: &HeaderMap) -> Result<Self, Problem> {
        let mut bounds = Self {
            after: 0,
            limit: DEFAULT_LIMIT,
        };
        for (name, value) in query {
            match name.as_str() {
                "after" => {
                    let detail = "the number of an event: its cursor";
                    let after = cursor(value);
                    bounds.after = after.ok_or_else(|| Problem::invalid_query("after", detail))?;
                }
                "limit" => bounds.limit = page::limit(value)?,
                _ => {
                    let detail = "no such parameter; there are after and limit";
                    return Err(Problem::invalid_query(name, detail));
                }
            }
        }

        if let Some(last) = headers.get("last-event-id") {
            let last = last.to_str().ok().and_then(cursor);
            let detail = "Last-Event-ID is the id of an event of this stream";
            bounds.after = last.ok_or_else(|| Problem::invalid_query("Last-Event-ID", detail))?;
        }

        Ok(bounds)
    }

    /// One row more than the page has.
    pub fn rows(&self) -> i64 {
        i64::try_from(self.limit + 1).unwrap_or(BATCH)
    }
}

/// What an event's cursor can be, or 0 for all.
fn cursor(text: &str) -> Option<i64> {
    text.trim().parse().ok().filter(|cursor| *cursor >= 0)
}

/// A share in the requests that a key may have open for long.
///
/// # Errors
/// 429 where the caller's key has as many open as it may.
pub fn share(state: &AppState, caller: Principal) -> Result<Share<Option<KeyId>>, Problem> {
    state.streams.take(caller.key_id).ok_or_else(|| {
        Problem::new(ProblemCode::TooManyStreams,
            "this key has as many event streams and long polls open as it may (http.streams_per_key)",
        )
        .retry_after(STREAM_PAUSE)
    })
}

/// Whether the caller asks for a stream.
fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|accept| accept.contains("text/event-stream"))
}

/// An event of a stream.
pub trait Told: Serialize + ToSchema + Send + 'static {
    fn cursor(&self) -> i64;
    fn kind(&self) -> &str;
}

/// Where the events of a stream, or of a page, come from.
pub trait Source: Send + 'static {
    type Event: Told;

    /// Up to `limit` events after a cursor, oldest first.
    fn list(
        &self,
        after: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Self::Event>, sqlx::Error>> + Send;

    /// Whether nothing comes any more but what is there; none where the database does not answer.
    fn is_over(&self) -> impl Future<Output = Option<bool>> + Send;

    /// Until there may be more.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// Answers with the events of a source: a stream where the caller asks for one, otherwise a page.
///
/// # Errors
/// 429 where the caller's key has as many streams open as it may; and from the database.
pub async fn answer<S: Source>(
    state: &AppState,
    caller: Principal,
    source: S,
    headers: &HeaderMap,
    bounds: Bounds,
) -> Result<Response, Problem> {
    if is_wanted(headers) {
        return Ok(Follower::start(state, caller, source, bounds.after)?.answer());
    }

    let rows = source.list(bounds.after, bounds.rows()).await?;

    Ok(Json(Page::cut(rows, bounds.limit, |event| {
        event.cursor().to_string()
    }))
    .into_response())
}

/// An open stream.
struct Follower<S: Source> {
    source: S,
    state: AppState,
    admission: Admission,
    after: i64,
    waiting: VecDeque<S::Event>,
    _share: Share<Option<KeyId>>,
}

impl<S: Source> Follower<S> {
    /// Opens a stream for a caller who has been let in just now.
    ///
    /// # Errors
    /// 429 where the caller's key has as many streams open as it may.
    fn start(state: &AppState, caller: Principal, source: S, after: i64) -> Result<Self, Problem> {
        Ok(Self {
            source,
            admission: Admission::of(state.clone(), caller),
            _share: share(state, caller)?,
            state: state.clone(),
            after,
            waiting: VecDeque::new(),
        })
    }

    /// The answer, which goes on until the stream is over.
    fn answer(self) -> Response {
        let events = Sse::new(self.events()).keep_alive(KeepAlive::default());
        ([("x-accel-buffering", "no")], events).into_response()
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
            if let Some(event) = self.waiting.pop_front() {
                self.after = event.cursor();
                let data = serde_json::to_string(&event).ok()?;
                let id = event.cursor().to_string();
                return Some(sse::Event::default().id(id).event(event.kind()).data(data));
            }

            // Whether it is over is read first: what happened before is then in the events.
            let is_over = self.source.is_over().await?;
            let events = self.source.list(self.after, BATCH).await.ok()?;
            let may_go_on = if events.is_empty() {
                self.admission.held_lately().await
            } else {
                self.admission.holds().await
            };
            if !may_go_on {
                return None;
            }
            if events.is_empty() && (is_over || !self.wait().await) {
                return None;
            }
            self.waiting = events.into();
        }
    }

    /// Until something may have happened; false when the service stops.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = self.source.changed() => true,
            () = self.state.shutdown.cancelled() => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_that_was_seen_comes_before_the_query() {
        let query = [
            ("after".to_owned(), "3".to_owned()),
            ("limit".to_owned(), "2".to_owned()),
        ];
        let mut headers = HeaderMap::new();
        let bounds = Bounds::read(&query, &headers).unwrap();
        assert_eq!((bounds.after, bounds.limit, bounds.rows()), (3, 2, 3));
        headers.insert("last-event-id", "7".parse().unwrap());
        assert_eq!(Bounds::read(&query, &headers).unwrap().after, 7);
        headers.insert("last-event-id", "-7".parse().unwrap());
        assert_eq!(
            Bounds::read(&query, &headers).unwrap_err().code(),
            "invalid_query"
        );
    }
}
