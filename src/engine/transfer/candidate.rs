//! From an alignment to one model: which step and which α, by a race on validation samples.
//!
//! The first look is α = 1 at the last step. Where that is as good as the old tuned model nothing else is
//! tried. Where all steps have one π and the trajectory is straight, the steps are the line that α walks
//! along, and α alone is searched; elsewhere the steps are searched first. See [`search`].

mod line;
mod search;

use serde::Serialize;

use super::{
    alignment::Alignment,
    error::TransferError,
    evidence::{AlphasByGroup, Evidence, FunctionalEvidence, GroupEvidence, MapEvidence, Mask},
    options::{Alpha, Method, Step},
    problem::Problem,
    race::{Race, Record, Runner},
    transport::Transport,
};
use crate::{tensors::Checkpoint, training::Cost};
pub use line::{LINE, LOOK, MOST_ARMS, RACES};
use search::Search;

/// The α beside which `alpha: search` looks; 1 is the step that was matched and wins ties.
pub const ALPHAS: [f64; 7] = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0];

/// A transferred model and how it was chosen.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub method: Method,
    /// `s*`
    pub step: usize,
    pub alpha: f64,
    /// Updates were made orthogonal to what lies between the bases.
    pub orthogonal_shift: bool,
    pub transport: Transport,
    pub model: Checkpoint,
    /// What it did on the validation samples that chose, as far as it saw them.
    pub validation: Option<Record>,
    /// Validation by step, at α = 1: of the steps that were looked at.
    pub steps: Vec<Score>,
    /// Validation by α, at the chosen step: of those that were looked at.
    pub alphas: Vec<(f64, Score)>,
    pub evidence: Vec<Evidence>,
    pub groups: Vec<GroupEvidence>,
    /// The method whose alignment this one's builds upon.
    pub builds_on: Option<Method>,
    pub mask: Option<Mask>,
    pub maps: Option<MapEvidence>,
    pub functional: Option<FunctionalEvidence>,
    /// Where an α was searched for each group.
    pub by_group: Option<AlphasByGroup>,
    /// Everything this method spent, selection included.
    pub cost: Cost,
    pub seconds: f64,
}

/// A figure on validation samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    pub step: usize,
    pub accuracy: f64,
    pub loss: f64,
    /// Samples that it rests on.
    pub samples: usize,
}

impl Score {
    fn of(step: usize, record: &Record) -> Self {
        let (accuracy, loss, samples) = (record.accuracy(), record.loss(), record.samples());
        Self {
            step,
            accuracy,
            loss,
            samples,
        }
    }
}

impl Candidate {
    /// Whether the samples that choose have chosen its step or α among several.
    pub fn is_searched(&self) -> bool {
        self.steps.len() > 1 || self.alphas.len() > 1
    }
}

/// How a candidate is chosen.
#[derive(Clone, Copy)]
pub struct Selection<'s> {
    pub step: Step,
    pub alpha: Alpha,
    /// The samples that choose, and the rules; `None` without validation.
    pub race: Option<Race<'s>>,
    /// The chosen point is measured on all samples, whatever it raced against.
    pub completes: bool,
}

/// Other models that the candidate meets while it is chosen.
#[derive(Default)]
pub struct Incumbents<'r> {
    /// The old tuned model: where the first look is as good, nothing else is tried.
    pub old: Option<&'r mut dyn Runner>,
    /// The best candidate so far: what is shown to be behind it sees no more samples.
    pub leader: Option<&'r mut dyn Runner>,
}

/// Chooses step and α. Ties go to the later step and to α = 1; without validation the last step
/// and α = 1 are taken.
///
/// # Errors
/// When the caller interrupts.
pub fn select(
    method: Method,
    problem: &Problem,
    alignment: Alignment,
    selection: Selection,
    incumbents: Incumbents,
) -> Result<Candidate, TransferError> {
    let found = match selection.race {
        Some(race) => Search {
            problem,
            race,
            transports: &alignment.transports,
        }
        .run(selection, incumbents)?,
        None => SelectedPoint::unseen(problem, &alignment, selection.alpha),
    };

    let SelectedPoint {
        step,
        alpha,
        model,
        record,
        steps,
        alphas,
    } = found;
    let Alignment {
        transports,
        evidence,
        groups,
        mask,
        maps,
        functional,
    } = alignment;
    Ok(Candidate {
        method,
        step,
        alpha,
        orthogonal_shift: problem.orthogonal_shift,
        transport: transports[step - 1].clone(),
        model,
        validation: record,
        steps,
        alphas,
        evidence,
        groups,
        builds_on: None,
        mask,
        maps,
        functional,
        by_group: None,
        cost: Cost::default(),
        seconds: 0.0,
    })
}

/// The point that was chosen, and what was looked at.
struct SelectedPoint {
    step: usize,
    alpha: f64,
    model: Checkpoint,
    record: Option<Record>,
    steps: Vec<Score>,
    alphas: Vec<(f64, Score)>,
}

impl SelectedPoint {
    /// The last step, and α as it is given: what stands where nothing chooses.
    fn unseen(problem: &Problem, alignment: &Alignment, alpha: Alpha) -> Self {
        let (step, alpha) = (problem.trajectory.timesteps(), alpha.first());
        let model = problem.finished(&alignment.transports[step - 1], step, alpha);
        let (steps, alphas) = (Vec::new(), Vec::new());

        Self {
            step,
            alpha,
            model,
            record: None,
            steps,
            alphas,
        }
    }
}

#[cfg(test)]
mod tests;
