//! The check and the estimate that `plan` gives, from headers alone.

mod estimate;

use std::path::Path;

use serde_json::{Value, json};

use super::{
    Failure,
    calibration::Speeds,
    failure,
    fetch::{check_head, location, read_graph},
    models,
};
use crate::{
    artifacts::{self, ModelFolder, dataset},
    engine::{
        learning::{Load, cost::forward_flops},
        network::{Graph, Naming, Signature},
        symmetry::Symmetry,
        transfer::{STATISTICS_SAMPLES, candidate::ALPHAS, compatibility::AdoptedHead, ladder},
    },
    spec::{Alpha, Method, Spec, TrajectoryKind},
    storage::Storage,
};

/// Checks a specification against its artifacts' headers and estimates what a run would compute.
///
/// Time and memory rest on a calibration of this machine, kept in `cache`.
///
/// # Errors
/// As [`super::run`], for what headers can show.
pub fn plan(spec: &Spec, storage: &Storage, cache: Option<&Path>) -> Result<Value, Failure> {
    location(storage, "/output", &spec.output)?;
    let (mut folder, mut target) = headers(storage, "/target/base", &spec.target.base)?;
    let (base_folder, mut base) = headers(storage, "/source/base", &spec.source.base)?;
    let pointer = "/source/trajectory";
    let place = location(storage, pointer, &spec.source.trajectory)?;
    let trajectory = artifacts::Trajectory::look(storage.blocking(), &place, &base_folder.location)
        .map_err(failure::at(pointer))?;
    let last = &trajectory.last().model;
    let adapter =
        artifacts::Adapter::look(storage.blocking(), last).map_err(failure::at(pointer))?;
    let (tuned_config, mut tuned) = match adapter {
        Some(adapter) => adapter
            .check(storage.blocking(), (&base_folder.config, &base))
            .map_err(failure::at(pointer))?,
        None => {
            let (folder, tuned) = headers(storage, pointer, &last.to_string())?;
            (folder.config, tuned)
        }
    };
    let head = AdoptedHead::find((&tuned_config, &tuned), [&base, &target], &folder.config);
    if let Some(head) = &head {
        (base, target) = (head.on_signature(base, &tuned), head.on_signature(target, &tuned));
        folder.config = head.config.clone();
    }
    if let Ok(graph) = Graph::from_config(&folder.config, &target) {
        let old = (&base_folder, &tuned_config, &base);
        let new = (&folder, &graph, &target);
        for rows in models::shared_rows(storage.blocking(), old, new, &mut Vec::new())? {
            base = rows.on_signature(base);
            tuned = rows.on_signature(tuned);
        }
    }
    let bases = [(&base_folder.config, &base), (&folder.config, &target)];
    let old = models::at_another_width(spec, bases)?;
    models::same_as_tuned(&tuned, (old.as_ref(), &base), &target)?;
    let sizes = Sizes::look(spec, storage)?;
    let graph = read_graph("/target/base", &folder, &target, sizes.sample_shape.as_deref())?;
    check_head(&graph, spec.options.head, head.as_ref())?;
    let symmetry = Symmetry::derive(&graph, &target)
        .map_err(failure::graph("/target/base", &spec.target.base))?;
    let flops = forward_flops(&graph, &target)
        .map_err(failure::graph("/target/base", &spec.target.base))?;
    let timesteps = match spec.options.trajectory {
        TrajectoryKind::Linear => spec.options.timesteps,
        TrajectoryKind::Stored => spec.options.timesteps.min(trajectory.checkpoints.len() - 1),
    };
    let parameters: usize = target
        .values()
        .filter(|t| t.dtype.is_float())
        .map(|t| t.shape.iter().product::<usize>())
        .sum();
    let methods = ladder::methods(&spec.methods, sizes.train > 0, old.is_some());
    let estimates: Vec<Value> = methods
        .iter()
        .map(|method| sizes.estimate(*method, spec, timesteps, (flops, parameters)))
        .collect();
    let load =
        Load::of(&graph, &target).map_err(failure::graph("/target/base", &spec.target.base))?;
    let models = 2 * bytes_of(&target) + bytes_of(&base);
    let job = estimate::Job {
        spec,
        methods: &methods,
        timesteps,
        parameters,
        load,
        has_batch_norm: graph.has_batch_norm(),
        samples: [sizes.train, sizes.validation, sizes.test],
        bytes: [models, sizes.bytes, bytes_of(&target)],
        matching: estimate::Matching::of(&symmetry, &target),
    };
    let speeds = Speeds::of_this_machine(cache);
    let largest = symmetry.groups.iter().map(|g| g.units).max().unwrap_or(0);
    Ok(json!({
        "parameters": parameters,
        "timesteps": timesteps,
        "groups": symmetry.groups.len(),
        "largest_group": largest,
        "samples": {"train": sizes.train, "validation": sizes.validation, "test": sizes.test},
        "methods": estimates,
        "estimate": job.estimate(&speeds),
        "speeds": speeds,
        "assumptions": "seconds and memory within about a factor of two; sample counts are exact up to ties between steps; FLOPs count matrix products",
    }))
}

fn headers(
    storage: &Storage,
    pointer: &str,
    text: &str,
) -> Result<(ModelFolder, Signature), Failure> {
    let place = location(storage, pointer, text)?;
    let read = || {
        let folder = ModelFolder::look(storage.blocking(), &place)?;
        let signature = folder.signature(storage.blocking())?;
        let naming = Naming::of(&folder.config, &signature);
        Ok((folder, naming.read_signature(signature)))
    };
    read().map_err(failure::at(pointer))
}

/// Bytes of all tensors.
fn bytes_of(signature: &Signature) -> u64 {
    let bytes = |t: &crate::engine::network::TensorInfo| {
        (t.dtype.size() * t.shape.iter().product::<usize>()) as u64
    };
    signature.values().map(bytes).sum()
}

/// Samples in each split.
struct Sizes {
    /// Of one sample, where there are any.
    sample_shape: Option<Vec<usize>>,
    /// Of all data files.
    bytes: u64,
    train: usize,
    validation: usize,
    test: usize,
}

impl Sizes {
    fn look(spec: &Spec, storage: &Storage) -> Result<Self, Failure> {
        let data = spec.data.as_ref();
        let (mut sample_shape, mut bytes) = (None, 0);
        let mut samples = |pointer: &str, uri: Option<&String>| -> Result<usize, Failure> {
            let Some(uri) = uri else { return Ok(0) };
            let place = location(storage, pointer, uri)?;
            let look = || {
                let info = dataset::look(storage, &place)?;
                Ok((info, storage.blocking().head(&place)?.size))
            };
            let (info, size) = look().map_err(failure::at(pointer))?;
            bytes += size;
            sample_shape.get_or_insert(info.sample_shape);
            Ok(info.samples)
        };
        let mut train = samples("/data/train", data.and_then(|d| d.train.as_ref()))?;
        let mut validation = samples("/data/validation", data.and_then(|d| d.validation.as_ref()))?;
        let mut test = samples("/data/test", data.and_then(|d| d.test.as_ref()))?;
        if validation == 0 {
            validation = train / 10;
            train -= validation;
        }
        if test == 0 {
            test = validation;
        }
        Ok(Self { sample_shape, bytes, train, validation, test })
    }

    fn estimate(
        &self,
        method: Method,
        spec: &Spec,
        timesteps: usize,
        (forward_flops, parameters): (f64, usize),
    ) -> Value {
        let batch = spec.options.batch_size.min(self.train);
        let gradients = match method {
            Method::Gmt => batch * timesteps * (timesteps + 1),
            Method::Fgmt => 2 * batch * timesteps,
            Method::Oracle => spec.fine_tune.clone().unwrap_or_default().epochs * self.train,
            Method::Gradfix => batch,
            Method::Bico => 2 * STATISTICS_SAMPLES.min(self.train),
            Method::Identity | Method::WeightMatching | Method::Theseus => 0,
        };
        let alphas = if matches!(spec.options.alpha, Alpha::Search) { ALPHAS.len() - 1 } else { 0 };
        let trials = if self.validation > 0 { timesteps + alphas } else { 0 };
        let forwards = trials * (self.validation + STATISTICS_SAMPLES.min(self.train)) + self.test;
        let cached = if method == Method::Fgmt { 2 * timesteps } else { 2 };
        json!({
            "method": method,
            "sample_gradients": gradients,
            "sample_forwards": forwards,
            "flops": forward_flops * (3 * gradients + forwards) as f64,
            "memory_bytes": 4 * parameters * (cached + 6),
        })
    }
}
