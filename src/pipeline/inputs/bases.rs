//! The models of a transfer, brought under one signature: old base, tuning, new base.
//!
//! Every tensor of one must be found in the others, in the same shape. The exceptions are a head that
//! only the tuned model has ([`AdoptedHead`]), classes and tokens that both models name
//! ([`SharedRows`]), and bases that differ in width alone, for the methods that lead from one to the
//! other ([`compare`]).

mod compare;
mod three;

use super::{
    Configured, TRAJECTORY, by_names, computation,
    stated::{Files, Stated},
};
use crate::{
    artifacts::{Access, InputFile, Model},
    contract::spec::{Spec, TrajectoryKind},
    engine::{
        network::{Graph, Naming},
        tensors::Checkpoint,
        transfer::{Trajectory, compatibility::AdoptedHead, shared_vocabulary::SharedRows},
    },
    pipeline::{failure::Failure, job::Job},
};
use three::{Three, Unified};

pub use compare::{at_another_width, same_as_tuned};

/// Old and new, with the same tensors.
pub struct Bases {
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
    /// What was read otherwise than somebody may expect, for the report's warnings.
    pub notes: Vec<String>,
    /// How the old tuned model says that its images are normalised.
    pub stated_by_tuned: Option<Stated>,
}

/// Reads the three and makes them comparable.
///
/// # Errors
/// What is wrong with one of them; `incompatible_models`.
pub fn read(job: &Job, access: Access, files: &mut Vec<InputFile>) -> Result<Bases, Failure> {
    let three = Three::read(job, access, files)?;
    let unified = three.unified(access, files)?;
    let compared = unified.compared(job.spec, access)?;
    Ok(unified.into_bases(job, compared))
}

/// What a comparison of the three says.
struct Compared {
    /// The source's network, where it differs in width.
    source_graph: Option<Graph>,
    /// Where the new base computes otherwise than the tuned model, and may.
    update: Option<String>,
    stated_by_tuned: Option<Stated>,
}

impl Unified {
    fn compared(&self, spec: &Spec, access: Access) -> Result<Compared, Failure> {
        let Three {
            base,
            old,
            tuning,
            target,
            ..
        } = &self.three;
        let (own, wanted) = (base.signature(), target.checkpoint.signature());
        let before = Configured {
            config: &old.config,
            signature: &own,
        };

        let new = Configured {
            config: &target.folder.config,
            signature: &wanted,
        };
        let source_graph = at_another_width(spec, before, new)?;

        let tuned = Configured {
            config: &tuning.config,
            signature: &tuning.last().signature(),
        };
        let update = computation::check(tuned, new)?;
        let files = Files {
            config: &tuning.config,
            others: &tuning.other_files,
        };

        let stated_by_tuned = Stated::of(access.storage, TRAJECTORY, files)?;

        let across_widths = source_graph.is_some();
        for checkpoint in &tuning.checkpoints {
            same_as_tuned(&checkpoint.signature(), &own, &wanted, across_widths)?;
        }

        if by_names::is(tuned) {
            by_names::check_whole_numbers(base, tuning.last())?;
        }
        Ok(Compared {
            source_graph,
            update,
            stated_by_tuned,
        })
    }

    fn into_bases(self, job: &Job, compared: Compared) -> Bases {
        let Self {
            three,
            head,
            shared_rows,
        } = self;
        let tensors = head
            .as_ref()
            .map(|head| head.tensors.clone())
            .unwrap_or_default();
        let trajectory = trajectory(job, three.base, three.tuning.checkpoints)
            .with_head(tensors)
            .with_rows(shared_rows.clone());

        let mut notes = three.tuning.notes;
        notes.extend(compared.update);

        Bases {
            target: three.target,
            naming: three.naming,
            trajectory,
            source_base: three.source_base,
            other_start: three.tuning.other_start,
            head,
            source_graph: compared.source_graph,
            shared_rows,
            notes,
            stated_by_tuned: compared.stated_by_tuned,
        }
    }
}

fn trajectory(job: &Job, base: Checkpoint, mut checkpoints: Vec<Checkpoint>) -> Trajectory {
    let options = &job.spec.options;
    match (options.trajectory, checkpoints.pop()) {
        (TrajectoryKind::Linear, Some(tuned)) => {
            Trajectory::linear(base, tuned, options.schedule.into(), options.timesteps)
        }
        (_, last) => {
            checkpoints.extend(last);
            Trajectory::stored(base, &checkpoints, options.timesteps)
        }
    }
}
