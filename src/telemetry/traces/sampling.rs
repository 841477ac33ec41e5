//! Which traces are kept: every transfer's, no probe's, and of the other requests those that the usual
//! `OTEL_TRACES_SAMPLER` keeps.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Config, Sampler, SamplingResult, ShouldSample};

/// The attribute of a request with the template of its path.
pub const ROUTE: &str = "http.route";
/// The span over a whole transfer.
pub const TRANSFER: &str = "transfer";

/// What machines ask every few seconds.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

#[derive(Clone, Debug)]
pub struct Choice {
    usual: Box<dyn ShouldSample>,
}

impl Choice {
    pub fn of_environment() -> Self {
        Self {
            usual: Config::default().sampler,
        }
    }
}

impl ShouldSample for Choice {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_probe = attributes.iter().any(is_route_of_probe);
        let sampler: &dyn ShouldSample = match name {
            _ if is_probe => &Sampler::AlwaysOff,
            TRANSFER => &Sampler::AlwaysOn,
            _ => self.usual.as_ref(),
        };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

fn is_route_of_probe(attribute: &KeyValue) -> bool {
    attribute.key.as_str() == ROUTE && PROBES.contains(&attribute.value.as_str().as_ref())
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::SamplingDecision;

    use super::*;

    fn is_kept(choice: &Choice, name: &str, route: &str) -> bool {
        let attributes = [KeyValue::new(ROUTE, route.to_owned())];
        let trace = TraceId::from_bytes([1; 16]);
        let result = choice.should_sample(None, trace, name, &SpanKind::Server, &attributes, &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn transfers_are_kept_and_probes_are_not_whatever_the_usual_sampler_says() {
        let all = Choice {
            usual: Box::new(Sampler::AlwaysOn),
        };
        let none = Choice {
            usual: Box::new(Sampler::AlwaysOff),
        };
        assert!(is_kept(&all, "GET /v1/me", "/v1/me") && !is_kept(&none, "GET /v1/me", "/v1/me"));
        assert!(!is_kept(&all, "GET /metrics", "/metrics"));
        assert!(is_kept(&none, TRANSFER, ""));
    }
}
