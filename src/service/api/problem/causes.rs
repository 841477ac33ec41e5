//! Errors of the rest of the service, as the API tells them.

use super::{Problem, ProblemCode};
use crate::{
    contract::{
        codes::FailureCode,
        spec::{Fault, SpecError},
    },
    pipeline::Failure,
    service::{
        database::{outage::is_passing, quotas::QuotaExceeded},
        registry::removal::RemovalError,
    },
};

/// When to ask again after a quota was used up, in seconds.
const QUOTA_PAUSE: u32 = 60;

impl From<sqlx::Error> for Problem {
    /// A database that is away for a moment is 503, anything else a fault of ours.
    fn from(error: sqlx::Error) -> Self {
        if !is_passing(&error) {
            return Self::internal(error);
        }
        tracing::warn!(%error, "the database did not answer");
        let detail = "the database does not answer; try again";
        Self::new(ProblemCode::DatabaseUnavailable, detail)
    }
}

impl From<QuotaExceeded> for Problem {
    fn from(exceeded: QuotaExceeded) -> Self {
        Self::new(ProblemCode::QuotaExceeded, exceeded.to_string()).retry_after(QUOTA_PAUSE)
    }
}

impl From<RemovalError> for Problem {
    fn from(error: RemovalError) -> Self {
        match error {
            RemovalError::InvalidState { .. } => {
                Self::new(ProblemCode::InvalidState, error.to_string())
            }
            RemovalError::InUse(living) => Self::new(ProblemCode::InUse, living),
            RemovalError::Database(error) => error.into(),
        }
    }
}

impl From<SpecError> for Problem {
    fn from(error: SpecError) -> Self {
        Self::invalid(error.code, error.faults)
    }
}

impl From<Failure> for Problem {
    /// How `plan` fails: the user's input is 422 with the pipeline's own code and pointer, storage that is
    /// away 503.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Input {
                code,
                pointer,
                detail,
            } => Self::invalid(code, vec![Fault::new(pointer.unwrap_or_default(), detail)]),
            Failure::Internal {
                code: code @ FailureCode::StorageUnavailable,
                detail,
            } => Self::unavailable(code, detail),
            Failure::Stopped(_) | Failure::Internal { .. } => Self::internal(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_refused_for_its_input_keeps_code_and_pointer() {
        let problem = Problem::from(Failure::Input {
            code: FailureCode::MissingTensor,
            pointer: Some("/target/base".into()),
            detail: "fc1.weight is absent".into(),
        });
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["code"], "missing_tensor");
        assert_eq!(json["status"], 422);
        assert_eq!(json["errors"][0]["pointer"], "/target/base");
    }
}
