//! A result that stands: a folder whose manifest is there and tells the truth.

use serde::Deserialize;
use serde_json::Value;

use super::OutputFile;
use crate::{
    artifacts::error::ArtifactError,
    contract::manifest::{Listing, MAX_DOCUMENT_BYTES},
    storage::{Location, Published, ResultKey, Sha256Hex, Storage, sha256_of},
};

/// A result that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// `<output>/<transfer id>/`
    pub uri: String,
    pub manifest_sha256: Sha256Hex,
    /// As it stands: what an earlier version has written is not written anew.
    pub manifest: Value,
    /// Its files.
    pub listing: Listing,
}

impl Standing {
    /// Of all files but the manifest.
    pub fn bytes(&self) -> u64 {
        self.listing.bytes()
    }

    /// Of all files but the manifest.
    pub(super) fn names(&self) -> Vec<&str> {
        self.listing
            .outputs
            .iter()
            .map(|file| file.name.as_str())
            .collect()
    }
}

/// Whose result stands in the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Finished {
    Own(Standing),
    /// Another attempt's, which was first.
    Other(Standing),
}

impl Finished {
    pub fn standing(self) -> Standing {
        match self {
            Self::Own(standing) | Self::Other(standing) => standing,
        }
    }
}

/// The result in a folder, if its manifest is there and tells the truth about the other files.
///
/// # Errors
/// What keeps the store from answering.
pub fn find(storage: &Storage, folder: &Location) -> Result<Option<Standing>, ArtifactError> {
    let storage = storage.blocking();
    let place = folder.at(&ResultKey::Manifest);
    if !storage.exists(&place)? {
        return Ok(None);
    }

    let bytes = storage.read_small(&place, MAX_DOCUMENT_BYTES)?;
    let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(None);
    };
    let Ok(listing) = Listing::deserialize(&manifest) else {
        return Ok(None);
    };

    for OutputFile { name, size, sha256 } in listing.outputs.iter().cloned() {
        let file = folder.join(&name)?;
        if !storage.exists(&file)? || storage.digest(&file)? != (Published { size, sha256 }) {
            return Ok(None);
        }
    }

    let manifest_sha256 = sha256_of(&bytes);
    Ok(Some(Standing {
        uri: format!("{folder}/"),
        manifest_sha256,
        manifest,
        listing,
    }))
}
