//! Requests to object stores are counted and timed. Files of this machine are not: they are no requests.

use std::{future::Future, time::Instant};

use metrics::{counter, histogram};
use object_store::{Error, Result};

/// What is asked of a store. A request that is tried again within the client counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get,
    Head,
    Put,
    Copy,
    Delete,
    List,
    CreateUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
}

/// How requests end: what is not there, what is there already or has changed, and what is not allowed are told
/// apart from a store that fails.
pub const OUTCOMES: [&str; 5] = ["ok", "not_found", "conflict", "denied", "failed"];

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::Head,
        Self::Put,
        Self::Copy,
        Self::Delete,
        Self::List,
        Self::CreateUpload,
        Self::PutPart,
        Self::CompleteUpload,
        Self::AbortUpload,
    ];

    /// As the label says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Put => "put",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::List => "list",
            Self::CreateUpload => "create_upload",
            Self::PutPart => "put_part",
            Self::CompleteUpload => "complete_upload",
            Self::AbortUpload => "abort_upload",
        }
    }
}

/// Counts and times one request, to the head of its answer: a body that is streamed comes after that.
pub(super) async fn counted<T>(
    operation: Operation,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    let begun = Instant::now();
    let answer = request.await;
    histogram!("retune_storage_seconds", "operation" => operation.name())
        .record(begun.elapsed().as_secs_f64());
    count(operation, answer.as_ref().err());

    answer
}

/// Counts one request that is timed with others.
pub(super) fn count(operation: Operation, error: Option<&Error>) {
    let outcome = error.map_or("ok", outcome);
    counter!(
        "retune_storage_requests_total",
        "operation" => operation.name(), "outcome" => outcome
    )
    .increment(1);
}

fn outcome(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "not_found",
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
            "conflict"
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => "denied",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_label_of_the_list() {
        let path = || "a".to_owned();
        let source = || "of no interest".into();
        for (error, expected) in [
            (
                Error::NotFound {
                    path: path(),
                    source: source(),
                },
                "not_found",
            ),
            (
                Error::AlreadyExists {
                    path: path(),
                    source: source(),
                },
                "conflict",
            ),
            (
                Error::PermissionDenied {
                    path: path(),
                    source: source(),
                },
                "denied",
            ),
            (
                Error::Generic {
                    store: "s3",
                    source: source(),
                },
                "failed",
            ),
        ] {
            assert_eq!(outcome(&error), expected);
            assert!(OUTCOMES.contains(&expected));
        }
    }
}
