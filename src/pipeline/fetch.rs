//! From locations to checked values: graph, trajectory, target, data.
//!
//! Everything that can be wrong with the input is found here, before anything is computed.

use serde_json::{Value, json};

use super::{
    Failure, Job, checked_device, device, failure, meter,
    models::{self, Models},
    preprocess::Stated,
};
use crate::{
    artifacts::{
        Access, ArtifactError, InputFile, Model, ModelFolder,
        dataset::{self, Reading},
        tensors,
    },
    contract::spec::{Data, Head, Preprocess},
    engine::{
        learning::{Dataset, Learner},
        ledger::Ledger,
        network::{Graph, Input, Naming, Signature},
        symmetry::Symmetry,
        transfer::{STATISTICS_SAMPLES, Trajectory, compatibility::AdoptedHead, rows::SharedRows},
    },
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
    /// The files of the old base.
    pub source_base: Vec<InputFile>,
    /// Tensors of the trajectory's own first checkpoint that are not the old base's.
    pub other_start: usize,
    pub target: Model,
    /// What the target's file calls its tensors.
    pub naming: Naming,
    /// The source's network, where it differs in width.
    pub source: Option<(Graph, Signature)>,
    /// The head that a base lacks.
    pub head: Option<AdoptedHead>,
    /// Classes and tokens that the bases number differently.
    pub shared_rows: Vec<SharedRows>,
    /// What was read otherwise than somebody may expect.
    pub notes: Vec<String>,
    pub splits: Splits,
    /// How the new base says that images are normalised, where the job does not.
    pub stated: Option<Stated>,
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

/// A location of the specification, if it may be used.
pub fn location(storage: &Storage, pointer: &str, text: &str) -> Result<Location, Failure> {
    storage.check_location(text).map_err(|error| failure::location(pointer, &error))
}

/// Reads and checks all inputs of a job.
pub fn inputs(job: &Job, access: Access) -> Result<Inputs, Failure> {
    let spec = job.spec;
    let mut files = Vec::new();
    let Models {
        target,
        naming,
        trajectory,
        source_base,
        other_start,
        head,
        source_graph,
        shared_rows,
        notes,
    } = models::read(job, access, &mut files)?;
    let signature = target.checkpoint.signature();
    let stated = match spec.data.as_ref().and_then(|data| data.preprocess.as_ref()) {
        Some(_) => None,
        None => Stated::of(access.storage, "/target/base", &target.folder)?,
    };
    let channels = channels("/target/base", &target.folder, &signature)?;
    let splits = splits(job, access, (channels, stated.as_ref()), &mut files)?;
    let graph = read_graph("/target/base", &target.folder, &signature, splits.sample().as_deref())?;
    check_head(&graph, spec.options.head, head.as_ref())?;
    let symmetry = Symmetry::derive(&graph, &signature)
        .map_err(failure::graph("/target/base", &spec.target.base))?;
    let source = source_graph.map(|source| {
        // It reads what the target reads.
        (Graph { input: graph.input.clone(), ..source }, trajectory.base().signature())
    });
    let inputs = Inputs {
        graph,
        signature,
        symmetry,
        trajectory,
        source_base,
        other_start,
        target,
        naming,
        source,
        head,
        shared_rows,
        notes,
        splits,
        stated,
        files,
    };
    inputs.check_data(spec.data.as_ref())?;
    Ok(inputs)
}

/// Refuses what cannot be done with a head that is not the model's alone, or is not there.
pub(super) fn check_head(
    graph: &Graph,
    wanted: Head,
    adopted: Option<&AdoptedHead>,
) -> Result<(), Failure> {
    let refused = |code, detail: &str| {
        let pointer = Some("/options/head".into());
        Err(Failure::Input { code, pointer, detail: detail.to_owned() })
    };
    if adopted.is_some() && wanted == Head::Keep {
        let detail = "a base has no head of the task, or one of other classes, so that there is none to keep; \
                      \"source\" is what can be done";
        return refused("no_head", detail);
    }
    if graph.head().is_none() && wanted != Head::Transport {
        let detail = "the network's last node has no parameters: it has no output layer to take or to \
                      keep, only \"transport\" is left";
        return refused("no_head", detail);
    }
    if graph.head_is_tied() && wanted != Head::Transport {
        let detail = "the output matrix is the embedding, which belongs to the whole network: it can \
                      only be transported";
        return refused("tied_head", detail);
    }
    Ok(())
}

/// A model under the names of its graph, and how its file calls them.
pub(super) fn model(
    access: Access,
    pointer: &str,
    text: &str,
    files: &mut Vec<InputFile>,
) -> Result<(Model, Naming), Failure> {
    model_at(access, pointer, &location(access.storage, pointer, text)?, files)
}

/// The same of a location that has been checked: the path of one may hold what a URI may not.
pub(super) fn model_at(
    access: Access,
    pointer: &str,
    place: &Location,
    files: &mut Vec<InputFile>,
) -> Result<(Model, Naming), Failure> {
    let open = || {
        let mut model = ModelFolder::look(access.storage.blocking(), place)?.open(&access)?;
        tensors::check_finite(&model.checkpoint, place)?;
        let naming = Naming::of(&model.folder.config, &model.checkpoint.signature());
        if let Some(copy) = naming.untied(&model.checkpoint) {
            let detail = "config.json ties it to the embedding, but their values differ";
            return Err(ArtifactError::tensor("malformed_config", place, copy, detail));
        }
        model.checkpoint = naming.read(&model.checkpoint);
        Ok((model, naming))
    };
    let (model, naming) = open().map_err(failure::at(pointer))?;
    files.extend(model.inputs.iter().cloned());
    Ok((model, naming))
}

/// The graph of a model folder. A known family reads images of any size and sentences up to its
/// longest; a graph as data says itself what it reads.
pub(super) fn read_graph(
    pointer: &str,
    folder: &ModelFolder,
    signature: &Signature,
    sample: Option<&[usize]>,
) -> Result<Graph, Failure> {
    let fault = failure::graph(pointer, &folder.location.to_string());
    let of_its_own_size = Graph::from_config(&folder.config, signature).map_err(&fault)?;
    let Some(sample) = sample else { return Ok(of_its_own_size) };

    // Where the network does not read such samples, it says so itself when the data are checked.
    let sized = Graph::for_samples(&folder.config, signature, sample);
    Ok(sized.ok().filter(|graph| graph.shapes(signature).is_ok()).unwrap_or(of_its_own_size))
}

/// Channels of the images that a model reads.
pub(super) fn channels(
    pointer: &str,
    folder: &ModelFolder,
    signature: &Signature,
) -> Result<Option<usize>, Failure> {
    Ok(match read_graph(pointer, folder, signature, None)?.input {
        Input::Image { shape: [channels, ..] } => Some(channels),
        _ => None,
    })
}

fn splits(
    job: &Job,
    access: Access,
    (channels, stated): (Option<usize>, Option<&Stated>),
    files: &mut Vec<InputFile>,
) -> Result<Splits, Failure> {
    let Some(data) = &job.spec.data else { return Ok(Splits::default()) };
    let reading = Reading {
        preprocess: data.preprocess.as_ref(),
        stated: stated.map(|stated| &stated.values),
        channels,
    };
    let mut read = |pointer: &str, uri: &Option<String>| -> Result<Option<Dataset>, Failure> {
        let Some(uri) = uri else { return Ok(None) };
        let place = location(access.storage, pointer, uri)?;
        let (dataset, read) =
            dataset::read(&access, &place, reading).map_err(failure::at(pointer))?;
        files.extend(read);
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

    /// The shape of a sample; of sentences the longest.
    pub(super) fn sample(&self) -> Option<Vec<usize>> {
        let all = [&self.train, &self.validation, &self.test].into_iter().flatten();
        let shapes = all.map(Dataset::sample_shape);
        let longer = |a: &[usize], b: &[usize]| a.len() == 1 && b.len() == 1 && b > a;
        shapes.reduce(|a, b| if longer(a, b) { b } else { a }).map(<[usize]>::to_vec)
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

/// A model's folder and the headers of its tensors, under the names of its graph.
pub(super) fn headers(
    storage: &Storage,
    pointer: &str,
    text: &str,
) -> Result<(ModelFolder, Signature), Failure> {
    headers_at(storage, pointer, &location(storage, pointer, text)?)
}

/// The same of a location that has been checked.
pub(super) fn headers_at(
    storage: &Storage,
    pointer: &str,
    place: &Location,
) -> Result<(ModelFolder, Signature), Failure> {
    let read = || {
        let folder = ModelFolder::look(storage.blocking(), place)?;
        let signature = folder.signature(storage.blocking())?;
        let naming = Naming::of(&folder.config, &signature);
        Ok((folder, naming.read_signature(signature)))
    };
    read().map_err(failure::at(pointer))
}

/// The permutation groups of a model, from its headers, as JSON (`retune symmetry`).
///
/// # Errors
/// What is wrong with the model.
pub fn groups(storage: &Storage, model_uri: &str) -> Result<Value, Failure> {
    let (folder, signature) = headers(storage, "", model_uri)?;
    let graph = read_graph("", &folder, &signature, None)?;
    let symmetry = Symmetry::derive(&graph, &signature).map_err(failure::graph("", model_uri))?;
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
    let (model, _) = model(access, "", model_uri, &mut Vec::new())?;
    let signature = model.checkpoint.signature();
    let stated = match preprocess {
        Some(_) => None,
        None => Stated::of(access.storage, "", &model.folder)?,
    };
    let reading = Reading {
        preprocess,
        stated: stated.as_ref().map(|stated| &stated.values),
        channels: channels("", &model.folder, &signature)?,
    };
    let read = |uri: &str| {
        let place = location(access.storage, "/data", uri)?;
        dataset::read(&access, &place, reading).map(|(data, _)| data).map_err(failure::at("/data"))
    };
    let data = read(data_uri)?;
    let graph = read_graph("", &model.folder, &signature, Some(data.sample_shape()))?;
    let learner = Learner::new(&graph, &signature, checked_device()?)
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
    failure::check_loss(found.loss)?;
    Ok(json!({"accuracy": found.accuracy, "loss": found.loss, "samples": data.len(),
              "seconds": ledger.now() - start}))
}
