//! The span of a request.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, Method},
    middleware::Next,
    response::Response,
};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{FutureExt, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracer};

use super::{exporter::tracer, sampling::ROUTE};

/// Answers a request within a span of its own, below the one that its caller names.
pub async fn around(request: Request, next: Next) -> Response {
    let Some(tracer) = tracer() else {
        return next.run(request).await;
    };
    let context = begin(tracer, &request);
    let response = next.run(request).with_context(context.clone()).await;

    let (span, status) = (context.span(), response.status());
    let code = i64::from(status.as_u16());
    span.set_attribute(KeyValue::new("http.response.status_code", code));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
    span.end();
    response
}

/// The names of attributes are those of the semantic conventions for HTTP. Nothing of path or query beyond the
/// template: these may carry what does not belong in a trace.
fn begin(tracer: &SdkTracer, request: &Request) -> Context {
    let caller = TraceContextPropagator::new().extract(&Headers(request.headers()));
    let method = name_of(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str);
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok());
    let attributes = [
        KeyValue::new("http.request.method", method),
        KeyValue::new(ROUTE, route.to_owned()),
        KeyValue::new("request_id", id.unwrap_or_default().to_owned()),
    ];
    let builder = SpanBuilder::from_name(format!("{method} {route}"))
        .with_kind(SpanKind::Server)
        .with_attributes(attributes);
    caller.with_span(tracer.build_with_context(builder, &caller))
}

/// A method can be any word that a stranger chooses.
fn name_of(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("_OTHER")
}

/// The headers that `traceparent` and `tracestate` are among.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
