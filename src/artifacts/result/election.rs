//! Which attempt's files become the result: decided once, by an object that only one can create.
//!
//! An attempt that has written everything aside creates `.attempts/elected-0.json`, which lists its
//! files and holds the manifest to come. Whoever finds it, that attempt, a later one or an earlier one
//! that woke up, does the same from then on: it puts those files in their places, creates the manifest
//! and removes what is left. So a request of any of them that arrives late changes nothing.
//!
//! An elected attempt whose files another has cleared away before they got their places (it took the
//! attempt for dead, and the request that elected it was on its way) can never finish, nor harm: what it
//! would put in its places is gone. The next election has the next number.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Finished, OutputFile, Standing, files::pretty};
use crate::{
    artifacts::error::ArtifactError,
    contract::{
        codes::FailureCode,
        manifest::{Listing, MAX_DOCUMENT_BYTES},
    },
    storage::{ATTEMPTS, Attempt, Location, ResultKey, Staged, Storage, StorageError},
};

/// More rounds than any job has attempts.
const MAX_ROUNDS: usize = 1000;

/// What an attempt is elected with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Elected {
    pub attempt: Uuid,
    pub files: Vec<Staged>,
    pub manifest: Value,
}

/// The elections that were held at a folder, in order.
pub(super) fn held(storage: &Storage, folder: &Location) -> Result<Vec<Elected>, ArtifactError> {
    let mut all = Vec::new();
    while all.len() < MAX_ROUNDS
        && let Some(elected) = read(storage, &place(folder, all.len())?)?
    {
        all.push(elected);
    }
    Ok(all)
}

/// The result of an attempt that was elected before, finished if it was not.
pub(super) fn finish_earlier(
    storage: &Storage,
    folder: &Location,
) -> Result<Option<Standing>, ArtifactError> {
    for elected in held(storage, folder)? {
        if let Some(standing) = elected.finish(storage, folder)? {
            return Ok(Some(standing));
        }
    }
    Ok(None)
}

/// Has this attempt elected, unless another is, and finishes whichever it is.
///
/// The caller has seen that no result stands, after everything was written aside. Should one be finished
/// and tidied between that look and the election, what was written aside has been cleared away too, and
/// the election leads to nothing.
pub(super) fn hold(
    own: Elected,
    storage: &Storage,
    folder: &Location,
) -> Result<Finished, ArtifactError> {
    let text = serde_json::to_vec(&own).map_err(|error| {
        ArtifactError::fault(FailureCode::UnwritableManifest, folder, error.to_string())
    })?;
    for round in 0..MAX_ROUNDS {
        let place = place(folder, round)?;
        let created = storage
            .blocking()
            .publish_bytes(&place, Bytes::from(text.clone()));
        match created {
            Ok(_) => {
                let standing = own.finish(storage, folder)?;
                return Ok(Finished::Own(standing.ok_or_else(|| {
                    StorageError::Unavailable {
                        location: folder.to_string(),
                        detail: "another attempt has cleared away what this one had written".into(),
                    }
                })?));
            }
            Err(StorageError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(other) = read(storage, &place)?
            && let Some(standing) = other.finish(storage, folder)?
        {
            return Ok(Finished::Other(standing));
        }
    }

    let location = folder.to_string();
    Err(StorageError::Unavailable {
        location,
        detail: "too many elections".into(),
    }
    .into())
}

impl Elected {
    /// Puts the files in their places and creates the manifest. `None` where a file is gone.
    fn finish(
        &self,
        storage: &Storage,
        folder: &Location,
    ) -> Result<Option<Standing>, ArtifactError> {
        let attempt = Attempt::named(folder, self.attempt);
        for file in &self.files {
            if !storage.blocking().put_in_place(&attempt, file)? {
                return Ok(None);
            }
        }

        let place = folder.at(&ResultKey::Manifest);
        let written = storage
            .blocking()
            .publish_bytes(&place, pretty(&self.manifest))?;
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        tidy(storage, folder, &names);
        let mut outputs: Vec<OutputFile> = self.files.iter().map(OutputFile::from).collect();
        outputs.sort_by(|a, b| a.name.cmp(&b.name));

        Ok(Some(Standing {
            uri: format!("{folder}/"),
            manifest_sha256: written.sha256,
            manifest: self.manifest.clone(),
            listing: Listing { outputs },
        }))
    }
}

/// Removes what attempts have left beside a result; should that fail, the result stands nevertheless.
pub(super) fn tidy(storage: &Storage, folder: &Location, names: &[&str]) {
    let manifest = ResultKey::Manifest.to_string();
    let keep: Vec<&str> = names.iter().copied().chain([manifest.as_str()]).collect();
    let tidied = held(storage, folder).and_then(|elected| {
        let finished: Vec<Uuid> = elected.iter().map(|elected| elected.attempt).collect();
        Ok(storage.blocking().tidy(folder, &keep, &finished)?)
    });
    if let Err(error) = tidied {
        tracing::warn!(%error, %folder, "could not remove what attempts have left beside a result");
    }
}

impl From<&Staged> for OutputFile {
    fn from(file: &Staged) -> Self {
        Self {
            name: file.name.clone(),
            size: file.size,
            sha256: file.sha256.clone(),
        }
    }
}

fn place(folder: &Location, round: usize) -> Result<Location, ArtifactError> {
    Ok(folder.join(&format!("{ATTEMPTS}/elected-{round}.json"))?)
}

fn read(storage: &Storage, place: &Location) -> Result<Option<Elected>, ArtifactError> {
    let bytes = match storage.blocking().read_small(place, MAX_DOCUMENT_BYTES) {
        Err(StorageError::NotFound { .. }) => return Ok(None),
        bytes => bytes?,
    };
    let elected = serde_json::from_slice(&bytes);

    elected.map(Some).map_err(|error| {
        ArtifactError::fault(
            FailureCode::UnreadableResult,
            place,
            format!("is none of ours: {error}"),
        )
    })
}
