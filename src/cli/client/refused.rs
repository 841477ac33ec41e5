//! What a service refuses, in its own words.

use std::time::Duration;

use reqwest::StatusCode;

/// The service answered, and the answer is no.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(*.status, .problem))]
pub struct Refused {
    pub status: StatusCode,
    pub problem: Problem,
    /// When the service asks to be asked again.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// Whether the same may go well in a moment: too many requests, or nobody behind the proxy.
    pub fn is_passing(&self) -> bool {
        matches!(self.status.as_u16(), 429 | 502 | 503 | 504)
    }
}

/// A problem as it arrives; what is absent or unknown is no fault.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Problem {
    pub code: String,
    pub detail: String,
    pub errors: Vec<Fault>,
}

/// One faulty field of a [`Problem`].
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Fault {
    pub pointer: String,
    pub detail: String,
}

fn describe(status: StatusCode, problem: &Problem) -> String {
    let mut text = match (problem.detail.as_str(), problem.code.as_str()) {
        ("", _) => format!("the service answered {status}"),
        (detail, "") => detail.to_owned(),
        (detail, code) => format!("{detail} ({code})"),
    };
    let repeated = |fault: &&Fault| problem.detail.contains(&fault.detail);
    for fault in problem.errors.iter().filter(|fault| !repeated(fault)) {
        text += &format!("\n  {}: {}", fault.pointer, fault.detail);
    }

    if status == StatusCode::UNAUTHORIZED {
        text += "\n  give a key in RETUNE_API_KEY or with --api-key";
    }

    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_code_and_pointers() {
        let problem: Problem = serde_json::from_value(serde_json::json!({
            "code": "invalid_spec", "detail": "2 fields are at fault", "title": "x",
            "errors": [{"pointer": "/gate", "detail": "give min"}, {"pointer": "/output", "detail": "empty"}]
        }))
        .unwrap();
        assert_eq!(
            describe(StatusCode::UNPROCESSABLE_ENTITY, &problem),
            "2 fields are at fault (invalid_spec)\n  /gate: give min\n  /output: empty"
        );
        let problem = Problem::default();
        assert!(describe(StatusCode::BAD_GATEWAY, &problem).contains("502"));
    }
}
