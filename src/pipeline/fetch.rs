//! From locations to checked values: graph, trajectory, target, data.
//!
//! Everything that can be wrong with the input is found here, before anything is computed.

use burn::tensor::Device;
use serde_json::{Value, json};

use super::{Failure, Job, failure, meter};
use crate::{
    artifacts::{self, Access, ArtifactError, InputFile, Model, ModelFolder, dataset, tensors},
    engine::{
        learning::{Dataset, Learner},
        ledger::Ledger,
        network::{Checkpoint, Graph, Input, Naming, Signature},
        symmetry::Symmetry,
        transfer::{STATISTICS_SAMPLES, Trajectory, compatibility::compare},
    },
    spec::{Data, Preprocess, TrajectoryKind},
    storage::{Location, Storage},
};

/// Share of the training data held out where no validation split is given.
const HELD_OUT: f64 = 0.1;

/// Everything a transfer computes from.
pub struct Inputs {
    pub graph: Graph,
    pub signature: Signature,
    pub symmetry: Symmetry,
    pub trajectory: Trajectory,
    pub target: Model,
    /// What the target's file calls its tensors.
    pub naming: Naming,
    pub splits: Splits,
    /// What was read, for the manifest.
    pub files: Vec<InputFile>,
}

/// The parts of the data. `validation` selects, `test` judges, only `train` feeds gradients.
#[derive(Default)]
pub struct Splits {
    pub train: Option<Dataset>,
    pub validation: Option<Dataset>,
    pub test: Option<Dataset>,
    /// Validation was held out of train, for none was given.
    pub held_out: bool,
    /// The gate is judged on validation, for no test split was given.
    pub test_is_validation: bool,
}

/// Where numerics run.
pub fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(burn::tensor::DeviceIndex::Default);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    Device::flex()
}

/// A location of the specification, if it may be used.
pub fn location(storage: &Storage, pointer: &str, text: &str) -> Result<Location, Failure> {
    storage.check_location(text).map_err(|error| failure::location(pointer, &error))
}

/// Reads and checks all inputs of a job.
pub fn inputs(job: &Job, access: Access) -> Result<Inputs, Failure> {
    let spec = job.spec;
    let mut files = Vec::new();
    let (target, naming) = model(access, "/target/base", &spec.target.base, &mut files)?;
    let splits = splits(job, access, &mut files)?;
    let signature = target.checkpoint.signature();
    let sample = splits.any().map(Dataset::sample_shape);
    let graph = read_graph("/target/base", &target.folder, &signature, sample)?;
    let symmetry = Symmetry::derive(&graph, &signature)
        .map_err(failure::graph("/target/base", &spec.target.base))?;
    let trajectory = trajectory(job, access, &target, &mut files)?;
    let inputs = Inputs { graph, signature, symmetry, trajectory, target, naming, splits, files };
    inputs.check_data(spec.data.as_ref())?;
    Ok(inputs)
}

/// A model under the names of its graph, and how its file calls them.
fn model(
    access: Access,
    pointer: &str,
    text: &str,
    files: &mut Vec<InputFile>,
) -> Result<(Model, Naming), Failure> {
    let place = location(access.storage, pointer, text)?;
    let open = || {
        let mut model = ModelFolder::look(access.storage.blocking(), &place)?.open(&access)?;
        tensors::check_finite(&model.checkpoint, &place)?;
        let naming = Naming::of(&model.folder.config, &model.checkpoint.signature());
        if let Some(copy) = naming.untied(&model.checkpoint) {
            let detail = "config.json ties it to the embedding, but their values differ";
            return Err(ArtifactError::tensor("malformed_config", &place, copy, detail));
        }
        model.checkpoint = naming.read(&model.checkpoint);
        Ok((model, naming))
    };
    let (model, naming) = open().map_err(failure::at(pointer))?;
    files.extend(model.inputs.iter().cloned());
    Ok((model, naming))
}

/// The graph of a model folder. A known family reads images of any size; a graph as data says
/// itself what it reads.
fn read_graph(
    pointer: &str,
    folder: &ModelFolder,
    signature: &Signature,
    sample: Option<&[usize]>,
) -> Result<Graph, Failure> {
    let mut graph = Graph::from_config(&folder.config, signature)
        .map_err(failure::graph(pointer, &folder.location.to_string()))?;
    if folder.config["model_type"] != "graph"
        && let (Input::Image { shape }, Some(&[channels, height, width])) =
            (&mut graph.input, sample)
        && shape[0] == channels
    {
        *shape = [channels, height, width];
    }
    Ok(graph)
}

fn trajectory(
    job: &Job,
    access: Access,
    target: &Model,
    files: &mut Vec<InputFile>,
) -> Result<Trajectory, Failure> {
    let (spec, options) = (job.spec, &job.spec.options);
    let (base, _) = model(access, "/source/base", &spec.source.base, files)?;
    let target_signature = target.checkpoint.signature();
    let same = |pointer: &str, of: &str, checkpoint: &Checkpoint| {
        let of = (of, &checkpoint.signature());
        compare(of, ("the target's base", &target_signature))
            .map_err(failure::incompatible(pointer))
    };
    same("/source/base", "the source's base", &base.checkpoint)?;
    let pointer = "/source/trajectory";
    let place = location(access.storage, pointer, &spec.source.trajectory)?;
    let stored =
        artifacts::Trajectory::look(access.storage.blocking(), &place, &base.folder.location)
            .map_err(failure::at(pointer))?;
    let wanted = match options.trajectory {
        TrajectoryKind::Linear => std::slice::from_ref(stored.last()),
        TrajectoryKind::Stored => &stored.checkpoints[1..],
    };
    let mut checkpoints = Vec::with_capacity(wanted.len());
    for step in wanted {
        let adapter = artifacts::Adapter::look(access.storage.blocking(), &step.model)
            .map_err(failure::at(pointer))?;
        let tuned = if let Some(adapter) = adapter {
            let (tuned, read) =
                adapter.open(&access, &base.checkpoint).map_err(failure::at(pointer))?;
            files.extend(read);
            tuned
        } else {
            model(access, pointer, &step.model.to_string(), files)?.0.checkpoint
        };
        same(pointer, "the tuned model", &tuned)?;
        checkpoints.push(tuned);
    }
    Ok(match (options.trajectory, checkpoints.pop()) {
        (TrajectoryKind::Linear, Some(tuned)) => {
            Trajectory::linear(base.checkpoint, tuned, options.schedule, options.timesteps)
        }
        (_, last) => {
            checkpoints.extend(last);
            Trajectory::stored(base.checkpoint, &checkpoints, options.timesteps)
        }
    })
}

fn splits(job: &Job, access: Access, files: &mut Vec<InputFile>) -> Result<Splits, Failure> {
    let Some(data) = &job.spec.data else { return Ok(Splits::default()) };
    let mut read = |pointer: &str, uri: &Option<String>| -> Result<Option<Dataset>, Failure> {
        let Some(uri) = uri else { return Ok(None) };
        let place = location(access.storage, pointer, uri)?;
        let (dataset, input) = dataset::read(&access, &place, data.preprocess.as_ref())
            .map_err(failure::at(pointer))?;
        files.push(input);
        Ok(Some(dataset))
    };
    let train = read("/data/train", &data.train)?;
    let validation = read("/data/validation", &data.validation)?;
    let test = read("/data/test", &data.test)?;
    Ok(Splits { train, validation, test, held_out: false, test_is_validation: false }
        .completed(job.spec.options.seed))
}

impl Splits {
    /// With validation held out of train and test taken from validation, where they are missing.
    fn completed(mut self, seed: u64) -> Self {
        if self.validation.is_none()
            && let Some(train) = &self.train
        {
            let (rest, held) = train.hold_out(HELD_OUT, seed);
            if !held.is_empty() && !rest.is_empty() {
                (self.train, self.validation) = (Some(rest), Some(held));
                self.held_out = true;
            }
        }
        if self.test.is_none() && self.validation.is_some() {
            self.test.clone_from(&self.validation);
            self.test_is_validation = true;
        }
        self
    }

    fn any(&self) -> Option<&Dataset> {
        self.train.as_ref().or(self.validation.as_ref()).or(self.test.as_ref())
    }
}

impl Inputs {
    fn check_data(&self, data: Option<&Data>) -> Result<(), Failure> {
        let target = failure::graph("/target/base", &self.target.folder.location.to_string());
        let learner = Learner::new(&self.graph, &self.signature, device()).map_err(target)?;
        let splits = &self.splits;
        for (pointer, dataset, given) in [
            ("/data/train", &splits.train, data.and_then(|d| d.train.as_ref())),
            ("/data/validation", &splits.validation, data.and_then(|d| d.validation.as_ref())),
            ("/data/test", &splits.test, data.and_then(|d| d.test.as_ref())),
        ] {
            let Some(dataset) = dataset else { continue };
            learner.check(dataset).map_err(|fault| Failure::Input {
                code: fault.code(),
                pointer: Some(pointer.into()),
                detail: match given {
                    Some(uri) => format!("{uri}: {fault}"),
                    None => fault.to_string(),
                },
            })?;
        }
        Ok(())
    }
}

/// A model on its own: its graph, symmetry and parameters.
fn alone(
    access: Access,
    model_uri: &str,
    sample: Option<&[usize]>,
) -> Result<(Model, Graph), Failure> {
    let (model, _) = model(access, "", model_uri, &mut Vec::new())?;
    let graph = read_graph("", &model.folder, &model.checkpoint.signature(), sample)?;
    Ok((model, graph))
}

/// The permutation groups of a model, as JSON (`retune symmetry`).
///
/// # Errors
/// What is wrong with the model.
pub fn groups(access: Access, model_uri: &str) -> Result<Value, Failure> {
    let (model, graph) = alone(access, model_uri, None)?;
    let symmetry = Symmetry::derive(&graph, &model.checkpoint.signature())
        .map_err(failure::graph("", model_uri))?;
    let member = |m: &crate::engine::symmetry::Member| json!({"tensor": m.tensor, "axis": m.axis, "start": m.start, "repeat": m.repeat});
    let group = |g: &crate::engine::symmetry::Group| {
        let members: Vec<Value> = g.members.iter().map(member).collect();
        json!({"name": g.name, "units": g.units, "members": members})
    };
    Ok(symmetry.groups.iter().map(group).collect())
}

/// Loss and accuracy of a model as it is, as JSON (`retune evaluate`). With `train`, batch-norm
/// statistics are re-estimated on it first.
///
/// # Errors
/// What is wrong with the model or the data.
pub fn evaluate(
    access: Access,
    model_uri: &str,
    data_uri: &str,
    preprocess: Option<&Preprocess>,
    train_uri: Option<&str>,
) -> Result<Value, Failure> {
    let read = |uri: &str| {
        let place = location(access.storage, "/data", uri)?;
        dataset::read(&access, &place, preprocess)
            .map(|(data, _)| data)
            .map_err(failure::at("/data"))
    };
    let data = read(data_uri)?;
    let (model, graph) = alone(access, model_uri, Some(data.sample_shape()))?;
    let learner = Learner::new(&graph, &model.checkpoint.signature(), device())
        .map_err(failure::graph("", model_uri))?;
    let refused = |fault: crate::engine::learning::DataFault| Failure::Input {
        code: fault.code(),
        pointer: Some("/data".into()),
        detail: fault.to_string(),
    };
    learner.check(&data).map_err(refused)?;
    let mut checkpoint = model.checkpoint;
    if let Some(train) = train_uri.map(read).transpose()? {
        learner.check(&train).map_err(refused)?;
        checkpoint = learner.with_statistics(&checkpoint, &train, STATISTICS_SAMPLES, 128);
    }
    let ledger = Ledger::new(meter::now);
    let start = ledger.now();
    let found = learner.evaluate(&checkpoint, &data);
    Ok(json!({"accuracy": found.accuracy, "loss": found.loss, "samples": data.len(),
              "seconds": ledger.now() - start}))
}
