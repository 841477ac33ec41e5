//! What surrounds every request: request id, log line, trace, figures, panic guard; and the answers for
//! requests that reach no handler.
//!
//! Order, from outside: request id → log → trace → figures → caching → panics → (bounded routes: compression,
//! time limit) → handler. Streams and long polls bound themselves, hence the two groups.
//!
//! What a stranger chooses (methods, request ids) is bounded before it becomes a label or stands in the log.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
};
use uuid::Uuid;

use super::{
    method::known_method,
    metrics,
    problem::{Problem, ProblemCode},
};
use crate::telemetry::traces;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken from a client, in bytes.
const REQUEST_ID_LIMIT: usize = 128;

/// For routes that answer at once: compressed, and given up after `limit`.
pub fn bounded(router: Router, limit: Duration) -> Router {
    router
        .layer(from_fn_with_state(limit, limit_time))
        .layer(CompressionLayer::new())
}

/// For the whole service, once. Bodies have at most `body_limit` bytes.
pub fn common(router: Router, body_limit: usize) -> Router {
    router
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(keep_nothing))
        .layer(from_fn(metrics::record))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(from_fn(traces::around))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(SetRequestIdLayer::new(REQUEST_ID, TimeOrdered))
        .layer(from_fn(drop_odd_request_id))
}

/// Answers are kept by nobody on their way, unless they say how.
async fn keep_nothing(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let kept = response.headers_mut().entry(header::CACHE_CONTROL);
    kept.or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A short word of letters, digits and the marks that ids are written with.
fn is_id(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|id| {
        id.len() <= REQUEST_ID_LIMIT
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
    })
}

/// Takes away a request id that is no id; the request gets one of ours then.
async fn drop_odd_request_id(mut request: Request, next: Next) -> Response {
    if request
        .headers()
        .get(REQUEST_ID)
        .is_some_and(|value| !is_id(value))
    {
        request.headers_mut().remove(REQUEST_ID);
    }

    next.run(request).await
}

#[derive(Clone, Copy)]
struct TimeOrdered;

impl MakeRequestId for TimeOrdered {
    fn make_request_id<B>(&mut self, _request: &axum::http::Request<B>) -> Option<RequestId> {
        let id = Uuid::now_v7().to_string();
        axum::http::HeaderValue::from_str(&id)
            .ok()
            .map(RequestId::new)
    }
}

/// Its fields stand before every line that a request causes, so that each has its id. The route's
/// template, never the path or the query: these may carry what does not belong in a log.
fn span(request: &Request) -> tracing::Span {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let route = request.extensions().get::<MatchedPath>();
    // Of the highest level, so that it stands before whatever is logged at all.
    tracing::error_span!(
        "request",
        method = known_method(request.method()),
        path = route.map_or("unmatched", MatchedPath::as_str),
        request_id = id.unwrap_or_default(),
    )
}

async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            ProblemCode::Timeout,
            format!("no answer within {} s; try again", limit.as_secs()),
        )
        .into_response(),
    }
}

async fn no_such_route() -> Problem {
    Problem::new(
        ProblemCode::NoSuchRoute,
        "nothing is served here; see /docs",
    )
}

async fn no_such_method() -> Problem {
    Problem::new(
        ProblemCode::MethodNotAllowed,
        "this path exists, but not with this method; see the Allow header",
    )
}

fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let cause = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words");
    Problem::internal(cause).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    fn app() -> Router {
        let routes = Router::new()
            .route("/panic", get(|| async { panic!("boom") as () }))
            .route(
                "/broken/{name}",
                get(|| async { Problem::internal("boom") }),
            )
            .route("/slow", get(std::future::pending::<()>));
        common(bounded(routes, Duration::from_millis(200)), 1 << 20)
    }

    async fn ask(method: &str, path: &str) -> (axum::http::StatusCode, String, Response) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = app().oneshot(request).await.unwrap();
        let kind = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        (response.status(), kind, response)
    }

    #[tokio::test]
    async fn requests_that_reach_no_handler_get_a_problem_and_a_request_id() {
        for (method, path, status) in [
            ("GET", "/nothing", 404),
            ("POST", "/panic", 405),
            ("GET", "/panic", 500),
        ] {
            let (got, kind, response) = ask(method, path).await;
            assert_eq!(
                (got.as_u16(), kind.as_str()),
                (status, "application/problem+json")
            );
            assert!(response.headers().contains_key("x-request-id"));
            assert_eq!(
                response.headers().contains_key(header::ALLOW),
                status == 405
            );
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_in_the_log_has_the_request_id_and_the_route_without_its_arguments() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(subscriber.finish());
        let (_, _, response) = ask("GET", "/broken/hunter2?key=hunter3").await;
        drop(guard);
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap();
        let line = log
            .lines()
            .find(|line| line.contains("a request failed"))
            .expect(&log);
        assert!(
            line.contains(id) && line.contains("/broken/{name}"),
            "{line}"
        );
        assert!(!log.contains("hunter"), "{log}");
    }

    #[tokio::test]
    async fn a_handler_that_hangs_is_given_up() {
        let (status, kind, _) = ask("GET", "/slow").await;
        assert_eq!(
            (status.as_u16(), kind.as_str()),
            (503, "application/problem+json")
        );
    }
}
