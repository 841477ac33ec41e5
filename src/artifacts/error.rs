//! What can be wrong with a file.

use crate::contract::codes::FailureCode;
use crate::engine::{network::GraphError, training::DataFault};
use crate::storage::{Location, LocationError, StorageError};

/// Whether a file is what Git LFS leaves in place of a large one.
pub(super) fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs")
}

/// A fault of an artifact: which file, which tensor, what. [`ArtifactError::code`] is stable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("{location}: {}{detail}", tensor.as_ref().map(|t| format!("tensor {t:?}: ")).unwrap_or_default())]
    Fault {
        code: FailureCode,
        location: String,
        tensor: Option<String>,
        detail: String,
    },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ArtifactError {
    pub(super) fn fault(code: FailureCode, location: &Location, detail: impl Into<String>) -> Self {
        Self::Fault {
            code,
            location: location.to_string(),
            tensor: None,
            detail: detail.into(),
        }
    }

    pub(crate) fn tensor(
        code: FailureCode,
        location: &Location,
        tensor: &str,
        detail: impl Into<String>,
    ) -> Self {
        Self::Fault {
            code,
            location: location.to_string(),
            tensor: Some(tensor.into()),
            detail: detail.into(),
        }
    }

    /// A JSON file that cannot be parsed, or is no such file.
    pub(super) fn json(
        code: FailureCode,
        location: &Location,
        bytes: &[u8],
        error: &serde_json::Error,
    ) -> Self {
        if is_lfs_pointer(bytes) {
            let detail =
                "is a pointer of Git LFS, not the file itself: fetch it with `git lfs pull`";
            return Self::fault(FailureCode::GitLfsPointer, location, detail);
        }
        Self::fault(code, location, error.to_string())
    }

    /// Stable name of the fault, used in reports and HTTP errors.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Fault { code, .. } => *code,
            Self::Storage(error) => error.code(),
        }
    }

    /// Whether the user's input is at fault, so that another attempt gives the same.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Fault { .. } => true,
            Self::Storage(error) => error.is_input(),
        }
    }
}

impl From<LocationError> for ArtifactError {
    fn from(error: LocationError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<&GraphError> for FailureCode {
    fn from(error: &GraphError) -> Self {
        match error {
            GraphError::Malformed { .. } => Self::MalformedConfig,
            GraphError::UnknownOp { .. } => Self::UnknownOp,
            GraphError::UnknownArchitecture { .. } => Self::UnknownArchitecture,
            GraphError::Body => Self::NoHead,
            GraphError::MissingTensor { .. } => Self::MissingTensor,
            GraphError::UnexpectedTensor { .. } => Self::UnexpectedTensor,
            GraphError::WrongShape { .. } => Self::WrongShape,
            GraphError::Packed { .. } | GraphError::WrongDType { .. } => Self::WrongDtype,
            GraphError::Wiring { .. } => Self::MalformedGraph,
        }
    }
}

impl From<&DataFault> for FailureCode {
    fn from(fault: &DataFault) -> Self {
        match fault {
            DataFault::Empty | DataFault::NothingCounted => Self::EmptyDataset,
            DataFault::SampleShape { .. } => Self::WrongInputShape,
            DataFault::Label { .. } | DataFault::NotBinary { .. } | DataFault::Answer { .. } => {
                Self::LabelOutOfRange
            }
            DataFault::Value { .. } => Self::NotFinite,
            DataFault::TokenId { .. } | DataFault::TokenType { .. } => Self::TokenOutOfRange,
            DataFault::NoTokenTypes => Self::UnexpectedTensor,
            DataFault::NoEnd { .. } | DataFault::OtherEnds { .. } => Self::MissingToken,
            DataFault::LabelCount { .. }
            | DataFault::TargetLength { .. }
            | DataFault::Shorter { .. } => Self::WrongShape,
            DataFault::NoTargets => Self::LabelsMissing,
            DataFault::PredictedByPadding { .. } => Self::InvalidMask,
        }
    }
}
