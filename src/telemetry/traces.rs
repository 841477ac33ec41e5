//! Traces, sent to a collector of OpenTelemetry's where `OTEL_EXPORTER_OTLP_ENDPOINT` names one.
//!
//! A request belongs to the trace that its `traceparent` names, or is a trace of its own. A transfer is a trace, too:
//! its id is the transfer's, so that the processes that work on it need nothing of each other to write into one
//! trace. Its attempts are spans of it, with a span for each phase. The span over the whole transfer is written by
//! who ends it. The request that submitted a transfer and that transfer's trace are linked to each other.
//!
//! Without the feature `otel` every function here is there and does nothing.

#[cfg(feature = "otel")]
mod exporter;
#[cfg(feature = "otel")]
mod identity;
#[cfg(not(feature = "otel"))]
mod none;
#[cfg(feature = "otel")]
mod request;
#[cfg(feature = "otel")]
mod sampling;
#[cfg(feature = "otel")]
mod transfer;

#[cfg(not(feature = "otel"))]
pub use none::{Attempt, Phase, around, start, stop, submitted, traceparent};
#[cfg(feature = "otel")]
pub use {
    exporter::{start, stop},
    request::around,
    transfer::{Attempt, Phase, submitted, traceparent},
};

/// What an attempt at a transfer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// One word.
    pub name: &'static str,
    /// What went wrong, if something did.
    pub error: Option<&'a str>,
    /// No further attempt follows.
    pub is_last: bool,
}
