//! What can go wrong between this process and an object.

use crate::contract::codes::FailureCode;
use std::io::ErrorKind;

use nix::errno::Errno;

use super::LocationError;

/// A fault of an access. [`StorageError::code`] is stable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("{location} does not exist")]
    NotFound { location: String },
    #[error("{location} exists already, with other content; choose another output")]
    AlreadyExists { location: String },
    #[error("{location}: access denied; check the credentials and permissions ({detail})")]
    Denied { location: String, detail: String },
    #[error("{location} has {size} bytes, more than the {limit} allowed here")]
    TooLarge {
        location: String,
        size: u64,
        limit: u64,
    },
    #[error("{location}: the store sent {received} of {size} bytes, repeatedly")]
    Truncated {
        location: String,
        received: u64,
        size: u64,
    },
    #[error("{location} changed while it was read; keep inputs unchanged during a transfer")]
    Changed { location: String },
    #[error("{location} is {kind}, no regular file")]
    NotAFile {
        location: String,
        kind: &'static str,
    },
    #[error("{location} {detail}; name a folder, or a new one")]
    NotAFolder { location: String, detail: String },
    #[error("stopped")]
    Stopped,
    #[error("{location}: {detail}")]
    Unavailable { location: String, detail: String },
}

impl StorageError {
    /// Stable name of the fault, used in reports and HTTP errors.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Location(error) => error.code,
            Self::NotFound { .. } => FailureCode::NotFound,
            Self::AlreadyExists { .. } => FailureCode::AlreadyExists,
            Self::Denied { .. } => FailureCode::StorageDenied,
            Self::TooLarge { .. } => FailureCode::TooLarge,
            Self::Truncated { .. } => FailureCode::StorageTruncated,
            Self::Changed { .. } => FailureCode::InputChanged,
            Self::NotAFile { .. } => FailureCode::NotAFile,
            Self::NotAFolder { .. } => FailureCode::NotAFolder,
            Self::Stopped => FailureCode::Stopped,
            Self::Unavailable { .. } => FailureCode::StorageUnavailable,
        }
    }

    /// Whether the user's input is at fault, so that another attempt gives the same.
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Self::Truncated { .. } | Self::Stopped | Self::Unavailable { .. }
        )
    }

    pub(super) fn unavailable(location: &impl ToString, detail: &impl ToString) -> Self {
        Self::Unavailable {
            location: location.to_string(),
            detail: detail.to_string(),
        }
    }

    pub(super) fn from_store(location: &impl ToString, error: &object_store::Error) -> Self {
        use object_store::Error;
        let (location, detail) = (location.to_string(), error.to_string());
        match error {
            Error::NotFound { .. } => Self::NotFound { location },
            Error::AlreadyExists { .. } => Self::AlreadyExists { location },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                Self::Denied { location, detail }
            }
            Error::Precondition { .. } => Self::Changed { location },
            _ => Self::Unavailable { location, detail },
        }
    }

    pub(super) fn from_io(location: &impl ToString, error: &std::io::Error) -> Self {
        let (location, detail) = (location.to_string(), error.to_string());
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NotFound { location },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { location, detail }
            }
            ErrorKind::IsADirectory => Self::NotAFile {
                location,
                kind: "a folder",
            },
            _ if error.raw_os_error() == Some(Errno::ELOOP as i32) => Self::NotAFile {
                location,
                kind: "a symlink that leads to itself",
            },
            _ => Self::Unavailable { location, detail },
        }
    }

    /// As [`StorageError::from_io`], for `map_err`.
    pub(super) fn io_at<L: ToString>(location: &L) -> impl Fn(std::io::Error) -> Self + use<'_, L> {
        move |error| Self::from_io(location, &error)
    }

    /// As [`StorageError::from_store`], for `map_err`.
    pub(super) fn store_at<L: ToString>(
        location: &L,
    ) -> impl Fn(object_store::Error) -> Self + use<'_, L> {
        move |error| Self::from_store(location, &error)
    }

    /// A folder that could not be made.
    pub(super) fn from_folder(location: &impl ToString, error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder {
                location: location.to_string(),
                detail: "cannot be a folder: a part of the path is a file".into(),
            },
            _ => Self::from_io(location, error),
        }
    }
}
