//! A dataset of several Parquet files: a folder of shards, as the Hugging Face hub lays them out
//! (`train-00000-of-00002.parquet` …), read one after the other in order of name.

use bytes::Bytes;

use super::{IDS, INPUTS, LABELS, LabelForm, MASK, TYPES, integers, is_parquet};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::{
        tensors::{Checkpoint, HostTensor, Signature},
        training::cross_entropy::IGNORED,
    },
    storage::{Location, Storage},
};

/// The files of a dataset: the location itself, or the shards in the folder that it is.
///
/// # Errors
/// `not_found` for a folder without Parquet files or with a shard missing, `several_splits`; what keeps
/// the store from answering.
pub fn files(storage: &Storage, location: &Location) -> Result<Vec<Location>, ArtifactError> {
    let listing = storage.blocking().list(location)?;
    if listing.files.is_empty() && listing.folders.is_empty() {
        return Ok(vec![location.clone()]);
    }

    let files = listing.files.into_iter().map(|file| file.location);
    let shards: Vec<Location> = files.filter(is_parquet).collect();
    if shards.is_empty() {
        let detail = "is a folder without Parquet files; give a safetensors or Parquet file, or a \
                      folder of Parquet shards";
        return Err(ArtifactError::fault(
            FailureCode::NotFound,
            location,
            detail,
        ));
    }

    check_whole(location, &shards)?;

    Ok(shards)
}

/// `train-00001-of-00002.parquet` by its parts.
#[derive(PartialEq, Eq)]
struct Numbered<'a> {
    split: &'a str,
    number: usize,
    of: usize,
}

fn numbered(name: &str) -> Option<Numbered<'_>> {
    let stem = name.strip_suffix(".parquet")?;
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (split, number) = rest.rsplit_once('-')?;
    Some(Numbered {
        split,
        number: number.parse().ok()?,
        of: of.parse().ok()?,
    })
}

/// Refuses a folder with several splits, or with a shard missing.
fn check_whole(folder: &Location, shards: &[Location]) -> Result<(), ArtifactError> {
    let numbered: Vec<Numbered> = shards
        .iter()
        .filter_map(|file| numbered(file.name()))
        .collect();
    let Some(first) = numbered.first() else {
        return Ok(());
    };

    let one_split = numbered
        .iter()
        .all(|shard| (shard.split, shard.of) == (first.split, first.of));

    if !one_split || numbered.len() != shards.len() {
        let names: Vec<&str> = shards.iter().take(5).map(Location::name).collect();
        let detail = format!(
            "holds the shards of more than one split ({} …); give each split a folder of its own",
            names.join(", ")
        );
        return Err(ArtifactError::fault(
            FailureCode::SeveralSplits,
            folder,
            detail,
        ));
    }

    let missing = (0..first.of).find(|n| numbered.iter().all(|shard| shard.number != *n));
    if let Some(missing) = missing {
        let detail = format!("shard {missing} of {} is not there", first.of);
        return Err(ArtifactError::fault(FailureCode::NotFound, folder, detail));
    }

    Ok(())
}

/// The header of all shards together: as many samples as they have, sentences as long as the longest.
///
/// # Errors
/// As [`joined`].
pub fn joined_signature(
    folder: &Location,
    shards: Vec<Signature>,
    labels: LabelForm,
) -> Result<Signature, ArtifactError> {
    let mut all = Signature::new();
    for shard in shards {
        if all.is_empty() {
            all = shard;
            continue;
        }
        check_alike(folder, &all, &shard, labels)?;
        for (name, info) in &mut all {
            let other = &shard[name];
            info.shape[0] = info.shape[0].saturating_add(other.shape[0]);
            if let ([_, length], [_, longer]) = (&mut info.shape[..], &other.shape[..]) {
                *length = (*length).max(*longer);
            }
        }
    }

    Ok(all)
}

/// The samples of all shards, one shard after the other.
///
/// # Errors
/// `wrong_shape` where they do not have the same columns, or images of one size.
pub fn joined(
    folder: &Location,
    shards: Vec<Checkpoint>,
    labels: LabelForm,
) -> Result<Checkpoint, ArtifactError> {
    let signatures = shards.iter().map(Checkpoint::signature).collect();
    let all = joined_signature(folder, signatures, labels)?;

    let tensors = all.into_iter().map(|(name, info)| {
        let parts: Vec<Bytes> = match info.shape[..] {
            [_, length] if has_rows_of_tokens(&name, labels) => {
                let filled = shards
                    .iter()
                    .map(|shard| filled(&shard[&name], &name, length));
                filled.collect()
            }
            _ => shards.iter().map(|shard| shard[&name].bytes()).collect(),
        };
        let bytes = Bytes::from(parts.concat());
        let tensor = HostTensor::from_bytes(info.dtype, info.shape, bytes);
        tensor.map(|tensor| (name.clone(), tensor)).ok_or_else(|| {
            let detail = format!("the shards do not fit together in {name}");
            ArtifactError::fault(FailureCode::WrongShape, folder, detail)
        })
    });

    tensors.collect()
}

/// Whole numbers `[N, S]` in rows of this length; what is filled up is no token.
fn filled(tensor: &HostTensor, name: &str, length: usize) -> Bytes {
    let with = match name {
        IDS => super::NO_TOKEN,
        LABELS => IGNORED,
        MASK | TYPES => 0,
        other => unreachable!("{other} has no rows of tokens"),
    };
    let own = tensor.shape()[1].max(1);
    let values = integers(tensor);
    let rows = values.chunks(own).map(|row| (row, length - row.len()));
    let values = rows.flat_map(|(row, short)| {
        row.iter()
            .copied()
            .chain(std::iter::repeat_n(with, short))
            .collect::<Vec<_>>()
    });

    values.flat_map(i64::to_le_bytes).collect()
}

/// Whether a tensor with two axes has a number for each token.
fn has_rows_of_tokens(name: &str, labels: LabelForm) -> bool {
    name != INPUTS && (name != LABELS || labels.may_be_of_tokens())
}

fn check_alike(
    folder: &Location,
    first: &Signature,
    other: &Signature,
    labels: LabelForm,
) -> Result<(), ArtifactError> {
    let same_columns = first.keys().eq(other.keys());
    let alike = |(name, info): (&String, &crate::engine::tensors::TensorInfo)| {
        let found = &other[name];
        let of_tokens = has_rows_of_tokens(name, labels);
        let same_sample = info.shape[1..] == found.shape[1..];
        info.dtype == found.dtype
            && info.shape.len() == found.shape.len()
            && (same_sample || (of_tokens && info.shape.len() == 2))
    };
    if same_columns && first.iter().all(alike) {
        return Ok(());
    }

    let detail =
        "its shards have different columns, images of different sizes or rows of different labels";

    Err(ArtifactError::fault(
        FailureCode::WrongShape,
        folder,
        detail,
    ))
}
