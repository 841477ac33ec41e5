//! What another program says of a result before it is published.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;
use utoipa::ToSchema;

use super::spec::{Fault, MAX_TEXT_BYTES, check_gate_name};

/// Most bytes of metrics, as JSON.
const METRICS_LIMIT: usize = 64 << 10;

/// The judgement of an external gate: it ends the wait of a transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The name that `gate.external` has.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
    pub passed: bool,
    /// The program's own figures, kept as they are.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metrics: Map<String, Value>,
    /// Where people find the whole of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub url: Option<String>,
}

impl Evaluation {
    /// Checks sizes and texts.
    ///
    /// # Errors
    /// Every fault found, with its pointer.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        check_gate_name("/name", &self.name, &mut faults);
        if serde_json::to_vec(&self.metrics).map_or(0, |text| text.len()) > METRICS_LIMIT {
            faults.push(Fault::new(
                "/metrics",
                format!("more than {METRICS_LIMIT} bytes"),
            ));
        }
        if self.url.as_deref().is_some_and(|url| !is_address(url)) {
            let detail = format!("is no http or https address of at most {MAX_TEXT_BYTES} bytes");
            faults.push(Fault::new("/url", detail));
        }

        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

fn is_address(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES
        && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// How the wait for an external gate ended, as the transfer and its report have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvaluationRecord {
    /// False: nobody answered by the deadline, which rejects.
    pub answered: bool,
    /// Of the gate.
    pub name: String,
    pub passed: bool,
    /// The other program's own figures.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metrics: Map<String, Value>,
    /// Where people find the whole of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl EvaluationRecord {
    /// Nobody answered in time.
    pub fn unanswered(name: &str) -> Self {
        let name = name.to_owned();
        Self {
            answered: false,
            name,
            passed: false,
            metrics: Map::new(),
            url: None,
        }
    }

    /// Why the result is rejected, as a sentence; `None` where it is not.
    pub fn objection(&self) -> Option<String> {
        let Self {
            name,
            answered,
            passed,
            ..
        } = self;
        match (answered, passed) {
            (_, true) => None,
            (true, false) => Some(format!("the external gate fails: {name} did not pass it")),
            (false, false) => Some(format!(
                "the external gate fails: {name} did not answer by the deadline"
            )),
        }
    }
}

/// Somebody did answer.
impl From<Evaluation> for EvaluationRecord {
    fn from(
        Evaluation {
            name,
            passed,
            metrics,
            url,
        }: Evaluation,
    ) -> Self {
        Self {
            answered: true,
            name,
            passed,
            metrics,
            url,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(document: Value) -> Vec<String> {
        let evaluation: Evaluation = serde_json::from_value(document).unwrap();
        let faults = evaluation.check().err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn every_part_of_an_evaluation_is_bounded() {
        let good = json!({"name": "lm-eval", "passed": true, "metrics": {"mmlu": 0.5},
            "url": "https://ci.example.org/7"});
        assert_eq!(faults(good), Vec::<String>::new());
        let bad = json!({"name": "", "passed": true, "metrics": {"x": "y".repeat(1 << 17)},
            "url": "javascript:alert(1)"});
        assert_eq!(faults(bad), ["/name", "/metrics", "/url"]);
        assert!(serde_json::from_value::<Evaluation>(json!({"name": "a"})).is_err());
    }

    #[test]
    fn silence_rejects_and_says_so() {
        let silent = EvaluationRecord::unanswered("lm-eval");
        assert!(
            silent
                .objection()
                .unwrap()
                .contains("did not answer by the deadline")
        );
        let text = serde_json::to_value(&silent).unwrap();
        assert_eq!(
            text,
            json!({"answered": false, "name": "lm-eval", "passed": false})
        );
        assert_eq!(
            serde_json::from_value::<EvaluationRecord>(text).unwrap(),
            silent
        );
        assert_eq!(
            EvaluationRecord {
                passed: true,
                ..silent
            }
            .objection(),
            None
        );
    }
}
