//! From locations to checked values: graph, trajectory, target, data.
//!
//! Everything that can be wrong with the input is found here, before anything is computed.

pub mod adopted_head;
pub mod bases;
pub mod by_names;
mod computation;
pub mod measure;
pub mod read;
pub mod shared_rows;
mod splits;
mod stated;
mod tuning;
mod unlabelled;

use std::ops::ControlFlow;

use super::{
    device::learner,
    failure::{self, Failure},
    job::{Job, Stop},
};
use crate::{
    artifacts::{
        Access, InputFile, Model,
        dataset::{LabelForm, Reading},
    },
    contract::{
        codes::FailureCode,
        report,
        spec::{Data, Preprocess, Spec},
    },
    engine::{
        network::{Graph, Naming},
        symmetry::Symmetry,
        tensors::{Checkpoint, Signature},
        training::{Cost, Runnable},
        transfer::{Trajectory, compatibility::AdoptedHead, shared_vocabulary::SharedRows},
    },
};

pub use crate::engine::transfer::compatibility::Configured;
pub use splits::{Splits, larger};
pub use stated::Stated;
pub use tuning::same_body;
pub use unlabelled::Unlabelled;

/// The pointer to what the tuning left.
pub const TRAJECTORY: &str = "/source/trajectory";

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
    /// Of predicting the labels that the data lack.
    pub labelling: Cost,
}

/// Reads and checks all inputs of a job.
pub fn read(job: &Job, access: Access) -> Result<Inputs, Failure> {
    let spec = job.spec;
    let mut files = Vec::new();
    let bases = bases::read(job, access, &mut files)?;
    let target = &bases.target;
    let signature = target.checkpoint.signature();
    let of_its_own_size = read::graph("/target/base", &target.folder, &signature, None)?;
    by_names::check(spec, &of_its_own_size)?;

    let samples = read_samples(job, access, target, &of_its_own_size, &mut files)?;
    let mut notes = bases.notes;
    notes.extend(samples.read_otherwise(bases.stated_by_tuned, preprocess(spec)));
    let Samples { mut splits, stated } = samples;
    let graph = read::graph("/target/base", &target.folder, &signature, splits.sample())?;

    adopted_head::check(&graph, spec.options.head, bases.head.as_ref())?;
    let symmetry = Symmetry::derive(&graph, &signature)
        .map_err(failure::graph("/target/base", &spec.target.base))?;
    // It reads what the target reads.
    let source = bases.source_graph.map(|source| Graph {
        input: graph.input.clone(),
        target: graph.target,
        ..source
    });
    let source = source.map(|source| (source, bases.trajectory.base().signature()));

    splits.unlabelled.check(spec)?;
    measure::check(spec, &graph)?;
    let network = Network {
        graph: &graph,
        signature: &signature,
    };
    network.check(&splits, target, spec.data.as_ref())?;
    let old = match &source {
        Some((graph, signature)) => Network { graph, signature },
        None => network,
    };
    let labelling = old.label(&mut splits, bases.trajectory.tuned(), job)?;

    Ok(Inputs {
        graph,
        signature,
        symmetry,
        trajectory: bases.trajectory,
        source_base: bases.source_base,
        other_start: bases.other_start,
        target: bases.target,
        naming: bases.naming,
        source,
        head: bases.head,
        shared_rows: bases.shared_rows,
        notes,
        splits,
        stated,
        files,
        labelling,
    })
}

/// A job's data, and how the new base says that their images are normalised, where the job does not.
struct Samples {
    splits: Splits,
    stated: Option<Stated>,
}

impl Samples {
    /// What is said where the tuned model states that its images are normalised otherwise.
    fn read_otherwise(
        &self,
        tuned: Option<Stated>,
        preprocess: Option<&Preprocess>,
    ) -> Option<String> {
        let are_images = (self.splits.sample()).is_some_and(|sample| sample.shape.len() == 3);
        let used = preprocess.or(self.stated.as_ref().map(|stated| &stated.values));
        tuned.filter(|_| are_images)?.read_otherwise(used)
    }
}

/// Reads the data as the network of `graph` does.
fn read_samples(
    job: &Job,
    access: Access,
    target: &Model,
    graph: &Graph,
    files: &mut Vec<InputFile>,
) -> Result<Samples, Failure> {
    let preprocess = preprocess(job.spec);
    let stated = match preprocess {
        Some(_) => None,
        None => Stated::of(access.storage, "/target/base", (&target.folder).into())?,
    };

    let reading = Reading {
        preprocess,
        stated: stated.as_ref().map(|stated| &stated.values),
        channels: read::channels(graph),
        labels: graph.task.into(),
    };
    let splits = splits::read(job, access, reading, files)?;

    Ok(Samples { splits, stated })
}

/// The normalisation that a job asks for.
pub fn preprocess(spec: &Spec) -> Option<&Preprocess> {
    spec.data.as_ref()?.preprocess.as_ref()
}

impl Inputs {
    /// What is known of the new base's network.
    pub fn network(&self) -> report::Network {
        by_names::network(&self.graph)
    }
}

/// A network that reads the data.
#[derive(Clone, Copy)]
struct Network<'a> {
    graph: &'a Graph,
    signature: &'a Signature,
}

impl Network<'_> {
    /// Refuses data that the new base's network does not read.
    fn check(&self, splits: &Splits, target: &Model, data: Option<&Data>) -> Result<(), Failure> {
        if !self.graph.has_loss() {
            return Ok(()); // there are none: see `by_names::check`
        }

        let fault = failure::graph("/target/base", &target.folder.location.to_string());
        let learner = learner(self.graph, self.signature).map_err(fault)?;
        for (pointer, dataset, given) in [
            (
                "/data/train",
                &splits.train,
                data.and_then(|d| d.train.as_ref()),
            ),
            (
                "/data/validation",
                &splits.validation,
                data.and_then(|d| d.validation.as_ref()),
            ),
            (
                "/data/test",
                &splits.test,
                data.and_then(|d| d.test.as_ref()),
            ),
        ] {
            let Some(dataset) = dataset else { continue };
            learner.check(dataset).map_err(|fault| Failure::Input {
                code: FailureCode::from(&fault),
                pointer: Some(pointer.into()),
                detail: match given {
                    Some(uri) => format!("{uri}: {fault}"),
                    None => fault.to_string(),
                },
            })?;
        }

        Ok(())
    }

    /// Where the data have no labels, the old tuned model's predictions take their place: what that cost.
    fn label(&self, splits: &mut Splits, tuned: &Checkpoint, job: &Job) -> Result<Cost, Failure> {
        if !splits.unlabelled.is_any() {
            return Ok(Cost::default());
        }

        let fault = failure::graph(TRAJECTORY, &job.spec.source.trajectory);
        let learner = learner(self.graph, self.signature).map_err(fault)?;
        let old_tuned = Runnable {
            learner: &learner,
            params: tuned,
        };
        let form = LabelForm::from(self.graph.task);
        let labelled = splits.label_by(old_tuned, form, &|| match job.progress.go_on() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        if labelled.is_none() {
            // Why is known to those who asked.
            return Err(Failure::Stopped(Stop::Cancelled));
        }

        Ok(learner.cost())
    }
}
