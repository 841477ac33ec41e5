//! Checks a folder against its signature.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::{Bundle, PublicKey, Statement};
use crate::{
    contract::manifest::{MAX_DOCUMENT_BYTES, files},
    storage::{Blocking, Location, StorageError},
};

/// Why nothing can be said of a folder.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{0} has no signature: there is no {name}", name = files::SIGNATURE)]
    Unsigned(String),
    #[error("{location} {detail}")]
    Signature { location: String, detail: String },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a good signature says of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Of the model, as it was signed: a result's is the transfer's id.
    pub name: String,
    /// How many files were signed.
    pub files: usize,
    /// In order of name; none: the folder is what was signed.
    pub faults: Vec<FileFault>,
}

/// A file that is not as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileFault {
    pub file: String,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    Changed,
    Missing,
    Added,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "is not what was signed",
            Self::Missing => "was signed and is missing",
            Self::Added => "was not signed",
        })
    }
}

/// Checks every file of `folder` against its `model.sig`, and that against `key`.
///
/// # Errors
/// [`VerifyError`]: no signature, one that is none or another key's, a store that does not answer.
pub fn verify(
    storage: Blocking<'_>,
    folder: &Location,
    key: &PublicKey,
) -> Result<Verification, VerifyError> {
    let place = folder.join(files::SIGNATURE).map_err(StorageError::from)?;
    if !storage.exists(&place)? {
        return Err(VerifyError::Unsigned(folder.to_string()));
    }

    let bytes = storage.read_small(&place, MAX_DOCUMENT_BYTES)?;
    let statement = Bundle::open(&bytes, key)
        .and_then(|statement| Statement::read(&statement))
        .map_err(|detail| VerifyError::Signature {
            location: place.to_string(),
            detail,
        })?;

    let found = names(storage, folder)?;
    let signed: BTreeMap<&str, &str> = statement.files().collect();
    let mut faults = Vec::new();
    for (name, digest) in &signed {
        match found.get(*name) {
            None => faults.push(FileFault::new(name, FaultKind::Missing)),
            Some(file) if storage.digest(file)?.sha256 != *digest => {
                faults.push(FileFault::new(name, FaultKind::Changed));
            }
            Some(_) => {}
        }
    }

    let added = found
        .keys()
        .filter(|name| !signed.contains_key(name.as_str()));
    let added = added.filter(|name| !statement.ignores(name));
    faults.extend(added.map(|name| FileFault::new(name, FaultKind::Added)));
    if let Some(expected) = statement.manifest() {
        faults.extend(manifest_fault(
            storage,
            found.get(files::MANIFEST),
            expected,
        )?);
    }

    faults.sort();
    Ok(Verification {
        name: statement.name().to_owned(),
        files: signed.len(),
        faults,
    })
}

impl FileFault {
    fn new(file: &str, kind: FaultKind) -> Self {
        Self {
            file: file.to_owned(),
            kind,
        }
    }
}

/// All files below a folder, by their names in it.
fn names(
    storage: Blocking<'_>,
    folder: &Location,
) -> Result<BTreeMap<String, Location>, StorageError> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(String::new(), folder.clone())];
    while let Some((prefix, folder)) = waiting.pop() {
        let listing = storage.list(&folder)?;
        for file in listing.files {
            found.insert(format!("{prefix}{}", file.location.name()), file.location);
        }
        for inner in listing.folders {
            waiting.push((format!("{prefix}{}/", inner.name()), inner));
        }
    }
    Ok(found)
}

/// Compares the manifest with the signed one, which does not list the signature.
fn manifest_fault(
    storage: Blocking<'_>,
    place: Option<&Location>,
    expected: &Value,
) -> Result<Option<FileFault>, StorageError> {
    let Some(place) = place else {
        return Ok(Some(FileFault::new(files::MANIFEST, FaultKind::Missing)));
    };
    let bytes = storage.read_small(place, MAX_DOCUMENT_BYTES)?;
    let mut manifest: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if let Some(outputs) = manifest["outputs"].as_array_mut() {
        outputs.retain(|file| file["name"] != files::SIGNATURE);
    }

    let changed = manifest != *expected;
    Ok(changed.then(|| FileFault::new(files::MANIFEST, FaultKind::Changed)))
}
