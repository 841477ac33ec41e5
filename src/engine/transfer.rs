//! Learning transfer: the tuning of one base model, carried over to another.
//!
//! Notation of Chijiwa, "Transferring Learning Trajectories of Neural Networks" (ICLR 2024):
//! `θ_A⁰` is the old base, `θ_A^t` the stored trajectory, `θ_B⁰` the new base, `π` a permutation of
//! hidden units, `T` the number of timesteps.
//!
//! 1. [`Trajectory`]: the points `θ_A^t`, on the segment to the tuned model or stored (section 3.2).
//! 2. [`methods`]: each finds a permutation `π_s` for every step `s` ([`Alignment`]).
//! 3. [`Problem::carried`]: `θ_B⁰ + α π_s (θ_A^s − θ_A⁰)`, the candidate at step `s`.
//! 4. [`candidate`]: the best step and the best α by validation; [`ladder`]: which method next, by
//!    the [`diagnosis`] of the bases and what validation has said so far, and which is the best.
//!
//! Nothing here reads the test split, a clock or a store.

pub mod candidate;
pub mod compatibility;
pub mod diagnosis;
pub mod ladder;
pub mod low_rank;
pub mod maps;
pub mod methods;
pub mod options;
pub mod rows;
pub mod schedule;
pub mod shelf;
pub mod ties;
mod trajectory;
mod transport;
pub mod widths;

use std::ops::ControlFlow;

pub use candidate::{Candidate, Score};
pub use methods::{Alignment, Evidence};
pub use options::{Alpha, Head, Method, Schedule, Step};
pub use shelf::{InMemory, Shelf};
pub use trajectory::Trajectory;
pub use transport::Transport;

use super::{
    learning::{Dataset, Learner},
    ledger::{Ledger, Work},
    network::{Checkpoint, HostTensor, ParamUse, Role},
    symmetry::{Permutation, Symmetry, assignment::NotFinite},
};

/// Training samples from which running statistics are re-estimated before an evaluation.
pub const STATISTICS_SAMPLES: usize = 1024;

/// What is transferred onto what, and by which data.
pub struct Problem<'a> {
    pub learner: &'a Learner<'a>,
    /// Runs the source's parameters, where the bases differ in width.
    pub source: Option<&'a Learner<'a>>,
    pub symmetry: &'a Symmetry,
    pub trajectory: &'a Trajectory,
    /// `θ_B⁰`
    pub target: &'a Checkpoint,
    pub head: Head,
    /// Updates are made orthogonal, tensor by tensor, to what lies between the bases.
    pub orthogonal_shift: bool,
    /// Feeds gradients and statistics.
    pub train: Option<&'a Dataset>,
    /// Selects step and α.
    pub validation: Option<&'a Dataset>,
    /// B: samples per gradient.
    pub batch_size: usize,
    /// How much the pair of the bases' own parameters counts in gradient matching, beside the first
    /// pair of gradients; 0 leaves it out.
    pub weight_anchor: f64,
    /// A π that is known already, from which gradient matching may start too.
    pub start: Option<&'a Permutation>,
    pub seed: u64,
    pub ledger: &'a Ledger,
    /// Where gradient pairs are kept.
    pub shelf: &'a dyn Shelf,
    /// Asked before every timestep with `(done, total)`.
    pub go_on: &'a dyn Fn(usize, usize) -> ControlFlow<()>,
}

/// Why a transfer ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    #[error("interrupted")]
    Interrupted,
    #[error("gradients or parameters overflow: {0}")]
    NotFinite(#[from] NotFinite),
    #[error("what the bases' layers see overflows: it has no singular values")]
    NoSingularValues,
}

impl Problem<'_> {
    /// `θ_B⁰ + α π (θ_A^t − θ_A⁰)`, with the head as the problem says, in the target's dtypes.
    ///
    /// Running statistics get `mean_B + α π Δmean` and `var_B · π(var_A^t / var_A⁰)^α`, which is
    /// what a job without data publishes; with data they are re-estimated. Counters are the
    /// target's.
    pub fn carried(&self, transport: &Transport, t: usize, alpha: f64) -> Checkpoint {
        let mut result = self.target.clone();
        for (_, param) in self.learner.graph().params() {
            let Some(target) = self.target.get(&param.name) else { continue };
            if let Some(tensor) = self.carried_tensor(transport, (&param, target), (t, alpha)) {
                result.insert(param.name, tensor);
            }
        }
        result
    }

    /// One tensor of [`Problem::carried`]; `None` where the target's stays.
    fn carried_tensor(
        &self,
        transport: &Transport,
        (param, target): (&ParamUse, &HostTensor),
        (t, alpha): (usize, f64),
    ) -> Option<HostTensor> {
        let name = param.name.as_str();
        let (base, end) = (&self.trajectory.base()[name], &self.trajectory.end_of(t)[name]);
        let fraction = self.trajectory.fraction(t);
        let moved = |tensor| self.moved(transport, (name, target), tensor);
        let adopted = self.trajectory.head().contains(name);
        let is_head = adopted || self.is_head(name);
        let carried = match (param.role, if adopted { Head::Source } else { self.head }) {
            (Role::Counter, _) => None,
            (Role::Learned, Head::Keep) if is_head => None,
            (Role::Learned, Head::Source) if is_head => {
                let (base, end) = (moved(base), moved(end));
                let head = base.shifted(&base, &end, fraction);
                Some(HostTensor::from_f32_as(
                    target.dtype(),
                    head.shape().to_vec(),
                    head.f32().into_owned(),
                ))
            }
            // Maps need data, and with data statistics are re-estimated.
            (Role::Statistic, _) if transport.permutation().is_none() => None,
            (Role::Statistic, _) if name.ends_with("running_var") => {
                Some(scaled_variance(target, &moved(base), &moved(end), alpha * fraction))
            }
            (Role::Statistic, _) => {
                Some(target.shifted(&moved(base), &moved(end), alpha * fraction))
            }
            (Role::Learned, _) => {
                let orthogonal_to = self.orthogonal_shift.then(|| moved(base));
                let shift = (alpha * fraction, orthogonal_to.as_ref());
                Some(transport.shift((self.symmetry, name), [target, base, end], shift))
            }
        };
        // Rows that the tuning added are its own at every step.
        match self.trajectory.rows_of(name) {
            Some(rows) if !rows.own.is_empty() => {
                Some(rows.with_own(carried.as_ref().unwrap_or(target), &moved(end)))
            }
            _ => carried,
        }
    }

    /// A tensor of the source in the target's coordinates; rows that the source lacks are the
    /// target's.
    fn moved(
        &self,
        transport: &Transport,
        (name, target): (&str, &HostTensor),
        tensor: &HostTensor,
    ) -> HostTensor {
        let moved = transport.moved(self.symmetry, name, tensor);
        match self.trajectory.rows_of(name) {
            Some(rows) => rows.completed(&moved, target),
            None => moved,
        }
    }

    /// [`Problem::carried`], ready to be evaluated or published.
    pub fn finished(&self, transport: &Transport, t: usize, alpha: f64) -> Checkpoint {
        let carried = self.ledger.book(Work::Arithmetic, || self.carried(transport, t, alpha));
        self.with_statistics(&carried)
    }

    /// With running statistics re-estimated on training samples, where there are any.
    pub fn with_statistics(&self, model: &Checkpoint) -> Checkpoint {
        let Some(train) = self.train else { return model.clone() };
        self.ledger.book(Work::Statistics, || {
            self.learner.with_statistics(model, train, STATISTICS_SAMPLES, self.batch_size)
        })
    }

    /// What runs the source's parameters.
    fn source(&self) -> &Learner<'_> {
        self.source.unwrap_or(self.learner)
    }

    fn is_head(&self, name: &str) -> bool {
        let head = self.learner.graph().head();
        head.is_some_and(|head| name.strip_prefix(head).is_some_and(|rest| rest.starts_with('.')))
    }

    fn step(&self, done: usize, total: usize) -> Result<(), TransferError> {
        match (self.go_on)(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TransferError::Interrupted),
        }
    }
}

/// `target · (to / from)^scale`, entry by entry; a variance that was zero carries no ratio.
fn scaled_variance(
    target: &HostTensor,
    from: &HostTensor,
    to: &HostTensor,
    scale: f64,
) -> HostTensor {
    let ratio = |((&b, &from), &to): ((&f32, &f32), &f32)| {
        let ratio = f64::from(to) / f64::from(from);
        if ratio.is_finite() && ratio > 0.0 { (f64::from(b) * ratio.powf(scale)) as f32 } else { b }
    };
    let values =
        target.f32().iter().zip(from.f32().iter()).zip(to.f32().iter()).map(ratio).collect();
    HostTensor::from_f32_as(target.dtype(), target.shape().to_vec(), values)
}

/// Learned tensors only: what is matched and what makes up the task vector. A head that a base lacks
/// has nothing to be matched with.
fn learned(problem: &Problem, checkpoint: &Checkpoint) -> Checkpoint {
    let mut names = problem.learner.graph().learned();
    names.retain(|name| !problem.trajectory.head().contains(name));
    names.into_iter().filter_map(|n| checkpoint.get(&n).cloned().map(|t| (n, t))).collect()
}
