//! The folder `<output>/<transfer id>/` that a transfer leaves behind.
//!
//! Order of events: [`ResultWriter::begin`] looks whether an earlier attempt has finished, or finishes
//! what one was elected with, and clears what others left; model, permutation, report and card are
//! written aside, where no other attempt writes; [`ResultWriter::finish`] has this attempt elected, gives
//! the files their names and writes the manifest, which makes the folder a result. Before that it is
//! none, and [`ResultWriter::discard`] removes what was written. A file of a result never changes again:
//! `election` and `storage::staging` say why no late request can change it.
//!
//! Every float that is written is finite, or nothing is.
//!
//! Model and permutation hold no time, host or path of this machine: the same input gives the same
//! bytes. The report's `timing` and `environment` vary, and with them the digests that card and
//! manifest list.

mod election;
mod files;
mod standing;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Access, InputFile,
    error::ArtifactError,
    signature::{self, Signer},
};
use crate::{
    contract::{
        codes::FailureCode,
        manifest::{self, Manifest},
        outcome::Verdict,
        report::Software,
    },
    storage::{Attempt, Location, ResultKey, Staged, Storage, StorageError},
};
use election::Elected;

pub use crate::contract::manifest::OutputFile;
pub use standing::{Finished, Standing, find};

/// Tensor bytes above which a model is written in shards, and the most a shard holds.
const SHARD_SIZE: u64 = 5_000_000_000;

/// What [`ResultWriter::begin`] found.
pub enum Begun<'a> {
    Fresh(ResultWriter<'a>),
    /// An earlier attempt wrote the whole result but did not live to say so.
    Standing(Standing),
}

/// A result being written.
pub struct ResultWriter<'a> {
    access: Access<'a>,
    /// For what is no input.
    storage: Storage,
    folder: Location,
    attempt: Attempt,
    staged: Vec<Staged>,
    outputs: Vec<OutputFile>,
    /// What was copied as it is.
    carried: Vec<InputFile>,
    shard_size: u64,
    signer: Option<&'a Signer>,
}

/// The parts of a manifest that this module does not know by itself.
#[derive(Clone, Copy, Debug)]
pub struct ManifestFacts<'a> {
    pub id: Uuid,
    /// The job specification.
    pub spec: &'a Value,
    pub verdict: Verdict,
    pub inputs: &'a [InputFile],
}

impl<'a> ResultWriter<'a> {
    /// Starts the result of transfer `id` under `output`, by a first write: what cannot be written to is
    /// found here.
    ///
    /// # Errors
    /// `not_a_folder`, `storage_denied`; what keeps the store from answering; `stopped`.
    pub fn begin(
        access: Access<'a>,
        output: &Location,
        id: Uuid,
    ) -> Result<Begun<'a>, ArtifactError> {
        let folder = output.child(&id.to_string())?;
        let storage = access.storage.unwatched();

        // A process that was stopped right here may wake up long after its lease, and end there.
        let go_on = || {
            if (access.go_on)() {
                Ok(())
            } else {
                Err(StorageError::Stopped)
            }
        };
        if let Some(standing) = standing::find(&storage, &folder)? {
            election::tidy(&storage, &folder, &standing.names());
            return Ok(Begun::Standing(standing));
        }

        go_on()?;
        if let Some(standing) = election::finish_earlier(&storage, &folder)? {
            return Ok(Begun::Standing(standing));
        }

        let others = storage.blocking().attempts(&folder)?;
        go_on()?;
        for other in others {
            storage.blocking().clear_attempt(&other)?;
        }

        let attempt = storage.blocking().begin_attempt(&folder)?;
        Ok(Begun::Fresh(Self {
            access,
            storage,
            folder,
            attempt,
            staged: Vec::new(),
            outputs: Vec::new(),
            carried: Vec::new(),
            shard_size: SHARD_SIZE,
            signer: None,
        }))
    }

    /// With shards of at most `bytes` of tensors.
    #[must_use]
    pub fn with_shard_size(mut self, bytes: u64) -> Self {
        self.shard_size = bytes;
        self
    }

    /// With a signature by `signer`, if there is one.
    #[must_use]
    pub fn signed_by(mut self, signer: Option<&'a Signer>) -> Self {
        self.signer = signer;
        self
    }

    /// The files written so far.
    pub fn outputs(&self) -> &[OutputFile] {
        &self.outputs
    }

    /// Signs the files, gives them their names and writes the manifest, last: from now on the folder is a result.
    ///
    /// # Errors
    /// `input_changed` where an input is no longer what was read; `stopped`; what keeps the store from
    /// answering.
    pub fn finish(mut self, facts: ManifestFacts<'_>) -> Result<Finished, ArtifactError> {
        self.outputs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut inputs = [facts.inputs, &self.carried].concat();
        inputs.sort();
        inputs.dedup();
        let mut manifest = Manifest {
            format: manifest::FORMAT.to_owned(),
            id: facts.id,
            software: Software::own(),
            verdict: facts.verdict,
            spec: facts.spec.clone(),
            inputs,
            outputs: self.outputs.clone(),
        };

        if let Some(signer) = self.signer {
            self.sign(&mut manifest, signer)?;
        }
        if let Err(error) = self.access.storage.check_unchanged() {
            self.discard()?;
            return Err(error.into());
        }
        if !(self.access.go_on)() {
            return Err(StorageError::Stopped.into());
        }

        if let Some(standing) = standing::find(&self.storage, &self.folder)? {
            election::tidy(&self.storage, &self.folder, &standing.names());
            return Ok(Finished::Other(standing));
        }

        let own = Elected {
            attempt: self.attempt.id,
            files: self.staged,
            manifest: json!(manifest),
        };
        election::hold(own, &self.storage, &self.folder)
    }

    /// Writes the signature aside and lists it.
    fn sign(&mut self, manifest: &mut Manifest, signer: &Signer) -> Result<(), ArtifactError> {
        let signature = signature::sign(manifest, signer).map_err(|error| {
            ArtifactError::fault(
                FailureCode::UnwritableManifest,
                &self.folder,
                error.to_string(),
            )
        })?;
        self.put(&ResultKey::Signature, signature.into())?;
        self.outputs.sort_by(|a, b| a.name.cmp(&b.name));
        manifest.outputs.clone_from(&self.outputs);
        Ok(())
    }

    /// Removes what has been written, after a failure or a cancellation. It is this attempt's alone.
    ///
    /// # Errors
    /// What keeps the store from deleting.
    pub fn discard(&self) -> Result<(), ArtifactError> {
        Ok(self.storage.blocking().abandon(&self.attempt)?)
    }
}
