//! What lies in object storage, as values: models, trajectories, datasets, results.
//!
//! Everything read here comes from strangers. A header is believed only after every number in it
//! has been checked against the file; no pickle is executed, and none opened but by `retune convert`;
//! names inside files never become paths that leave their folder. Parameters and samples stay where they are:
//! they are read a range at a time, by position, and a result is written from the pieces it consists of.
//!
//! This module knows files, not networks: what a `config.json` means is `engine::network`'s.

// What can be wrong with a file.
pub mod error;

// The header of a safetensors file, checked.
pub mod header;

// A safetensors file as a checkpoint, and back.
pub mod tensors;

// A folder with `config.json` and weights.
pub mod model;

// A LoRA adapter on its base.
pub mod lora;

// The checkpoints of a fine-tuning, in order.
pub mod trajectory;

// Labelled samples, in safetensors or Parquet.
pub mod dataset;

// The folder that a transfer leaves behind.
pub mod result;

// `model.sig`, by which a result is known to be somebody's and whole.
pub mod signature;

// What torch.save has written, for `retune convert` alone.
pub mod pytorch;

// What a folder calls its classes and tokens.
pub mod names;

mod card;

mod predictions;

// Model folders for tests and benches alone.
pub mod testing;

use std::path::Path;

pub use card::{Card, licence_in, licence_of};
pub use error::ArtifactError;
pub use lora::Adapter;
pub use model::{Model, ModelFolder};
pub use predictions::{Column, Figures, Predictions};
pub use result::{Begun, ResultWriter};
pub use trajectory::Trajectory;

pub use crate::contract::manifest::InputFile;
use crate::storage::{FetchedFile, Location, Storage};

/// What reading and writing need: the stores, a folder for copies of remote objects, and whom to
/// ask whether to go on.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    pub storage: &'a Storage,
    pub scratch: &'a Path,
    pub go_on: &'a dyn Fn() -> bool,
}

impl Access<'_> {
    /// A file as a manifest lists it.
    ///
    /// # Errors
    /// As `Storage::digest`.
    pub fn digest(&self, location: &Location) -> Result<InputFile, ArtifactError> {
        let found = self.storage.blocking().digest(location)?;
        Ok(InputFile {
            uri: location.to_string(),
            size: found.size,
            sha256: found.sha256,
        })
    }

    fn fetch(&self, location: &Location) -> Result<(FetchedFile, InputFile), ArtifactError> {
        let file = self
            .storage
            .blocking()
            .fetch(location, self.scratch, self.go_on)?;
        let input = InputFile {
            uri: location.to_string(),
            size: file.size,
            sha256: file.sha256.clone(),
        };
        Ok((file, input))
    }
}
