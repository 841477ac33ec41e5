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

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    contract::{
        codes::FailureCode,
        manifest::{self, Manifest},
        outcome::Verdict,
        report::Software,
    },
    engine::tensors::{Checkpoint, HostTensor},
    storage::{
        Attempt, Content, Location, NewFile, ResultKey, Staged, Storage, StorageError, WeightFiles,
    },
};

use super::{
    Access, InputFile,
    card::Card,
    error::ArtifactError,
    model::ModelFolder,
    predictions::Predictions,
    signature::{self, Signer},
    tensors::{self, NotFinite},
};
use election::Elected;

mod election;
mod standing;

pub use crate::contract::manifest::OutputFile;
pub use standing::{Finished, Standing, find};

const MANIFEST_LIMIT: u64 = 64 << 20;
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

    /// Writes the transferred parameters with the target base's configuration and other files.
    ///
    /// # Errors
    /// What keeps the stores from answering; `stopped`.
    pub fn model(
        &mut self,
        checkpoint: &Checkpoint,
        target: &ModelFolder,
    ) -> Result<(), ArtifactError> {
        self.weights(checkpoint, target.weight_files())?;
        self.put(&ResultKey::Config, target.config_bytes.clone())?;
        for file in &target.other_files {
            let key = &file.key;
            let (local, input) = self.access.fetch(&file.location)?;
            self.carried.push(input);
            let name = key.to_string();
            let copy = NewFile {
                attempt: &self.attempt,
                name: &name,
            };
            let written =
                self.storage
                    .blocking()
                    .stage_file(copy, &local.path, self.access.go_on)?;
            self.note(written);
        }

        Ok(())
    }

    /// Copies a file of another result as it is.
    ///
    /// # Errors
    /// What keeps the stores from answering; `stopped`.
    pub fn copy(&mut self, folder: &Location, file: &OutputFile) -> Result<(), ArtifactError> {
        let place = folder.join(&file.name)?;
        let (local, found) = self.access.fetch(&place)?;
        if found.sha256 != file.sha256 {
            return Err(StorageError::Changed {
                location: place.to_string(),
            }
            .into());
        }

        let copy = NewFile {
            attempt: &self.attempt,
            name: &file.name,
        };
        let written = self
            .storage
            .blocking()
            .stage_file(copy, &local.path, self.access.go_on)?;
        self.note(written);
        Ok(())
    }

    fn weights(
        &mut self,
        checkpoint: &Checkpoint,
        files: WeightFiles,
    ) -> Result<(), ArtifactError> {
        let shards = tensors::shards(checkpoint, self.shard_size);
        if let [_] = &shards[..] {
            return self.tensors(&ResultKey::Model(files), checkpoint);
        }

        let mut weight_map = serde_json::Map::new();
        let mut total_size = 0;
        for (i, shard) in shards.iter().enumerate() {
            let key = ResultKey::ModelShard {
                files,
                number: i + 1,
                of: shards.len(),
            };
            for (name, tensor) in shard.iter() {
                weight_map.insert(name.into(), json!(key.to_string()));
                total_size += tensor.len() * tensor.dtype().size();
            }
            self.tensors(&key, shard)?;
        }

        let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
        self.put(&ResultKey::ModelIndex(files), pretty(&index))
    }

    /// Writes one i64 vector per group: `p[i] = j` means that the target's channel `i` receives
    /// the source's channel `j`.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn permutation<'g>(
        &mut self,
        groups: impl IntoIterator<Item = (&'g str, &'g [usize])>,
    ) -> Result<(), ArtifactError> {
        let vectors = groups.into_iter().map(|(name, p)| {
            let values: Vec<i64> = p.iter().map(|&j| j as i64).collect();
            (
                name.to_owned(),
                HostTensor::from_i64(vec![p.len()], &values),
            )
        });
        self.tensors(&ResultKey::Permutation, &vectors.collect())
    }

    /// Writes the update alone, as a PEFT adapter on the new base.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn adapter(&mut self, config: &Value, tensors: &Checkpoint) -> Result<(), ArtifactError> {
        self.put(&ResultKey::AdapterConfig, pretty(config))?;
        self.tensors(&ResultKey::AdapterModel, tensors)
    }

    /// Writes `report.json`.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn report(&mut self, report: &Value) -> Result<(), ArtifactError> {
        self.put(&ResultKey::Report, pretty(report))
    }

    /// Writes `predictions.parquet`.
    ///
    /// # Errors
    /// As [`ResultWriter::report`].
    pub fn predictions(&mut self, predictions: &Predictions) -> Result<(), ArtifactError> {
        let bytes = predictions.to_parquet().map_err(|error| {
            let detail = format!("cannot be written as a table: {error}");
            ArtifactError::fault(FailureCode::UnwritablePredictions, &self.folder, detail)
        })?;
        self.put(&ResultKey::Predictions, bytes)
    }

    /// Writes the model card, which lists the digests of what has been written before it.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn card(&mut self, card: &Card) -> Result<(), ArtifactError> {
        let text = card.render(&self.outputs);
        self.put(&ResultKey::ModelCard, text.into())
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

    fn put(&mut self, key: &ResultKey, bytes: Bytes) -> Result<(), ArtifactError> {
        let name = key.to_string();
        let file = NewFile {
            attempt: &self.attempt,
            name: &name,
        };
        let (size, mut piece) = (bytes.len() as u64, std::iter::once(Ok(bytes)));
        let content = Content {
            size,
            pieces: &mut piece,
        };
        let written = self
            .storage
            .blocking()
            .stage(file, content, self.access.go_on)?;
        self.note(written);
        Ok(())
    }

    /// Writes tensors while they are being computed, as long as they are finite.
    fn tensors(&mut self, key: &ResultKey, checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
        let file = tensors::to_finite_pieces(checkpoint);
        let mut overflow = None;
        let mut pieces = file.pieces.map(|piece| {
            piece.map_err(|fault| {
                let error = std::io::Error::other(fault.to_string());
                overflow = Some(fault);
                error
            })
        });

        let name = key.to_string();
        let place = NewFile {
            attempt: &self.attempt,
            name: &name,
        };
        let content = Content {
            size: file.size,
            pieces: &mut pieces,
        };
        let written = self
            .storage
            .blocking()
            .stage(place, content, self.access.go_on);
        drop(pieces);

        if let Some(NotFinite { tensor, element }) = overflow {
            let detail = format!(
                "element {element} of what was computed is NaN or infinite: the values of the models \
                 (or lora_alpha) are too large for {}",
                checkpoint[&tensor].dtype().name()
            );
            return Err(ArtifactError::tensor(
                FailureCode::Overflow,
                &self.folder.at(key),
                &tensor,
                detail,
            ));
        }
        self.note(written?);
        Ok(())
    }

    fn note(&mut self, written: Staged) {
        self.outputs.push(OutputFile::from(&written));
        self.staged.push(written);
    }
}

fn pretty(value: &Value) -> Bytes {
    format!("{value:#}\n").into()
}
