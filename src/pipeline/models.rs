//! The models of a transfer, brought under one signature: old base, tuning, new base.
//!
//! Every tensor of one must be found in the others, in the same shape. The exceptions are a head that
//! only the tuned model has ([`AdoptedHead`]), and classes and tokens that both models name
//! ([`SharedRows`]).

use serde_json::Value;

use super::{
    Failure, Job, failure,
    fetch::{location, model},
};
use crate::{
    artifacts::{self, Access, InputFile, Model, ModelFolder, names},
    engine::{
        network::{Checkpoint, Graph, Naming, Signature},
        transfer::{
            Trajectory,
            compatibility::{AdoptedHead, compare},
            rows::{Axis, SharedRows, named_tensors},
        },
    },
    spec::TrajectoryKind,
    storage::Blocking,
};

/// Old and new, with the same tensors.
pub struct Models {
    /// The new base, with the adopted head and its configuration.
    pub target: Model,
    /// What the result's file calls its tensors.
    pub naming: Naming,
    pub trajectory: Trajectory,
    /// The files of the old base.
    pub source_base: Vec<InputFile>,
    pub head: Option<AdoptedHead>,
    /// Classes and tokens that the bases number differently.
    pub shared_rows: Vec<SharedRows>,
}

/// Tuned models in order, with the configuration of the last.
struct Tuning {
    config: Value,
    checkpoints: Vec<Checkpoint>,
}

/// Reads the three and makes them comparable.
///
/// # Errors
/// What is wrong with one of them; `incompatible_models`.
pub fn read(job: &Job, access: Access, files: &mut Vec<InputFile>) -> Result<Models, Failure> {
    let (mut target, mut naming) = model(access, "/target/base", &job.spec.target.base, files)?;
    let (base, _) = model(access, "/source/base", &job.spec.source.base, files)?;
    let mut tuning = tuning(job, access, &base, files)?;
    let Model { checkpoint: mut base, inputs: source_base, folder: old } = base;
    let last = tuning.checkpoints[tuning.checkpoints.len() - 1].clone();
    let signatures = [&base, &target.checkpoint].map(Checkpoint::signature);
    let tuned = (&tuning.config, &last.signature());
    let head = AdoptedHead::find(tuned, signatures.each_ref(), &target.folder.config);
    if let Some(head) = &head {
        let own = base.signature();
        base = head.on(&base, &last);
        target.checkpoint = head.on(&target.checkpoint, &last);
        // No head at the start: it is the last one throughout.
        for checkpoint in &mut tuning.checkpoints {
            let given =
                |name: &&String| own.get(*name).is_none_or(|o| o.shape != last[*name].shape());
            for name in head.tensors.iter().filter(given) {
                checkpoint.insert(name.clone(), last[name].clone());
            }
        }
        target.folder.config_bytes = format!("{:#}\n", head.config).into();
        target.folder.config = head.config.clone();
        naming = Naming::default();
    }
    let wanted = target.checkpoint.signature();
    let graph = Graph::from_config(&target.folder.config, &wanted)
        .and_then(|graph| graph.shapes(&wanted).map(|_| graph));
    let shared_rows = match graph {
        Ok(graph) => {
            let old = (&old, &tuning.config, &base.signature());
            let new = (&target.folder, &graph, &wanted);
            shared_rows(access.storage.blocking(), old, new, files)?
        }
        // With the head of another it may not fit; what differs is named below.
        Err(_) if head.is_some() => Vec::new(),
        // A fault of the new base's own is named before its differences from the others.
        Err(error) => {
            let place = target.folder.location.to_string();
            return Err(failure::graph("/target/base", &place)(error));
        }
    };
    for rows in &shared_rows {
        base = rows.on(&base);
        tuning.checkpoints.iter_mut().for_each(|checkpoint| *checkpoint = rows.on(checkpoint));
    }
    same("/source/base", ("the source's base", &base.signature()), &wanted)?;
    for checkpoint in &tuning.checkpoints {
        same(TRAJECTORY, ("the tuned model", &checkpoint.signature()), &wanted)?;
    }
    let trajectory = trajectory(job, base, tuning.checkpoints);
    let tensors = head.as_ref().map(|head| head.tensors.clone()).unwrap_or_default();
    let trajectory = trajectory.with_head(tensors);
    Ok(Models { target, naming, trajectory, source_base, head, shared_rows })
}

/// Classes and tokens that the old models number otherwise than the new base, which is given with its
/// graph. The old class labels are those of the tuned configuration.
///
/// # Errors
/// What keeps the store from answering.
pub fn shared_rows(
    storage: Blocking<'_>,
    (old, tuned, base): (&ModelFolder, &Value, &Signature),
    (new, graph, target): (&ModelFolder, &Graph, &Signature),
    files: &mut Vec<InputFile>,
) -> Result<Vec<SharedRows>, Failure> {
    let mut found = Vec::new();
    if let (Some(old), Some(new)) = (names::labels(tuned), names::labels(&new.config)) {
        let tensors = named_tensors(graph, target, Axis::Classes);
        found.extend(SharedRows::find(Axis::Classes, tensors, (&old, base), (&new, target)));
    }
    let tensors = named_tensors(graph, target, Axis::Vocabulary);
    if tensors.is_empty() {
        return Ok(found);
    }
    let read = |folder, pointer| names::vocabulary(storage, folder).map_err(failure::at(pointer));
    let (old, new) = (read(old, "/source/base")?, read(new, "/target/base")?);
    if let (Some((old, old_file)), Some((new, new_file))) = (old, new)
        && let Some(rows) =
            SharedRows::find(Axis::Vocabulary, tensors, (&old, base), (&new, target))
    {
        files.extend([old_file, new_file]);
        found.push(rows);
    }
    Ok(found)
}

const TRAJECTORY: &str = "/source/trajectory";

fn same(pointer: &str, of: (&str, &Signature), target: &Signature) -> Result<(), Failure> {
    compare(of, ("the target's base", target)).map_err(failure::incompatible(pointer))
}

fn tuning(
    job: &Job,
    access: Access,
    base: &Model,
    files: &mut Vec<InputFile>,
) -> Result<Tuning, Failure> {
    let storage = access.storage.blocking();
    let place = location(access.storage, TRAJECTORY, &job.spec.source.trajectory)?;
    let stored = artifacts::Trajectory::look(storage, &place, &base.folder.location)
        .map_err(failure::at(TRAJECTORY))?;
    let wanted = match job.spec.options.trajectory {
        TrajectoryKind::Linear => std::slice::from_ref(stored.last()),
        TrajectoryKind::Stored => &stored.checkpoints[1..],
    };
    let mut config = base.folder.config.clone();
    let mut checkpoints = Vec::with_capacity(wanted.len());
    for step in wanted {
        let adapter =
            artifacts::Adapter::look(storage, &step.model).map_err(failure::at(TRAJECTORY))?;
        checkpoints.push(if let Some(adapter) = adapter {
            let (tuned, read) =
                adapter.open(&access, &base.checkpoint).map_err(failure::at(TRAJECTORY))?;
            files.extend(read);
            tuned
        } else {
            let (tuned, _) = model(access, TRAJECTORY, &step.model.to_string(), files)?;
            config = tuned.folder.config;
            tuned.checkpoint
        });
    }
    Ok(Tuning { config, checkpoints })
}

fn trajectory(job: &Job, base: Checkpoint, mut checkpoints: Vec<Checkpoint>) -> Trajectory {
    let options = &job.spec.options;
    match (options.trajectory, checkpoints.pop()) {
        (TrajectoryKind::Linear, Some(tuned)) => {
            Trajectory::linear(base, tuned, options.schedule, options.timesteps)
        }
        (_, last) => {
            checkpoints.extend(last);
            Trajectory::stored(base, &checkpoints, options.timesteps)
        }
    }
}
