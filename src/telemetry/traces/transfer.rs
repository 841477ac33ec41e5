//! The spans of a transfer's trace.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use uuid::Uuid;

use super::{Outcome, exporter::tracer, identity::Identity, sampling::TRANSFER};

/// Begins the trace of a transfer that the request at work has submitted. Each of the two is linked to the other.
pub fn submitted(transfer: Uuid) {
    let Some(tracer) = tracer() else { return };
    let (request, identity) = (Context::current(), Identity::of(transfer));
    request.span().add_link(identity.context(), Vec::new());

    let builder = SpanBuilder::from_name("submitted")
        .with_kind(SpanKind::Producer)
        .with_links(vec![Link::with_context(
            request.span().span_context().clone(),
        )]);
    tracer.build_with_context(builder, &identity.parent()).end();
}

/// The header `traceparent` of what is sent on for a transfer, where traces are exported.
pub fn traceparent(transfer: Uuid) -> Option<String> {
    tracer().map(|_| Identity::of(transfer).traceparent())
}

/// The span of one attempt. Clones are the same span.
#[derive(Clone, Debug)]
pub struct Attempt {
    transfer: Uuid,
    /// Without a span where nothing is exported.
    context: Context,
}

impl Attempt {
    /// `number` counts from 1.
    pub fn begin(transfer: Uuid, number: i32) -> Self {
        let Some(tracer) = tracer() else {
            return Self {
                transfer,
                context: Context::new(),
            };
        };
        let builder = SpanBuilder::from_name("attempt")
            .with_kind(SpanKind::Consumer)
            .with_attributes([KeyValue::new("number", i64::from(number))]);
        let parent = Identity::of(transfer).parent();
        let context = parent.with_span(tracer.build_with_context(builder, &parent));
        Self { transfer, context }
    }

    /// A phase, which ends when it is dropped.
    pub fn phase(&self, name: &'static str) -> Phase {
        let builder = SpanBuilder::from_name(name);
        Phase(tracer().map(|tracer| {
            self.context
                .with_span(tracer.build_with_context(builder, &self.context))
        }))
    }

    /// Ends the attempt and, where it was the last, the transfer.
    pub fn end(&self, outcome: Outcome<'_>) {
        let span = self.context.span();
        span.set_attribute(KeyValue::new("outcome", outcome.name));
        if let Some(error) = outcome.error {
            span.set_status(Status::error(error.to_owned()));
        }
        span.end();
        if outcome.is_last {
            whole(self.transfer, outcome);
        }
    }
}

/// The span of a phase.
#[derive(Debug)]
pub struct Phase(Option<Context>);

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// Writes the span over the transfer, from when its id was made until now.
fn whole(transfer: Uuid, outcome: Outcome<'_>) {
    let Some(tracer) = tracer() else { return };
    let attributes = [
        KeyValue::new("transfer", transfer.to_string()),
        KeyValue::new("outcome", outcome.name),
    ];
    let builder = SpanBuilder::from_name(TRANSFER)
        .with_start_time(made_at(transfer).unwrap_or_else(SystemTime::now))
        .with_attributes(attributes);
    let mut span =
        Identity::of(transfer).given(|| tracer.build_with_context(builder, &Context::new()));
    if let Some(error) = outcome.error {
        span.set_status(Status::error(error.to_owned()));
    }
    span.end();
}

/// The time in an id of version 7.
fn made_at(transfer: Uuid) -> Option<SystemTime> {
    let (seconds, nanoseconds) = transfer.get_timestamp()?.to_unix();
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_version_7_has_its_time() {
        let id = Uuid::parse_str("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").unwrap();
        // RFC 9562, A.6: 2022-02-22 19:22:22 UTC.
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_645_557_742);
        assert_eq!(made_at(id), Some(made));
        assert_eq!(made_at(Uuid::from_u128(7)), None);
    }
}
