//! The checkpoints of a tuning, read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Configured, TRAJECTORY,
    read::{location, model_at},
};
use crate::{
    artifacts::{self, Access, InputFile, Model, model::OtherFile},
    contract::spec::TrajectoryKind,
    engine::{
        network::{Graph, is_of_a_task},
        tensors::{Checkpoint, Signature},
        transfer::compatibility::{NamedSignature, compare},
    },
    pipeline::{
        failure::{self, Failure},
        job::Job,
    },
};

/// Tuned models in order, with the configuration of the last.
pub struct Tuning {
    pub config: Value,
    pub checkpoints: Vec<Checkpoint>,
    /// Where the last of them is, and what lies beside it.
    pub place: String,
    pub other_files: Vec<OtherFile>,
    pub other_start: usize,
    pub notes: Vec<String>,
}

impl Tuning {
    pub fn last(&self) -> &Checkpoint {
        &self.checkpoints[self.checkpoints.len() - 1]
    }
}

/// Reads the tuning that a job names.
///
/// # Errors
/// What is wrong with it.
pub fn read(
    job: &Job,
    access: Access,
    base: &Model,
    files: &mut Vec<InputFile>,
) -> Result<Tuning, Failure> {
    let storage = access.storage.blocking();
    let place = location(access.storage, TRAJECTORY, &job.spec.source.trajectory)?;
    let stored = artifacts::Trajectory::look(storage, &place, &base.folder.location)
        .map_err(failure::at(TRAJECTORY))?;
    if let Some(list) = &stored.list {
        files.push(access.digest(list).map_err(failure::at(TRAJECTORY))?);
    }

    let wanted = match job.spec.options.trajectory {
        TrajectoryKind::Linear => std::slice::from_ref(stored.last()),
        TrajectoryKind::Stored => &stored.checkpoints[1..],
    };
    let other_start = other_start(access, &stored, base, files)?;
    let (mut config, mut other_files) = (base.folder.config.clone(), Vec::new());
    let mut checkpoints = Vec::with_capacity(wanted.len());

    for step in wanted {
        let adapter =
            artifacts::Adapter::look(storage, &step.model).map_err(failure::at(TRAJECTORY))?;
        checkpoints.push(if let Some(adapter) = adapter {
            let (tuned, own, read) = adapter
                .open(&access, &base.folder.config, &base.checkpoint)
                .map_err(failure::at(TRAJECTORY))?;
            files.extend(read);
            (config, other_files) = (own, adapter.other_files);
            tuned
        } else {
            let (tuned, _) = model_at(access, TRAJECTORY, &step.model, files)?;
            (config, other_files) = (tuned.folder.config, tuned.folder.other_files);
            tuned.checkpoint
        });
    }

    let mut notes = Vec::new();
    if stored.ends_beside {
        let left_out = without_what_follows_the_end(&mut checkpoints);
        if left_out > 0 {
            notes.push(format!(
                "the model beside checkpoint-N/ is the end of the tuning: {left_out} checkpoints after \
                 the one that it is were left out"
            ));
        }
    }

    let place = stored.last().model.to_string();
    Ok(Tuning {
        config,
        checkpoints,
        place,
        other_files,
        other_start,
        notes,
    })
}

/// Where the last of the checkpoints is an earlier one once more, as the best of them is, the trajectory
/// ends with that one. How many after it are left out.
fn without_what_follows_the_end(checkpoints: &mut Vec<Checkpoint>) -> usize {
    let Some((end, earlier)) = checkpoints.split_last() else {
        return 0;
    };
    let Some(at) = earlier
        .iter()
        .position(|checkpoint| same_tensors(checkpoint, end))
    else {
        return 0;
    };

    let left_out = earlier.len() - at - 1;
    checkpoints.truncate(at + 1);
    left_out
}

fn same_tensors(one: &Checkpoint, other: &Checkpoint) -> bool {
    one.len() == other.len()
        && one.iter().all(|(name, tensor)| {
            other
                .get(name)
                .is_some_and(|other| other.shape() == tensor.shape() && other.same_values(tensor))
        })
}

/// How many tensors of the first checkpoint that a list names are not the old base's. A head that only
/// one of the two has, or in another shape, is no difference: it may be new with the tuning.
///
/// # Errors
/// What is wrong with that checkpoint; `incompatible_models` where its body is another's.
fn other_start(
    access: Access,
    stored: &artifacts::Trajectory,
    base: &Model,
    files: &mut Vec<InputFile>,
) -> Result<usize, Failure> {
    let first = &stored.checkpoints[0].model;
    if stored.list.is_none() || *first == base.folder.location {
        return Ok(0);
    }

    let (first, _) = model_at(access, TRAJECTORY, first, files)?;
    let own = Configured {
        config: &first.folder.config,
        signature: &first.checkpoint.signature(),
    };
    same_body(own, &base.checkpoint.signature())?;
    if digests(&first) == digests(base) {
        return Ok(0);
    }

    let different = first.checkpoint.iter().filter(|(name, tensor)| {
        let other = base
            .checkpoint
            .get(name)
            .filter(|other| other.shape() == tensor.shape());
        other.is_some_and(|other| !other.same_values(tensor))
    });
    Ok(different.count())
}

fn digests(model: &Model) -> BTreeSet<&str> {
    model
        .inputs
        .iter()
        .map(|file| file.sha256.as_str())
        .collect()
}

/// Refuses a first checkpoint whose tensors below the head are not the old base's.
pub fn same_body(first: Configured, base: &Signature) -> Result<(), Failure> {
    let Configured {
        config,
        signature: first,
    } = first;
    let graph = Graph::from_config(config, first).ok();
    let output = graph.as_ref().and_then(Graph::head);
    let [own, than] = [first, base].map(|signature| {
        let mut body = signature.clone();
        body.retain(|name, _| !is_of_a_task(config, output, name));
        body
    });

    let names = [
        "the first checkpoint of trajectory.json",
        "the source's base",
    ];
    compare(
        NamedSignature {
            name: names[0],
            signature: &own,
        },
        NamedSignature {
            name: names[1],
            signature: &than,
        },
    )
    .map_err(failure::incompatible(TRAJECTORY))
}
