//! What the API says where it refuses.

use axum::http::StatusCode;
use serde_json::Value;

use crate::contract::spec::Fault;

/// Why the API refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: String,
    pub detail: String,
    /// Where there are several: pointer and detail of each.
    pub faults: Vec<Fault>,
}

impl Refusal {
    /// What the API would say of a body that a form cannot send it.
    pub fn of_form(code: &str, detail: String) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self {
            status,
            code: code.to_owned(),
            detail,
            faults: Vec::new(),
        }
    }

    /// Of the body of a problem (RFC 9457).
    pub fn read(status: StatusCode, problem: &Value) -> Self {
        let faults = problem["errors"].as_array().into_iter().flatten();
        let faults = faults.map(|fault| Fault::new(text(fault, "pointer"), text(fault, "detail")));
        Self {
            status,
            code: text(problem, "code"),
            detail: text(problem, "detail"),
            faults: faults.collect(),
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
