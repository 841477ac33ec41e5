//! A model as a folder: `config.json`, weights in one safetensors file or in shards, and files
//! that mean nothing here (tokenizers, templates, licences).
//!
//! [`ModelFolder::look`] reads names, configuration and index; [`ModelFolder::signature`] reads
//! headers; [`ModelFolder::open`] brings the files here, where they are read as needed. What the configuration
//! means as a network is for `engine::network` to say.

mod beside;
mod weights;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    contract::{
        codes::FailureCode,
        manifest::files::{
            ADAPTER_CONFIG as ADAPTER, ADAPTER_STEM, ADAPTER_WEIGHTS, CONFIG, PICKLED_STEM,
        },
    },
    engine::tensors::{Checkpoint, Signature},
    storage::{Blocking, Listing, Location, ObjectInfo, ResultKey, WeightFiles},
};

use beside::Beside;
pub(super) use beside::files_beside;
use weights::{Weights, check_promise};

use super::{Access, InputFile, error::ArtifactError, tensors};

const MODULES: &str = "modules.json";
/// Suffixes of files that are, or may be, pickles.
const PICKLES: [&str; 6] = [".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"];

const CONFIG_LIMIT: u64 = 16 << 20;

/// A model folder that has been looked at: nothing large has been read.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    pub location: Location,
    /// `config.json`, parsed.
    pub config: Value,
    /// `config.json`, byte for byte.
    pub config_bytes: Bytes,
    /// The files copied unread into a result.
    pub other_files: Vec<OtherFile>,
    /// Files and folders (with a slash) that hold this model's weights in other forms, or may: a result
    /// with them would be two models.
    pub left_out: Vec<String>,
    weights: Weights,
}

/// A model whose parameters are read as needed.
#[derive(Clone, Debug)]
pub struct Model {
    pub folder: ModelFolder,
    pub checkpoint: Checkpoint,
    /// Configuration and weights, as read.
    pub inputs: Vec<InputFile>,
}

/// A file that is copied as it is.
#[derive(Clone, Debug)]
pub struct OtherFile {
    /// What it is called in a result.
    pub key: ResultKey,
    pub location: Location,
}

impl ModelFolder {
    /// Reads a folder's names, its configuration and its index.
    ///
    /// # Errors
    /// `not_found`, `pickle_refused`, `missing_config`, `malformed_config`, `malformed_index`.
    pub fn look(storage: Blocking<'_>, location: &Location) -> Result<Self, ArtifactError> {
        let listing = storage.list(location)?;
        let weights = weights::find(storage, location, &listing)?;
        let (config, config_bytes) = read_config(storage, location, &listing)?;
        let mut beside = Beside::default();
        beside.add(None, &listing.files);
        for folder in modules(&listing) {
            beside.add(Some(folder.name()), &storage.list(folder)?.files);
        }

        let known: BTreeSet<&str> = modules(&listing).map(Location::name).collect();
        let other = listing
            .folders
            .iter()
            .map(Location::name)
            .filter(|name| !known.contains(name));
        beside.left_out.extend(other.map(|name| format!("{name}/")));
        let read: BTreeSet<&str> = match &weights {
            Weights::Single(file) => BTreeSet::from([file.name()]),
            Weights::Sharded { shards, index } => shards
                .keys()
                .map(String::as_str)
                .chain([index.name()])
                .collect(),
        };

        beside.left_out.retain(|name| !read.contains(name.as_str()));
        let Beside {
            other_files,
            left_out,
        } = beside;

        Ok(Self {
            location: location.clone(),
            config,
            config_bytes,
            other_files,
            left_out,
            weights,
        })
    }

    /// Puts another configuration in the place of the folder's own.
    pub fn set_config(&mut self, config: Value) {
        self.config_bytes = format!("{config:#}\n").into();
        self.config = config;
    }

    /// Names, shapes and dtypes, from the headers alone.
    ///
    /// # Errors
    /// As `tensors::read_header`; an index that disagrees with its shards is `malformed_index`.
    pub fn signature(&self, storage: Blocking<'_>) -> Result<Signature, ArtifactError> {
        let mut signature = Signature::new();
        for (location, promised) in self.tensor_files() {
            let header = tensors::read_header(storage, &location)?;
            check_promise(&location, promised, header.tensors.keys())?;
            signature.extend(header.signature());
        }
        Ok(signature)
    }

    /// Brings the weights to this machine. Values are not looked at: see
    /// `tensors::check_finite`.
    ///
    /// # Errors
    /// As [`ModelFolder::signature`], and what keeps the store from answering.
    pub fn open(self, access: &Access<'_>) -> Result<Model, ArtifactError> {
        let mut inputs = vec![access.fetch(&self.location.joined_file(CONFIG))?.1];
        if let Weights::Sharded { index, .. } = &self.weights {
            inputs.push(access.fetch(index)?.1);
        }

        let mut checkpoint = Checkpoint::new();
        for (location, promised) in self.tensor_files() {
            let (file, input) = access.fetch(&location)?;
            let shard = tensors::open(&file.path, &location)?;
            check_promise(&location, promised, shard.iter().map(|(name, _)| name))?;
            for (name, tensor) in shard.iter() {
                checkpoint.insert(name, tensor.clone());
            }
            inputs.push(input);
        }

        Ok(Model {
            folder: self,
            checkpoint,
            inputs,
        })
    }

    /// What its library calls the files of its weights.
    pub fn weight_files(&self) -> WeightFiles {
        let (Weights::Single(file) | Weights::Sharded { index: file, .. }) = &self.weights;
        let name = file.name();
        let mut known = WeightFiles::ALL.into_iter();
        known
            .find(|files| [files.single(), files.index()].contains(&name))
            .unwrap_or_default()
    }

    fn tensor_files(&self) -> Vec<(Location, Option<&BTreeSet<String>>)> {
        match &self.weights {
            Weights::Single(location) => vec![(location.clone(), None)],
            Weights::Sharded { shards, .. } => shards
                .iter()
                .map(|(name, promised)| (self.location.joined_file(name), Some(promised)))
                .collect(),
        }
    }
}

/// `config.json`, parsed and byte for byte.
fn read_config(
    storage: Blocking<'_>,
    location: &Location,
    listing: &Listing,
) -> Result<(Value, Bytes), ArtifactError> {
    let Some(config) = file_named(listing, CONFIG) else {
        let detail = "has weights but no config.json; add one that names the architecture";
        return Err(ArtifactError::fault(
            FailureCode::MissingConfig,
            location,
            detail,
        ));
    };

    let config_bytes = storage.read_small(&config.location, CONFIG_LIMIT)?;
    let config_value: Value = serde_json::from_slice(&config_bytes).map_err(|error| {
        ArtifactError::json(
            FailureCode::MalformedConfig,
            &config.location,
            &config_bytes,
            &error,
        )
    })?;
    if !config_value.is_object() {
        let detail = "must be a JSON object";
        return Err(ArtifactError::fault(
            FailureCode::MalformedConfig,
            &config.location,
            detail,
        ));
    }
    Ok((config_value, config_bytes))
}

impl Location {
    /// A file whose name is a constant or has been checked.
    fn joined_file(&self, name: &str) -> Self {
        self.child(name).expect("a plain file name")
    }
}

/// The folders of a sentence transformer's further modules, which its `modules.json` names:
/// `1_Pooling/` and the like.
fn modules(listing: &Listing) -> impl Iterator<Item = &Location> {
    let are_named = file_named(listing, MODULES).is_some();
    listing
        .folders
        .iter()
        .filter(move |folder| are_named && is_numbered(folder.name()))
}

fn is_numbered(name: &str) -> bool {
    let number = name.split_once('_').map(|(number, _)| number);
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn file_named<'a>(listing: &'a Listing, name: &str) -> Option<&'a ObjectInfo> {
    listing
        .files
        .iter()
        .find(|file| file.location.name() == name)
}

/// Whether the folder holds a PEFT adapter.
pub(super) fn is_adapter(listing: &Listing) -> bool {
    file_named(listing, ADAPTER).is_some()
}

/// Whether the folder holds weights, of whatever kind.
pub(super) fn has_weights(listing: &Listing) -> bool {
    WeightFiles::ALL.into_iter().any(|files| {
        file_named(listing, files.single()).is_some()
            || file_named(listing, files.index()).is_some()
    })
}

/// Whether a folder holds the weights of a model or of an adapter, in whatever form libraries write them;
/// what a Trainer leaves beside (`training_args.bin`, `optimizer.pt`) is none.
pub(super) fn has_any_weights(listing: &Listing) -> bool {
    let mut names = listing.files.iter().map(|file| file.location.name());
    has_weights(listing) || names.any(|name| is_pickled_model(name) || name == ADAPTER_WEIGHTS)
}

/// A pickle of weights, under the names that libraries give them.
fn is_pickled_model(name: &str) -> bool {
    let of_model = name.starts_with(PICKLED_STEM) || name.starts_with(ADAPTER_STEM);
    of_model && is_pickle(name)
}

pub(super) fn is_pickle(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    PICKLES.iter().any(|suffix| name.ends_with(suffix))
}
