//! Reads what a finished transfer left in storage, or deletes it; never writes there.
//!
//! The manifest, written last, says what belongs to a result: a file that it does not name is not
//! served, whatever lies in the folder.

use bytes::Bytes;

use super::domain::transfers::Transfer;
use crate::contract::manifest::{Listing, MAX_DOCUMENT_BYTES, OutputFile};
use crate::storage::{Location, ResultKey, Storage, StorageError, sha256_of};

/// A file of a result.
pub type ResultFile = OutputFile;

/// Why a result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    #[error("the transfer is {0}: it has no result")]
    None(&'static str),
    #[error("the result has no file of this name")]
    NoSuchFile,
    #[error("the manifest of the result is damaged: {0}")]
    Damaged(serde_json::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Where the result lies, or waits to be evaluated.
fn place(transfer: &Transfer) -> Result<&str, ResultError> {
    let staged = transfer
        .evaluation
        .as_ref()
        .and_then(|known| known.staged_uri.as_deref());
    let place = transfer
        .result
        .as_ref()
        .map(|result| result.uri.as_str())
        .or(staged);
    place.ok_or(ResultError::None(transfer.status.name()))
}

fn folder(storage: &Storage, transfer: &Transfer) -> Result<Location, ResultError> {
    let location = storage.check_location(place(transfer)?);
    Ok(location.map_err(StorageError::from)?)
}

/// The bytes of `report.json`.
///
/// # Errors
/// No result, or storage that does not answer.
pub async fn report(storage: &Storage, transfer: &Transfer) -> Result<Bytes, ResultError> {
    let report = folder(storage, transfer)?.at(&ResultKey::Report);
    Ok(storage.read_small(&report, MAX_DOCUMENT_BYTES).await?)
}

/// The files of the result, with the manifest itself last.
///
/// # Errors
/// No result, a damaged manifest, or storage that does not answer.
pub async fn files(storage: &Storage, transfer: &Transfer) -> Result<Vec<ResultFile>, ResultError> {
    let key = ResultKey::Manifest;
    let manifest = folder(storage, transfer)?.at(&key);
    let bytes = storage.read_small(&manifest, MAX_DOCUMENT_BYTES).await?;
    let mut files = read(&bytes)?;
    files.push(ResultFile {
        name: key.to_string(),
        size: bytes.len() as u64,
        sha256: sha256_of(&bytes),
    });

    Ok(files)
}

fn read(manifest: &[u8]) -> Result<Vec<ResultFile>, ResultError> {
    let manifest: Listing = serde_json::from_slice(manifest).map_err(ResultError::Damaged)?;
    Ok(manifest.outputs)
}

/// One file of the result and where it lies.
///
/// # Errors
/// As [`files`]; [`ResultError::NoSuchFile`] for a name that the manifest does not list.
pub async fn file(
    storage: &Storage,
    transfer: &Transfer,
    name: &str,
) -> Result<(ResultFile, Location), ResultError> {
    let files = files(storage, transfer).await?;
    let file = files
        .into_iter()
        .find(|file| file.name == name)
        .ok_or(ResultError::NoSuchFile)?;
    // Refuses everything but one plain file name, should a manifest list something else.
    let place = folder(storage, transfer)?
        .join(name)
        .map_err(|_| ResultError::NoSuchFile)?;
    Ok((file, place))
}

/// Deletes a result, its manifest first: what is left at any moment is none. One that is gone is fine.
///
/// # Errors
/// Storage that does not answer, or a place outside the roots.
pub async fn delete(storage: &Storage, uri: &str) -> Result<(), ResultError> {
    let folder = storage.check_location(uri).map_err(StorageError::from)?;
    storage
        .delete_object(&folder.at(&ResultKey::Manifest))
        .await?;
    Ok(storage.delete_prefix(&folder).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_for_its_outputs_alone() {
        let manifest = br#"{"format": "retune-result/1", "inputs": [],
            "outputs": [{"name": "a.json", "size": 2, "sha256": "00", "more": 1}]}"#;
        let files = read(manifest).unwrap();
        assert_eq!((files[0].name.as_str(), files[0].size), ("a.json", 2));
        assert!(matches!(read(b"{}"), Err(ResultError::Damaged(_))));
    }
}
