//! The models of a transfer, brought under one signature: old base, tuning, new base.
//!
//! Every tensor of one must be found in the others, in the same shape. The exceptions are a head that
//! only the tuned model has ([`AdoptedHead`]), classes and tokens that both models name
//! ([`SharedRows`]), and bases that differ in width alone, for the methods that lead from one to the
//! other ([`widths`]).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Failure, Job, failure,
    fetch::{location, model},
};
use crate::{
    artifacts::{self, Access, InputFile, Model, ModelFolder, names},
    engine::{
        network::{Checkpoint, Graph, HostTensor, Naming, Signature, is_of_a_task},
        transfer::{
            Trajectory,
            compatibility::{AdoptedHead, compare},
            rows::{Axis, SharedRows, named_tensors},
            widths,
        },
    },
    spec::{Method, Methods, Spec, TrajectoryKind},
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
    /// Tensors of the trajectory's own first checkpoint that are not the old base's.
    pub other_start: usize,
    pub head: Option<AdoptedHead>,
    /// The source's network, where it differs in width.
    pub source_graph: Option<Graph>,
    /// Classes and tokens that the bases number differently.
    pub shared_rows: Vec<SharedRows>,
    /// What the new base computes otherwise than the tuned model (here), where both are of one base.
    pub update: Option<String>,
}

/// Tuned models in order, with the configuration of the last.
struct Tuning {
    config: Value,
    checkpoints: Vec<Checkpoint>,
    other_start: usize,
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
    let update = same_computation(&tuning.config, &last, (&target.folder.config, &wanted))?;
    let own = base.signature();
    let bases = [(&old.config, &own), (&target.folder.config, &wanted)];
    let source_graph = at_another_width(job.spec, bases)?;
    for checkpoint in &tuning.checkpoints {
        same_as_tuned(&checkpoint.signature(), (source_graph.as_ref(), &own), &wanted)?;
    }
    let trajectory = trajectory(job, base, tuning.checkpoints);
    let tensors = head.as_ref().map(|head| head.tensors.clone()).unwrap_or_default();
    let trajectory = trajectory.with_head(tensors).with_rows(shared_rows.clone());
    let other_start = tuning.other_start;
    Ok(Models {
        target,
        naming,
        trajectory,
        source_base,
        other_start,
        head,
        source_graph,
        shared_rows,
        update,
    })
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
    let rows = |of: &Signature| Some(*of.get(tensors.first()?)?.shape.first()?);
    if rows(target).is_none() {
        return Ok(found);
    }
    // As many tokens, by the same list: nothing is numbered otherwise, and the list need not be read.
    if rows(base) == rows(target)
        && names::same_vocabulary(storage, [old, new]).map_err(failure::at("/target/base"))?
    {
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

/// Compares the two bases, given as configuration and headers. `None`: they have the same tensors;
/// otherwise the old one's network, which is the new one's but for its width.
///
/// # Errors
/// `incompatible_models`, also where the job's methods do not lead from one width to another.
pub fn at_another_width(
    spec: &Spec,
    [old, new]: [(&Value, &Signature); 2],
) -> Result<Option<Graph>, Failure> {
    let names = ["the source's base", "the target's base"];
    let Err(different) = compare((names[0], old.1), (names[1], new.1)) else { return Ok(None) };
    let graphs = [old, new].map(|(config, signature)| Graph::from_config(config, signature));
    let [Ok(of), Ok(than)] = graphs else {
        return Err(failure::incompatible("/source/base")(different));
    };
    if widths::compare((names[0], &of, old.1), (names[1], &than, new.1)).is_err() {
        return Err(failure::incompatible("/source/base")(different));
    }
    let refused = |pointer: &str, what: &str| {
        let detail = format!(
            "{different}. Between widths only bico and theseus carry over (and gradfix on one of \
             them): {what}"
        );
        let pointer = Some(pointer.to_owned());
        Err(Failure::Input { code: "incompatible_models", pointer, detail })
    };
    if let Methods::Named(methods) = &spec.methods
        && let Some(method) = methods.iter().find(|m| !leads_between_widths(**m, spec))
    {
        return refused("/methods", &format!("not {}", method.name()));
    }
    if spec.data.as_ref().is_none_or(|data| data.train.is_none()) {
        return refused("/data/train", "both need training samples");
    }
    Ok(Some(of))
}

fn leads_between_widths(method: Method, spec: &Spec) -> bool {
    let maps = |method| matches!(method, Method::Bico | Method::Theseus);
    maps(method) || (method == Method::Gradfix && maps(spec.options.gradfix_on))
}

/// A tuned model has its base's tensors: the target's too, unless that differs in width.
pub fn same_as_tuned(
    tuned: &Signature,
    (at_another_width, base): (Option<&Graph>, &Signature),
    target: &Signature,
) -> Result<(), Failure> {
    let than = match at_another_width {
        Some(_) => ("the source's base", base),
        None => ("the target's base", target),
    };
    compare(("the tuned model", tuned), than).map_err(failure::incompatible(TRAJECTORY))
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
    if let Some(list) = &stored.list {
        files.push(access.digest(list).map_err(failure::at(TRAJECTORY))?);
    }
    let wanted = match job.spec.options.trajectory {
        TrajectoryKind::Linear => std::slice::from_ref(stored.last()),
        TrajectoryKind::Stored => &stored.checkpoints[1..],
    };
    let other_start = other_start(access, &stored, base, files)?;
    let mut config = base.folder.config.clone();
    let mut checkpoints = Vec::with_capacity(wanted.len());
    for step in wanted {
        let adapter =
            artifacts::Adapter::look(storage, &step.model).map_err(failure::at(TRAJECTORY))?;
        checkpoints.push(if let Some(adapter) = adapter {
            let base = (&base.folder.config, &base.checkpoint);
            let (tuned, own, read) =
                adapter.open(&access, base).map_err(failure::at(TRAJECTORY))?;
            files.extend(read);
            config = own;
            tuned
        } else {
            let (tuned, _) = model(access, TRAJECTORY, &step.model.to_string(), files)?;
            config = tuned.folder.config;
            tuned.checkpoint
        });
    }
    Ok(Tuning { config, checkpoints, other_start })
}

/// Refuses a tuned model that computes otherwise than the new base from tensors of the same shapes: another
/// number of heads, epsilon or padding. It would be judged, and its steps taken, as another function.
///
/// What two releases of one base may differ in is told instead: the update can be carried, but the old
/// models are judged as the new base computes.
///
/// # Errors
/// `incompatible_models`, `malformed_config`.
fn same_computation(
    tuned: &Value,
    checkpoint: &Checkpoint,
    (config, target): (&Value, &Signature),
) -> Result<Option<String>, Failure> {
    let own = checkpoint.signature();
    let shapes = |of: &Signature| of.values().map(|info| info.shape.len()).collect::<Vec<_>>();
    // What has other tensors is compared by them.
    if !own.keys().eq(target.keys()) || shapes(&own) != shapes(target) {
        return Ok(None);
    }
    let graph =
        Graph::from_config(tuned, &own).map_err(failure::graph(TRAJECTORY, "the tuned model"))?;
    let of_target = Graph::from_config(config, target)
        .map_err(failure::graph("/target/base", "the new base"))?;

    match graph.difference(&of_target) {
        None => Ok(None),
        Some(difference) if difference.is_an_update => Ok(Some(difference.detail)),
        Some(difference) => Err(Failure::Input {
            code: "incompatible_models",
            pointer: Some(TRAJECTORY.into()),
            detail: format!(
                "the tuned model (here) does not compute as the new base (there): {}; their \
                 configurations must agree",
                difference.detail
            ),
        }),
    }
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
    let (first, _) = model(access, TRAJECTORY, &first.to_string(), files)?;
    same_body((&first.folder.config, &first.checkpoint.signature()), &base.checkpoint.signature())?;
    let digests = |model: &Model| -> BTreeSet<String> {
        model.inputs.iter().map(|file| file.sha256.clone()).collect()
    };
    if digests(&first) == digests(base) {
        return Ok(0);
    }
    let differs = |(name, tensor): (&str, &HostTensor)| {
        let other = base.checkpoint.get(name).filter(|other| other.shape() == tensor.shape());
        other.is_some_and(|other| !other.same_values(tensor))
    };
    Ok(first.checkpoint.iter().filter(|tensor| differs(*tensor)).count())
}

/// Refuses a first checkpoint whose tensors below the head are not the old base's.
pub fn same_body((config, first): (&Value, &Signature), base: &Signature) -> Result<(), Failure> {
    let graph = Graph::from_config(config, first).ok();
    let output = graph.as_ref().and_then(Graph::head);
    let body = |of: &Signature| -> Signature {
        let mut body = of.clone();
        body.retain(|name, _| !is_of_a_task(config, output, name));
        body
    };
    let names = ["the first checkpoint of trajectory.json", "the source's base"];
    compare((names[0], &body(first)), (names[1], &body(base)))
        .map_err(failure::incompatible(TRAJECTORY))
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
