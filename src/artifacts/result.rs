//! The folder `<output>/<transfer id>/` that a transfer leaves behind.
//!
//! Order of events: [`ResultWriter::begin`] clears what an attempt without a manifest left; model,
//! permutation, report and card are written; [`ResultWriter::finish`] writes the manifest, which
//! makes the folder a result. Before that it is none, and [`ResultWriter::discard`] removes it. A
//! folder with a whole manifest is never touched again.
//!
//! Model and permutation hold no time, host or path of this machine: the same input gives the same
//! bytes. The report's `timing` and `environment` vary, and with them the digests that card and
//! manifest list.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    engine::network::{Checkpoint, HostTensor},
    pipeline::Verdict,
    storage::{Location, Published, ResultKey, Sha256Hex, Storage, StorageError},
};

use super::{
    Access, InputFile,
    card::Card,
    error::ArtifactError,
    model::ModelFolder,
    tensors::{self, Pieces},
};

const FORMAT: &str = "retune-result/1";
const MANIFEST_LIMIT: u64 = 64 << 20;
/// Tensor bytes above which a model is written in shards, and the most a shard holds.
const SHARD_SIZE: u64 = 5_000_000_000;

/// A file of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    pub name: String,
    pub size: u64,
    pub sha256: Sha256Hex,
}

/// A result that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// `<output>/<transfer id>/`
    pub uri: String,
    pub manifest_sha256: Sha256Hex,
    pub manifest: Value,
}

impl Standing {
    /// Of all files but the manifest.
    pub fn bytes(&self) -> u64 {
        let outputs = self.manifest["outputs"].as_array().into_iter().flatten();
        outputs.filter_map(|file| file["size"].as_u64()).fold(0, u64::saturating_add)
    }
}

/// What [`ResultWriter::begin`] found.
pub enum Begun<'a> {
    Fresh(ResultWriter<'a>),
    /// An earlier attempt wrote the whole result but did not live to say so.
    Standing(Standing),
}

/// A result being written.
pub struct ResultWriter<'a> {
    access: Access<'a>,
    folder: Location,
    outputs: Vec<OutputFile>,
    /// What was copied as it is.
    carried: Vec<InputFile>,
    shard_size: u64,
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
    /// Starts the result of transfer `id` under `output`.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn begin(
        access: Access<'a>,
        output: &Location,
        id: Uuid,
    ) -> Result<Begun<'a>, ArtifactError> {
        let folder = output.child(&id.to_string())?;
        if let Some(standing) = standing(access.storage, &folder)? {
            return Ok(Begun::Standing(standing));
        }
        // A process that was stopped right here may wake up long after its lease: what lies there by
        // then is its successor's.
        if !(access.go_on)() {
            return Err(StorageError::Stopped.into());
        }
        access.storage.blocking().delete_prefix(&folder)?;
        let (outputs, carried) = (Vec::new(), Vec::new());
        Ok(Begun::Fresh(Self { access, folder, outputs, carried, shard_size: SHARD_SIZE }))
    }

    /// With shards of at most `bytes` of tensors.
    #[must_use]
    pub fn with_shard_size(mut self, bytes: u64) -> Self {
        self.shard_size = bytes;
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
        self.weights(checkpoint)?;
        self.put(&ResultKey::Config, target.config_bytes.clone())?;
        for file in &target.other_files {
            let key = &file.key;
            let (local, input) = self.access.fetch(&file.location)?;
            self.carried.push(input);
            let written = self.access.storage.blocking().publish_file(
                &self.folder.at(key),
                &local.path,
                self.access.go_on,
            )?;
            self.note(key, written);
        }
        Ok(())
    }

    fn weights(&mut self, checkpoint: &Checkpoint) -> Result<(), ArtifactError> {
        let shards = tensors::shards(checkpoint, self.shard_size);
        if let [_] = &shards[..] {
            return self.stream(&ResultKey::Model, tensors::to_pieces(checkpoint));
        }
        let mut weight_map = serde_json::Map::new();
        let mut total_size = 0;
        for (i, shard) in shards.iter().enumerate() {
            let key = ResultKey::ModelShard { number: i + 1, of: shards.len() };
            for (name, tensor) in shard.iter() {
                weight_map.insert(name.into(), json!(key.to_string()));
                total_size += tensor.len() * tensor.dtype().size();
            }
            self.stream(&key, tensors::to_pieces(shard))?;
        }
        let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
        self.put(&ResultKey::ModelIndex, pretty(&index))
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
        let vector = |(name, p): (&str, &[usize])| {
            let values: Vec<i64> = p.iter().map(|&j| j as i64).collect();
            (name.to_owned(), HostTensor::from_i64(vec![p.len()], &values))
        };
        let vectors: Checkpoint = groups.into_iter().map(vector).collect();
        self.stream(&ResultKey::Permutation, tensors::to_pieces(&vectors))
    }

    /// Writes the update alone, as a PEFT adapter on the new base.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn adapter(&mut self, config: &Value, tensors: &Checkpoint) -> Result<(), ArtifactError> {
        self.put(&ResultKey::AdapterConfig, pretty(config))?;
        self.stream(&ResultKey::AdapterModel, tensors::to_pieces(tensors))
    }

    /// Writes `report.json`.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn report(&mut self, report: &Value) -> Result<(), ArtifactError> {
        self.put(&ResultKey::Report, pretty(report))
    }

    /// Writes the model card, which lists the digests of what has been written before it.
    ///
    /// # Errors
    /// What keeps the store from answering; `stopped`.
    pub fn card(&mut self, card: &Card) -> Result<(), ArtifactError> {
        let text = card.render(&self.outputs);
        self.put(&ResultKey::ModelCard, text.into())
    }

    /// Writes the manifest, last: from now on the folder is a result.
    ///
    /// # Errors
    /// `already_exists` where another attempt has finished meanwhile.
    pub fn finish(mut self, facts: ManifestFacts<'_>) -> Result<Standing, ArtifactError> {
        self.outputs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut inputs = [facts.inputs, &self.carried].concat();
        inputs.sort();
        inputs.dedup();
        let manifest = json!({
            "format": FORMAT,
            "id": facts.id,
            "software": {"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")},
            "verdict": facts.verdict,
            "spec": facts.spec,
            "inputs": inputs,
            "outputs": self.outputs,
        });
        let place = self.folder.at(&ResultKey::Manifest);
        let written = self.access.storage.blocking().publish_bytes(&place, pretty(&manifest))?;
        let uri = format!("{}/", self.folder);
        Ok(Standing { uri, manifest_sha256: written.sha256, manifest })
    }

    /// Removes what has been written, after a failure or a cancellation. Not to be called by an
    /// attempt that has lost its lease: the folder is then another's.
    ///
    /// # Errors
    /// What keeps the store from deleting.
    pub fn discard(self) -> Result<(), ArtifactError> {
        let storage = self.access.storage.blocking();
        if !storage.exists(&self.folder.at(&ResultKey::Manifest))? {
            storage.delete_prefix(&self.folder)?;
        }
        Ok(())
    }

    fn put(&mut self, key: &ResultKey, bytes: Bytes) -> Result<(), ArtifactError> {
        let size = bytes.len() as u64;
        self.stream(key, Pieces { size, pieces: Box::new(std::iter::once(bytes)) })
    }

    /// Writes a file while it is being computed.
    fn stream(&mut self, key: &ResultKey, file: Pieces<'_>) -> Result<(), ArtifactError> {
        let Pieces { size, mut pieces } = file;
        let (storage, place) = (self.access.storage.blocking(), self.folder.at(key));
        let written = storage.publish_pieces(&place, (size, &mut pieces), self.access.go_on)?;
        self.note(key, written);
        Ok(())
    }

    fn note(&mut self, key: &ResultKey, written: Published) {
        let Published { size, sha256 } = written;
        self.outputs.push(OutputFile { name: key.to_string(), size, sha256 });
    }
}

/// The result in a folder, if its manifest is there and tells the truth about the other files. An
/// attempt that was overtaken may have left a manifest to files that are no longer its own.
fn standing(storage: &Storage, folder: &Location) -> Result<Option<Standing>, ArtifactError> {
    #[derive(Deserialize)]
    struct Outputs {
        outputs: Vec<OutputFile>,
    }
    let storage = storage.blocking();
    let place = folder.at(&ResultKey::Manifest);
    if !storage.exists(&place)? {
        return Ok(None);
    }
    let bytes = storage.read_small(&place, MANIFEST_LIMIT)?;
    let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else { return Ok(None) };
    let Ok(Outputs { outputs }) = Outputs::deserialize(&manifest) else { return Ok(None) };
    for OutputFile { name, size, sha256 } in outputs {
        let file = folder.join(&name)?;
        if !storage.exists(&file)? || storage.digest(&file)? != (Published { size, sha256 }) {
            return Ok(None);
        }
    }
    let manifest_sha256 = crate::storage::sha256_of(&bytes);
    Ok(Some(Standing { uri: format!("{folder}/"), manifest_sha256, manifest }))
}

fn pretty(value: &Value) -> Bytes {
    format!("{value:#}\n").into()
}
