//! Traces, as a collector gets them.

use std::{
    collections::BTreeSet,
    future::{Ready, ready},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use serde_json::{Value as Json, json};

use nix::sys::signal::Signal;

use crate::{
    pipeline::case::Case,
    support::{Served, TestDatabase, http, retune_serve, within},
};

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<(Resource, Span)>>>,
    /// The traces that webhooks name.
    posts: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// Its address.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        let routes = Router::new()
            .route("/v1/traces", post(Self::take))
            .route("/webhook", post(Self::note))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}")
    }

    fn take(State(collector): State<Self>, headers: HeaderMap, body: Bytes) -> Ready<()> {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let sent = ExportTraceServiceRequest::decode(body).expect("an export");
        let mut spans = collector.spans.lock().expect("no panic");
        for group in sent.resource_spans {
            let resource = group.resource.expect("a resource");
            let of_scopes = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(of_scopes.map(|span| (resource.clone(), span)));
        }
        ready(())
    }

    fn note(State(collector): State<Self>, headers: HeaderMap) -> Ready<()> {
        let named = headers["traceparent"].to_str().expect("a text").to_owned();
        collector.posts.lock().expect("no panic").push(named);
        ready(())
    }

    fn spans(&self) -> Vec<Span> {
        self.spans
            .lock()
            .expect("no panic")
            .iter()
            .map(|(_, span)| span.clone())
            .collect()
    }

    /// The spans of one trace, by its id in hexadecimal.
    fn trace(&self, id: &str) -> Vec<Span> {
        self.spans()
            .into_iter()
            .filter(|span| hex::encode(&span.trace_id) == id)
            .collect()
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no span {name} in {spans:#?}"));
    assert!(found.next().is_none(), "two spans {name}");
    first
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn serve(test: &TestDatabase, case: &Case, collector: &str) -> std::process::Command {
    let mut command = retune_serve("1", case.folder.path().join("state"));
    command
        .env("DATABASE_URL", &test.url)
        .env(
            "RETUNE_STORAGE_ROOTS",
            format!("file://{}/", case.folder.path().display()),
        )
        .env("RETUNE_WEBHOOKS_ALLOW_PRIVATE", "true")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100");
    command
}

/// Submits a job under a caller's trace and waits for its end; the transfer.
async fn transfer(served: &Served, spec: &Json, traceparent: &str) -> Json {
    let created = http()
        .post(format!("{}/v1/transfers", served.url))
        .header("traceparent", traceparent)
        .json(spec)
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 202);
    let created: Json = created.json().await.unwrap();
    let id = created["id"].as_str().unwrap().to_owned();
    within("the transfer ends", async || {
        let url = format!("{}/v1/transfers/{id}?wait=5", served.url);
        let seen: Json = http().get(url).send().await.unwrap().json().await.unwrap();
        (!seen["finished_at"].is_null()).then_some(seen)
    })
    .await
}

const CALLER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_one_trace_and_its_request_is_in_the_caller_s() {
    let (test, collector) = (TestDatabase::fresh().await, Collector::default());
    let case = Case::fresh();
    let address = collector.start().await;
    let mut served = Served::start(&mut serve(&test, &case, &address)).await;
    let mut spec = case.spec();
    spec["callback"] = json!({"url": format!("{address}/webhook")});
    let done = transfer(&served, &spec, &format!("00-{CALLER}-{CALLERS_SPAN}-01")).await;
    assert_eq!(done["status"], "succeeded", "{done}");
    http()
        .get(format!("{}/healthz", served.url))
        .send()
        .await
        .unwrap();
    let told = within("the callback comes", async || {
        collector.posts.lock().expect("no panic").last().cloned()
    })
    .await;
    served.process.signal(Signal::SIGTERM);
    assert_eq!(served.process.ended().await, Some(0));

    // The request, below its caller's span.
    let callers = collector.trace(CALLER);
    let request = named(&callers, "POST /v1/transfers");
    assert_eq!(hex::encode(&request.parent_span_id), CALLERS_SPAN);
    assert_eq!(request.kind, SpanKind::Server as i32);
    let status = attribute(&request.attributes, "http.response.status_code");
    assert_eq!(status.as_deref(), Some("202"));

    // The transfer, whose trace is called as it is.
    let id = done["id"].as_str().unwrap();
    let spans = collector.trace(&id.replace('-', ""));
    let whole = named(&spans, "transfer");
    assert!(whole.parent_span_id.is_empty());
    assert_eq!(
        attribute(&whole.attributes, "transfer").as_deref(),
        Some(id)
    );
    assert_eq!(
        attribute(&whole.attributes, "outcome").as_deref(),
        Some("succeeded")
    );
    let named_to_receivers = format!(
        "00-{}-{}-01",
        hex::encode(&whole.trace_id),
        hex::encode(&whole.span_id)
    );
    assert_eq!(told, named_to_receivers);
    let submitted = named(&spans, "submitted");
    assert_eq!(submitted.parent_span_id, whole.span_id);
    assert_eq!(submitted.links[0].span_id, request.span_id);
    assert_eq!(request.links[0].trace_id, whole.trace_id);
    let attempt = named(&spans, "attempt");
    assert_eq!(attempt.parent_span_id, whole.span_id);
    assert_eq!(
        attribute(&attempt.attributes, "number").as_deref(),
        Some("1")
    );
    let phases: BTreeSet<&str> = spans
        .iter()
        .filter(|span| span.parent_span_id == attempt.span_id)
        .map(|span| span.name.as_str())
        .collect();
    for phase in ["fetching", "diagnosing", "evaluating", "publishing"] {
        assert!(phases.contains(phase), "{phases:?}");
        let span = spans
            .iter()
            .find(|span| span.name == phase)
            .expect("just seen");
        assert!(span.start_time_unix_nano >= attempt.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= attempt.end_time_unix_nano);
    }
    assert!(whole.start_time_unix_nano <= attempt.start_time_unix_nano);
    assert!(whole.end_time_unix_nano >= attempt.end_time_unix_nano);

    // Who asks every few seconds is not in any trace.
    assert!(
        !collector
            .spans()
            .iter()
            .any(|span| span.name.contains("healthz"))
    );
    for (resource, _) in collector.spans.lock().unwrap().iter() {
        assert_eq!(
            attribute(&resource.attributes, "service.name").as_deref(),
            Some("retune")
        );
        let own = attribute(&resource.attributes, "deployment.environment");
        assert_eq!(own.as_deref(), Some("test"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_transfer_s_spans_name_the_error_and_a_collector_that_is_away_harms_nobody() {
    let (test, collector) = (TestDatabase::fresh().await, Collector::default());
    let case = Case::fresh();
    let address = collector.start().await;
    let mut served = Served::start(&mut serve(&test, &case, &address)).await;
    let mut spec = case.spec();
    spec["target"]["base"] = case.uri("nothing").into();
    let failed = transfer(&served, &spec, "nonsense").await;
    assert_eq!(failed["status"], "failed", "{failed}");
    served.process.signal(Signal::SIGTERM);
    assert_eq!(served.process.ended().await, Some(0));

    let spans = collector.trace(&failed["id"].as_str().unwrap().replace('-', ""));
    for name in ["attempt", "transfer"] {
        let status = named(&spans, name).status.clone().expect("a status");
        assert_eq!(status.code, StatusCode::Error as i32);
        assert_eq!(Json::from(status.message), failed["error"]["code"]);
    }

    let nobody = "http://127.0.0.1:9";
    let mut served = Served::start(&mut serve(&test, &case, nobody)).await;
    let done = transfer(&served, &case.spec(), "").await;
    assert_eq!(done["status"], "succeeded", "{done}");
    served.process.signal(Signal::SIGTERM);
    assert_eq!(served.process.ended().await, Some(0));
}
