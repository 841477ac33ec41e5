//! Sends spans to the collector, as OTLP over HTTP.
//!
//! Endpoint, headers and the attributes of the resource come from the usual variables `OTEL_…`. A collector
//! that is away holds up nobody: spans wait in a queue of bounded length, and are dropped beyond that.

use std::{sync::OnceLock, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::{self, Runtime};

use super::{identity::Ids, sampling::Choice};

const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that the end of the process waits for the collector.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

struct Started {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Once for the process, like the log.
static STARTED: OnceLock<Started> = OnceLock::new();

/// `None` where nothing is exported.
pub(super) fn tracer() -> Option<&'static SdkTracer> {
    STARTED.get().map(|started| &started.tracer)
}

/// Starts sending, where an endpoint is named.
///
/// # Errors
/// Why the exporter cannot start: a variable that it cannot read, or the system.
pub fn start() -> Result<(), Box<dyn std::error::Error>> {
    if is_wanted() {
        let started = connect()?;
        STARTED.get_or_init(|| started);
    }
    Ok(())
}

/// Sends what waits, for at most a second.
pub fn stop() {
    if let Some(started) = STARTED.get() {
        // Whether the collector has heard the last is not for this process to mend.
        let _ = started.provider.shutdown_with_timeout(FLUSH_PATIENCE);
    }
}

fn is_wanted() -> bool {
    let is_disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value == "true");
    let mut endpoints = ENDPOINTS.iter().filter_map(std::env::var_os);
    !is_disabled && endpoints.any(|value| !value.is_empty())
}

fn connect() -> Result<Started, Box<dyn std::error::Error>> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::start()?)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Choice::of_environment())
        .with_id_generator(Ids::default())
        .with_resource(resource())
        .build();
    let tracer = provider.tracer("retune");
    Ok(Started { provider, tracer })
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say it otherwise.
fn resource() -> Resource {
    let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let named =
        std::env::var_os("OTEL_SERVICE_NAME").is_some() || attributes.contains("service.name=");
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    if named {
        builder.build()
    } else {
        builder.with_service_name("retune").build()
    }
}

/// Posts from threads that have no runtime: the batches are made on one of the library's.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Runtime,
}

impl Client {
    fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()?;
        let client = reqwest::Client::builder()
            .user_agent(concat!("retune/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(POST_TIMEOUT)
            .build()?;
        Ok(Self { client, runtime })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), request.try_into()?);
        // A request wants a timer of the runtime as soon as it is made.
        let posted = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, answer.bytes().await?))
        });
        let (status, headers, body) = posted.await??;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}
