//! The files of a model's weights: one, or the shards that an index lists.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{file_named, is_adapter, is_pickle, is_pickled_model};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    storage::{Blocking, Listing, Location, WeightFiles},
};

const INDEX_LIMIT: u64 = 64 << 20;
const SHARD_LIMIT: usize = 10_000;
/// By which diffusers tells a folder of several models.
const PIPELINE: &str = "model_index.json";

#[derive(Clone, Debug)]
pub(super) enum Weights {
    Single(Location),
    Sharded {
        index: Location,
        /// The tensors that the index promises in each shard.
        shards: BTreeMap<String, BTreeSet<String>>,
    },
}

pub(super) fn find(
    storage: Blocking<'_>,
    location: &Location,
    listing: &Listing,
) -> Result<Weights, ArtifactError> {
    for files in WeightFiles::ALL {
        if let Some(file) = file_named(listing, files.single()) {
            return Ok(Weights::Single(file.location.clone()));
        }
        if let Some(file) = file_named(listing, files.index()) {
            let index = file.location.clone();
            let shards = read_index(storage, location, &index)?;
            return Ok(Weights::Sharded { index, shards });
        }
    }

    refuse_pickles(location, listing)?;
    if is_adapter(listing) {
        let detail = "is a PEFT adapter, not a model: it may be a trajectory, after its base";
        return Err(ArtifactError::fault(
            FailureCode::NotFound,
            location,
            detail,
        ));
    }

    let detail = if location.name().ends_with(".safetensors") {
        "is a file; give the folder that holds it and its config.json"
    } else if file_named(listing, PIPELINE).is_some() {
        "is a pipeline of several models; give the folder of one of them (unet/, transformer/ …)"
    } else {
        "holds no model: neither model.safetensors nor model.safetensors.index.json is there"
    };

    Err(ArtifactError::fault(
        FailureCode::NotFound,
        location,
        detail,
    ))
}

/// Says how pickles become weights that are read, where there is nothing else.
fn refuse_pickles(location: &Location, listing: &Listing) -> Result<(), ArtifactError> {
    let names: Vec<&str> = listing
        .files
        .iter()
        .map(|file| file.location.name())
        .collect();
    let index = names
        .iter()
        .copied()
        .find(|name| name.ends_with(".bin.index.json"));
    let pickle = names.iter().copied().find(|name| is_pickled_model(name));
    let any = names.iter().copied().find(|name| is_pickle(name));
    let pickle = index.or(pickle).or(any);
    let given = Some(location.name()).filter(|name| is_pickle(name));
    let Some(name) = given.or(pickle) else {
        return Ok(());
    };

    let what = if index == Some(name) {
        "names pickles, which are"
    } else {
        "is a pickle, which is"
    };

    let detail = format!(
        "{name:?} {what} never opened; turn it into safetensors with `retune convert {name} DIR`"
    );
    Err(ArtifactError::fault(
        FailureCode::PickleRefused,
        location,
        detail,
    ))
}

fn read_index(
    storage: Blocking<'_>,
    folder: &Location,
    index: &Location,
) -> Result<BTreeMap<String, BTreeSet<String>>, ArtifactError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let bytes = storage.read_small(index, INDEX_LIMIT)?;
    let Index { weight_map } = serde_json::from_slice(&bytes)
        .map_err(|error| ArtifactError::json(FailureCode::MalformedIndex, index, &bytes, &error))?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();

    for (tensor, shard) in weight_map {
        if folder.child(&shard).is_err() || !shard.ends_with(".safetensors") {
            let shard: String = shard.chars().take(100).collect();
            let detail = format!(
                "weight_map names {shard:?}; shards must be plain names of .safetensors files"
            );
            return Err(ArtifactError::fault(
                FailureCode::MalformedIndex,
                index,
                detail,
            ));
        }
        shards.entry(shard).or_default().insert(tensor);
    }

    if shards.is_empty() || shards.len() > SHARD_LIMIT {
        let detail = format!("weight_map must name 1 to {SHARD_LIMIT} shards");
        return Err(ArtifactError::fault(
            FailureCode::MalformedIndex,
            index,
            detail,
        ));
    }

    Ok(shards)
}

/// A shard holds exactly what the index promises, so that no tensor comes from two files.
pub(super) fn check_promise<S: AsRef<str>>(
    location: &Location,
    promised: Option<&BTreeSet<String>>,
    found: impl Iterator<Item = S>,
) -> Result<(), ArtifactError> {
    let Some(promised) = promised else {
        return Ok(());
    };
    let mut missing: BTreeSet<&str> = promised.iter().map(String::as_str).collect();

    for name in found {
        let name = name.as_ref();
        if !missing.remove(name) {
            let detail = "is in this shard, but the index does not say so";
            return Err(ArtifactError::tensor(
                FailureCode::MalformedIndex,
                location,
                name,
                detail,
            ));
        }
    }

    match missing.first() {
        None => Ok(()),
        Some(name) => {
            let detail = "is missing here, where the index promises it";
            Err(ArtifactError::tensor(
                FailureCode::MissingTensor,
                location,
                name,
                detail,
            ))
        }
    }
}
