//! The ids of a transfer's trace, which follow from the transfer's own.

use std::cell::Cell;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The trace and the span of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    trace: TraceId,
    span: SpanId,
}

impl Identity {
    /// The trace has the transfer's id, in hexadecimal without its dashes.
    pub fn of(transfer: Uuid) -> Self {
        let digest = Sha256::digest(transfer.as_bytes());
        let mut span = [0; 8];
        span.copy_from_slice(&digest[..8]);
        Self {
            trace: TraceId::from_bytes(*transfer.as_bytes()),
            span: SpanId::from_bytes(span),
        }
    }

    /// As another process would name it. It is always sampled: transfers are few, and each is worth its trace.
    pub fn context(self) -> SpanContext {
        SpanContext::new(
            self.trace,
            self.span,
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        )
    }

    /// What the spans of the transfer are below.
    pub fn parent(self) -> Context {
        Context::new().with_remote_span_context(self.context())
    }

    /// As a header names it to whoever works on for the transfer.
    pub fn traceparent(self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }

    /// Runs `start`, whose next span without a parent gets this identity.
    pub fn given<T>(self, start: impl FnOnce() -> T) -> T {
        GIVEN.set(Some(self));
        let started = start();
        GIVEN.set(None);
        started
    }
}

thread_local! {
    static GIVEN: Cell<Option<Identity>> = const { Cell::new(None) };
}

/// Draws ids, but for the one span that is given its own.
#[derive(Debug, Default)]
pub struct Ids {
    random: RandomIdGenerator,
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        GIVEN
            .get()
            .map_or_else(|| self.random.new_trace_id(), |given| given.trace)
    }

    fn new_span_id(&self) -> SpanId {
        GIVEN
            .get()
            .map_or_else(|| self.random.new_span_id(), |given| given.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_s_trace_is_found_by_its_id() {
        let transfer = Uuid::from_u128(0x01a2_2ac5_3937_722e_9c2a_b6dd_6348_f035);
        let identity = Identity::of(transfer);
        assert_eq!(
            identity.trace.to_string(),
            "01a22ac53937722e9c2ab6dd6348f035"
        );
        assert!(identity.context().is_valid() && identity.context().is_sampled());
        assert_ne!(identity.span, Identity::of(Uuid::from_u128(1)).span);
        // printf 01a22ac53937722e9c2ab6dd6348f035 | xxd -r -p | sha256sum
        let header = "00-01a22ac53937722e9c2ab6dd6348f035-ca90594bbc4f4f99-01";
        assert_eq!(identity.traceparent(), header);
    }

    #[test]
    fn only_the_span_that_is_given_an_identity_has_it() {
        let ids = Ids::default();
        let identity = Identity::of(Uuid::from_u128(7));
        let given = identity.given(|| (ids.new_span_id(), ids.new_trace_id()));
        assert_eq!(given, (identity.span, identity.trace));
        assert_ne!(ids.new_trace_id(), identity.trace);
    }
}
