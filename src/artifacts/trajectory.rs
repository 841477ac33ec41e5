//! The checkpoints of a fine-tuning, in order.
//!
//! Four forms: a folder with `trajectory.json`; the output folder of a Hugging Face Trainer,
//! whose `checkpoint-N/` come in order of N after the source base, and a model or an adapter beside them
//! last of all; a single tuned model after the source base; a LoRA adapter on it.
//!
//! What `save_model` writes beside `checkpoint-N/` is the end of the tuning: with
//! `load_best_model_at_end` the best of the checkpoints, which need not be the last.

use crate::contract::codes::FailureCode;
use serde::Deserialize;

use crate::storage::{Blocking, Listing, Location};

use super::{
    error::ArtifactError,
    lora::Adapter,
    model::{ModelFolder, file_named, has_any_weights},
};

/// The list of a tuning's checkpoints.
pub const LIST: &str = "trajectory.json";
pub const FORMAT: &str = "retune-trajectory/1";
const LIST_LIMIT: u64 = 16 << 20;
const STEP_LIMIT: usize = 10_000;

/// Model folders in order of training; the first is the base, and there are two at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trajectory {
    pub location: Location,
    pub checkpoints: Vec<TunedStep>,
    /// `trajectory.json`, where that is the form.
    pub list: Option<Location>,
    /// Whether the last is what lies beside `checkpoint-N/`: it may be one of these once more.
    pub ends_beside: bool,
}

/// A point of a trajectory. Opened when needed: see [`ModelFolder::look`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunedStep {
    /// Optimiser steps since the base; 0 is the base, strictly rising.
    pub step: u64,
    pub model: Location,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    format: String,
    checkpoints: Vec<ListedStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedStep {
    step: u64,
    model: String,
}

impl Trajectory {
    /// Finds the checkpoints of `location`; `base` is the model that the tuning started from.
    ///
    /// # Errors
    /// `empty_trajectory`, `malformed_trajectory`, or as [`Adapter::look`] and
    /// [`ModelFolder::look`] where nothing at the location is a trajectory.
    pub fn look(
        storage: Blocking<'_>,
        location: &Location,
        base: &Location,
    ) -> Result<Self, ArtifactError> {
        let listing = storage.list(location)?;
        if let Some(list) = file_named(&listing, LIST) {
            return read_list(storage, location, &list.location);
        }

        let mut checkpoints = trainer_checkpoints(&listing);
        let last = checkpoints.last().map(|checkpoint| checkpoint.step);
        let ends_beside = last.is_some() && has_any_weights(&listing);
        if last.is_none() || ends_beside {
            if listing.files.is_empty() && !is_file(storage, location)? {
                let detail = "the trajectory is empty or does not exist: give a folder with \
                              trajectory.json, checkpoint-N/ folders or a tuned model";
                return Err(ArtifactError::fault(
                    FailureCode::EmptyTrajectory,
                    location,
                    detail,
                ));
            }
            if Adapter::look(storage, location)?.is_none() {
                // Says what is missing where this is no model either.
                ModelFolder::look(storage, location)?;
            }
            let step = last.map_or(1, |last| last.saturating_add(1));
            checkpoints.push(TunedStep {
                step,
                model: location.clone(),
            });
        }

        if checkpoints[0].step > 0 {
            checkpoints.insert(
                0,
                TunedStep {
                    step: 0,
                    model: base.clone(),
                },
            );
        }

        Ok(Self {
            ends_beside,
            ..checked(location, checkpoints, None)?
        })
    }

    /// The tuned model at the end.
    pub fn last(&self) -> &TunedStep {
        &self.checkpoints[self.checkpoints.len() - 1]
    }
}

fn is_file(storage: Blocking<'_>, location: &Location) -> Result<bool, ArtifactError> {
    Ok(storage.exists(location)?)
}

fn read_list(
    storage: Blocking<'_>,
    folder: &Location,
    place: &Location,
) -> Result<Trajectory, ArtifactError> {
    let fault =
        |detail: String| ArtifactError::fault(FailureCode::MalformedTrajectory, place, detail);
    let bytes = storage.read_small(place, LIST_LIMIT)?;
    let list: List = serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
    if list.format != FORMAT {
        return Err(fault(format!(
            "the format {:?} is not known; {FORMAT:?} is",
            list.format
        )));
    }

    let mut checkpoints = Vec::new();
    for (i, entry) in list.checkpoints.iter().enumerate() {
        let model = folder.join(&entry.model).map_err(|error| {
            fault(format!(
                "/checkpoints/{i}/model must be a relative path inside: {error}"
            ))
        })?;
        checkpoints.push(TunedStep {
            step: entry.step,
            model,
        });
    }

    checked(folder, checkpoints, Some(place.clone()))
}

/// The `checkpoint-N` folders, by N as a number.
fn trainer_checkpoints(listing: &Listing) -> Vec<TunedStep> {
    let found = listing.folders.iter().filter_map(|folder| {
        let digits = folder.name().strip_prefix("checkpoint-")?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| plain).map(|step| TunedStep {
            step,
            model: folder.clone(),
        })
    });
    let mut checkpoints: Vec<_> = found.collect();
    checkpoints.sort_by_key(|checkpoint| checkpoint.step);
    checkpoints
}

fn checked(
    location: &Location,
    checkpoints: Vec<TunedStep>,
    list: Option<Location>,
) -> Result<Trajectory, ArtifactError> {
    if checkpoints.len() < 2 {
        let detail = format!(
            "the trajectory has {} checkpoints; it needs the old base and a tuned one after it",
            checkpoints.len()
        );
        return Err(ArtifactError::fault(
            FailureCode::EmptyTrajectory,
            location,
            detail,
        ));
    }

    let rising = checkpoints
        .windows(2)
        .all(|pair| pair[0].step < pair[1].step);
    if !rising || checkpoints.len() > STEP_LIMIT {
        let detail = format!("steps must rise, and be at most {STEP_LIMIT}");
        return Err(ArtifactError::fault(
            FailureCode::MalformedTrajectory,
            location,
            detail,
        ));
    }

    Ok(Trajectory {
        location: location.clone(),
        checkpoints,
        list,
        ends_beside: false,
    })
}
