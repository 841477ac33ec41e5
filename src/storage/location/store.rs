//! Which store a location is of.

use super::{HubRepository, LocationError, MAX_PART_BYTES};
use crate::contract::codes::FailureCode;

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::storage) enum Store {
    File,
    S3 {
        bucket: String,
    },
    Gs {
        bucket: String,
    },
    Az {
        container: String,
    },
    /// The key begins with the repository.
    Hub(HubRepository),
    /// Lives and dies with the process: for tests.
    Memory,
}

impl Store {
    /// Whether it is this store; a hub without a revision has all of them.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hub(own), Self::Hub(other)) => {
                own.is_dataset == other.is_dataset
                    && (other.revision.is_none() || own.revision == other.revision)
            }
            _ => self == other,
        }
    }
}

/// The store of a URI without a hub.
pub(super) fn read_store(
    text: &str,
    scheme: &str,
    authority: &str,
) -> Result<Store, LocationError> {
    match scheme {
        "file" | "memory" if !authority.is_empty() => Err(LocationError::malformed(
            text,
            format!("names a host; write {scheme}:///absolute/path with three slashes"),
        )),
        "file" => Ok(Store::File),
        "memory" => Ok(Store::Memory),
        "s3" => Ok(Store::S3 {
            bucket: check_bucket(text, authority)?,
        }),
        "gs" => Ok(Store::Gs {
            bucket: check_bucket(text, authority)?,
        }),
        "az" => Ok(Store::Az {
            container: check_bucket(text, authority)?,
        }),
        other => Err(LocationError {
            code: FailureCode::LocationScheme,
            location: text.into(),
            detail: format!("the scheme {other:?} is not known; use s3, gs, az, hf or file"),
        }),
    }
}

/// Letters, digits, `-`, `_`, `.`: no user, password or port hides in a bucket's name.
fn check_bucket(text: &str, name: &str) -> Result<String, LocationError> {
    if name.is_empty()
        || name.len() > MAX_PART_BYTES
        || name.starts_with('.')
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        return Err(LocationError::malformed(
            text,
            format!("{name:?} is no bucket name"),
        ));
    }
    Ok(name.to_owned())
}
