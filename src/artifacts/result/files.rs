//! The files of a result, each staged where no other attempt writes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{OutputFile, ResultWriter};
use crate::{
    artifacts::{
        card::Card,
        error::ArtifactError,
        model::ModelFolder,
        predictions::Predictions,
        tensors::{self, NotFinite},
    },
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor},
    storage::{Content, Location, NewFile, ResultKey, Staged, StorageError, WeightFiles},
};

impl ResultWriter<'_> {
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

    pub(super) fn put(&mut self, key: &ResultKey, bytes: Bytes) -> Result<(), ArtifactError> {
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

pub(super) fn pretty(value: &Value) -> Bytes {
    format!("{value:#}\n").into()
}
