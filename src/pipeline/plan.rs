//! The check and the estimate that `plan` gives, from headers alone; and, where two models number as
//! many tokens by different lists, from these.

mod headers;
mod memory;
mod samples;
mod seconds;
mod sizes;
mod work;

use std::path::Path;

use super::{
    device::{is_gpu_chosen, planned_device},
    failure::{self, Failure},
    inputs::{adopted_head, by_names, measure, preprocess, read},
    output::{self, Place},
};
use crate::{
    artifacts::dataset::Reading,
    contract::{
        plan::{MethodPlan, Plan, Speeds},
        spec::{Methods, Spec, TrajectoryKind},
    },
    engine::{
        network::Graph,
        symmetry::Symmetry,
        tensors::{Signature, TensorInfo},
        training::{DeviceNeeds, Load, flops::forward_flops},
        transfer::{Method, ladder},
    },
    storage::Storage,
};
use headers::Models;
pub use memory::DeviceMemoryPlan;
use samples::{MethodRun, Samples};
use sizes::Bytes;

/// Checks a specification against its artifacts' headers and estimates what a run would compute.
///
/// Time and memory rest on a calibration of this machine, kept in `cache`.
///
/// # Errors
/// As [`super::run()`], for what headers can show.
pub fn plan(spec: &Spec, storage: &Storage, cache: Option<&Path>) -> Result<Plan, Failure> {
    let forecast = Forecast::look(spec, storage)?;
    let job = forecast.job(spec);
    let Forecast {
        network,
        samples,
        methods,
        timesteps,
        ..
    } = &forecast;

    let methods = methods
        .iter()
        .map(|method| forecast.method(*method, spec, job.memory_of(*method)));
    let speeds = Speeds::of_this_machine(cache);
    let groups = &network.symmetry.groups;

    Ok(Plan {
        parameters: network.parameters,
        timesteps: *timesteps,
        network: by_names::network(&network.graph),
        device: planned_device(),
        device_memory_bytes: is_gpu_chosen().then(|| job.device_memory().bytes as f64),
        groups: groups.len(),
        largest_group: groups.iter().map(|group| group.units).max().unwrap_or(0),
        samples: samples.counts(),
        unlabelled: samples.unlabelled.names().map(str::to_owned).collect(),
        methods: methods.collect(),
        estimate: job.estimate(&speeds),
        speeds,
        assumptions: ASSUMPTIONS.to_owned(),
    })
}

const ASSUMPTIONS: &str = "seconds and memory within about a factor of two; a method's sample counts \
    are the most that its candidate takes (validation held out of train is stratified), and most models \
    see fewer samples; seconds are the most, every rung of auto, and seconds_least one look at its first \
    rung alone; under auto gradfix masks the best so far, here its default; FLOPs count matrix products";

/// What a job is expected to hold at once, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The most in host memory.
    pub host: f64,
    /// The least on a GPU.
    pub device: DeviceMemoryPlan,
}

/// What a job holds in host memory, and on a GPU.
///
/// # Errors
/// As [`plan`].
pub fn memory(spec: &Spec, storage: &Storage) -> Result<Memory, Failure> {
    let forecast = Forecast::look(spec, storage)?;
    let job = forecast.job(spec);
    Ok(Memory {
        host: job.most_memory(),
        device: job.device_memory(),
    })
}

/// A job by its headers.
struct Forecast {
    models: Models,
    samples: Samples,
    network: Network,
    methods: Vec<Method>,
    timesteps: usize,
}

impl Forecast {
    fn look(spec: &Spec, storage: &Storage) -> Result<Self, Failure> {
        output::location(storage, &spec.output, Place::Final)?;
        let models = Models::look(spec, storage)?;
        let graph = read::graph("/target/base", &models.folder, &models.target, None)?;
        by_names::check(spec, &graph)?;
        let reading = Reading {
            preprocess: preprocess(spec),
            channels: read::channels(&graph),
            labels: graph.task.into(),
            ..Reading::default()
        };
        let samples = Samples::look(spec, storage, reading)?;
        measure::check(spec, &graph)?;
        samples.unlabelled.check(spec)?;
        let network = Network::of(spec, &models, &samples)?;

        let timesteps = match spec.options.trajectory {
            TrajectoryKind::Linear => spec.options.timesteps,
            TrajectoryKind::Stored => spec.options.timesteps.min(models.checkpoints - 1),
        };
        let methods = match &spec.methods {
            Methods::Named(methods) => methods.iter().map(|method| Method::from(*method)).collect(),
            Methods::Auto if network.graph.by_names().is_some() => vec![Method::Identity],
            Methods::Auto => {
                let has_labels = !samples.unlabelled.train;
                ladder::methods(samples.train > 0, has_labels, models.across_widths)
            }
        };

        Ok(Self {
            models,
            samples,
            network,
            methods,
            timesteps,
        })
    }

    /// What a method's candidate takes.
    fn method(&self, method: Method, spec: &Spec, memory_bytes: f64) -> MethodPlan {
        let count = self.samples.candidate(MethodRun {
            method,
            spec,
            timesteps: self.timesteps,
            has_batch_norm: self.network.graph.has_batch_norm(),
            across_widths: self.models.across_widths,
            parameters: self.network.parameters,
        });
        let passes = (3 * count.gradients + count.forwards) as f64;

        MethodPlan {
            method: method.into(),
            sample_gradients: count.gradients,
            sample_forwards: count.forwards,
            flops: self.network.flops * passes,
            memory_bytes,
        }
    }

    fn job<'a>(&'a self, spec: &'a Spec) -> sizes::Job<'a> {
        let Self {
            models,
            samples,
            network,
            methods,
            timesteps,
        } = self;
        let target = bytes_of(&models.target);

        sizes::Job {
            spec,
            methods,
            timesteps: *timesteps,
            parameters: network.parameters,
            largest_tensor: models
                .target
                .values()
                .map(elements)
                .max()
                .unwrap_or_default(),
            load: network.load,
            device: network.device,
            has_batch_norm: network.graph.has_batch_norm(),
            samples: samples.counts(),
            bytes: Bytes {
                models: 2 * target + bytes_of(&models.base),
                data: samples.bytes,
                held: samples.held,
                result: target,
            },
            matching: work::Matching::of(&network.symmetry, &models.target),
        }
    }
}

/// The new base's network, and what one sample asks of it.
struct Network {
    graph: Graph,
    symmetry: Symmetry,
    load: Load,
    device: DeviceNeeds,
    /// Of one sample's forward pass.
    flops: f64,
    parameters: usize,
}

impl Network {
    fn of(spec: &Spec, models: &Models, samples: &Samples) -> Result<Self, Failure> {
        let target = &models.target;
        let fault = failure::graph("/target/base", &spec.target.base);
        let graph = read::graph("/target/base", &models.folder, target, samples.size())?;
        adopted_head::check(&graph, spec.options.head, models.head.as_ref())?;
        let program = graph.resolve(target).map_err(&fault)?;
        if graph.has_loss() {
            samples.check(&program, program.classes().map_err(&fault)?)?;
        }
        let symmetry = Symmetry::of(&program);
        let flops = forward_flops(&program);
        let load = Load::of(&program);
        let inseparable = if graph.has_batch_norm() {
            let fine_tune = spec.fine_tune.as_ref().map_or(0, |plan| plan.batch_size);
            let batch = spec.options.batch_size.max(fine_tune);
            batch.min(samples.counts().train).max(1)
        } else {
            1
        };
        let device = DeviceNeeds::of(&program, target, inseparable);
        let floats = target.values().filter(|tensor| tensor.dtype.is_float());
        let parameters = floats.map(elements).sum();

        Ok(Self {
            graph,
            symmetry,
            load,
            device,
            flops,
            parameters,
        })
    }
}

fn elements(tensor: &TensorInfo) -> usize {
    tensor.shape.iter().product()
}

/// Bytes of all tensors.
fn bytes_of(signature: &Signature) -> u64 {
    signature
        .values()
        .map(|tensor| (tensor.dtype.size() * elements(tensor)) as u64)
        .sum()
}
