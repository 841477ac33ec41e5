//! What is transferred onto what, and the candidate `θ_B⁰ + α π (θ_A^t − θ_A⁰)`.

use std::ops::ControlFlow;

use super::{
    error::TransferError,
    options::Head,
    stores::Stores,
    trajectory::Trajectory,
    transport::{Transport, Tuned},
};
use crate::{
    network::{ParamUse, Role},
    profiler::{Profiler, Work},
    symmetry::{Permutation, Symmetry},
    tensors::{Checkpoint, HostTensor},
    training::{Dataset, Learner},
};
// Before an evaluation, too.
pub use crate::training::STATISTICS_SAMPLES;

/// The weight of the bases' own parameters beside the first pair of gradients, by default (ours).
pub const WEIGHT_ANCHOR: f64 = 3.0;
/// Training samples from which the running statistics of a model in a race are taken (ours).
pub const RACE_STATISTICS: usize = 256;
/// Samples per gradient, by default.
const BATCH_SIZE: usize = 128;

/// What is transferred onto what, and by which data. [`Problem::new`] has the defaults of all that a
/// transfer can do without.
pub struct Problem<'a> {
    pub learner: &'a Learner<'a>,
    /// Runs the source's parameters, where the bases differ in width.
    pub source: Option<&'a Learner<'a>>,
    pub symmetry: &'a Symmetry,
    pub trajectory: &'a Trajectory,
    /// `θ_B⁰`
    pub target: &'a Checkpoint,
    pub head: Head,
    /// Updates are made orthogonal, tensor by tensor, to the difference of the bases.
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
    pub profiler: &'a Profiler,
    pub stores: Stores<'a>,
    /// Asked before every timestep with `(done, total)`.
    pub go_on: &'a dyn Fn(usize, usize) -> ControlFlow<()>,
}

impl<'a> Problem<'a> {
    /// Bases of one width, no data, the head transported, seed 0; gradients stay in memory and
    /// nobody interrupts.
    pub fn new(
        learner: &'a Learner<'a>,
        symmetry: &'a Symmetry,
        trajectory: &'a Trajectory,
        target: &'a Checkpoint,
        profiler: &'a Profiler,
    ) -> Self {
        Self {
            learner,
            source: None,
            symmetry,
            trajectory,
            target,
            head: Head::Transport,
            orthogonal_shift: false,
            train: None,
            validation: None,
            batch_size: BATCH_SIZE,
            weight_anchor: WEIGHT_ANCHOR,
            start: None,
            seed: 0,
            profiler,
            stores: Stores::IN_MEMORY,
            go_on: &|_, _| ControlFlow::Continue(()),
        }
    }

    /// The samples of a method that cannot do without.
    ///
    /// # Errors
    /// Without training data.
    pub(super) fn training_samples(&self) -> Result<&'a Dataset, TransferError> {
        self.train.ok_or(TransferError::NoTrainingSamples)
    }
}

impl Problem<'_> {
    /// `θ_B⁰ + α π (θ_A^t − θ_A⁰)`, with the head as the problem says, in the target's dtypes.
    ///
    /// Running statistics get `mean_B + α π Δmean` and `var_B · π(var_A^t / var_A⁰)^α`, which is
    /// what a job without data publishes; with data they are re-estimated. Counters are the
    /// target's.
    pub fn carried(&self, transport: &Transport, t: usize, alpha: f64) -> Checkpoint {
        let carrier = Carrier {
            problem: self,
            transport,
            t,
            alpha,
        };
        let mut result = self.target.clone();
        for (_, param) in self.learner.graph().params() {
            let Some(target) = self.target.get(&param.name) else {
                continue;
            };
            if let Some(tensor) = carrier.tensor(&param, target) {
                result.insert(param.name, tensor);
            }
        }

        result
    }

    /// [`Problem::carried`], ready to be evaluated or published.
    pub fn finished(&self, transport: &Transport, t: usize, alpha: f64) -> Checkpoint {
        let carried = self
            .profiler
            .time(Work::Arithmetic, || self.carried(transport, t, alpha));
        self.with_statistics(&carried)
    }

    /// [`Problem::carried`], ready to race: with running statistics of few samples.
    pub fn raced(&self, transport: &Transport, t: usize, alpha: f64) -> Checkpoint {
        let carried = self
            .profiler
            .time(Work::Arithmetic, || self.carried(transport, t, alpha));
        self.with_statistics_of(&carried, RACE_STATISTICS)
    }

    /// With running statistics of as few training samples as models that race have.
    pub fn restated(&self, model: &Checkpoint) -> Checkpoint {
        self.with_statistics_of(model, RACE_STATISTICS)
    }

    /// With running statistics re-estimated on training samples, where there are any.
    pub fn with_statistics(&self, model: &Checkpoint) -> Checkpoint {
        self.with_statistics_of(model, STATISTICS_SAMPLES)
    }

    /// Whether a model that raced has other running statistics than a result has.
    pub fn races_on_fewer(&self) -> bool {
        let samples = self.train.map_or(0, Dataset::len);
        self.learner.graph().has_batch_norm() && samples > RACE_STATISTICS
    }

    fn with_statistics_of(&self, model: &Checkpoint, samples: usize) -> Checkpoint {
        let Some(train) = self.train else {
            return model.clone();
        };
        self.profiler.time(Work::Statistics, || {
            self.learner
                .with_statistics(model, train, samples, self.batch_size)
        })
    }

    /// What runs the source's parameters.
    pub(super) fn source(&self) -> &Learner<'_> {
        self.source.unwrap_or(self.learner)
    }

    /// Learned tensors only: what is matched and what makes up the task vector. A head that a base
    /// lacks has nothing to be matched with.
    pub(super) fn learned(&self, checkpoint: &Checkpoint) -> Checkpoint {
        let mut names = self.learner.graph().learned();
        names.retain(|name| !self.trajectory.head().contains(name));
        names
            .into_iter()
            .filter_map(|n| checkpoint.get(&n).cloned().map(|t| (n, t)))
            .collect()
    }

    pub(super) fn step(&self, done: usize, total: usize) -> Result<(), TransferError> {
        match (self.go_on)(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TransferError::Interrupted),
        }
    }

    fn is_head(&self, name: &str) -> bool {
        let head = self.learner.graph().head();
        head.is_some_and(|head| {
            name.strip_prefix(head)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }
}

/// Carries `α` times the update of step `t`, tensor by tensor.
struct Carrier<'p> {
    problem: &'p Problem<'p>,
    transport: &'p Transport,
    t: usize,
    alpha: f64,
}

impl Carrier<'_> {
    /// One tensor of [`Problem::carried`]; `None` where the target's stays.
    fn tensor(&self, param: &ParamUse, target: &HostTensor) -> Option<HostTensor> {
        let Problem {
            trajectory, head, ..
        } = self.problem;
        let name = param.name.as_str();
        if let Some(fitted) = self.transport.fitted() {
            // The head and its rows are fitted too; statistics are re-estimated.
            let is_fitted = param.role == Role::Learned && fitted.get(name).is_some();
            return is_fitted.then(|| self.learned(name, target));
        }

        let adopted = trajectory.head().contains(name);
        let is_head = adopted || self.problem.is_head(name);

        let carried = match (param.role, if adopted { Head::Source } else { *head }) {
            (Role::Counter, _) => None,
            (Role::Learned, Head::Keep) if is_head => None,
            (Role::Learned, Head::Source) if is_head => Some(self.source_head(name, target)),
            // Maps need data, and with data statistics are re-estimated.
            (Role::Statistic, _) if self.transport.permutation().is_none() => None,
            (Role::Statistic, _) => Some(self.statistic(name, target)),
            (Role::Learned, _) => Some(self.learned(name, target)),
        };

        // Rows that the tuning added are its own at every step.
        match trajectory.rows_of(name) {
            Some(rows) if !rows.own.is_empty() => {
                let end = self.moved(name, target, self.end(name));
                Some(rows.with_own(carried.as_ref().unwrap_or(target), &end))
            }
            _ => carried,
        }
    }

    /// The source's own tensor at step `t`, in the target's dtype.
    fn source_head(&self, name: &str, target: &HostTensor) -> HostTensor {
        let base = self.moved(name, target, self.base(name));
        let end = self.moved(name, target, self.end(name));
        let head = base.shifted(&base, &end, self.problem.trajectory.fraction(self.t));
        HostTensor::from_f32_as(
            target.dtype(),
            head.shape().to_vec(),
            head.f32().into_owned(),
        )
    }

    /// A running mean or variance.
    fn statistic(&self, name: &str, target: &HostTensor) -> HostTensor {
        let base = self.moved(name, target, self.base(name));
        let end = self.moved(name, target, self.end(name));
        if name.ends_with("running_var") {
            scaled_variance(target, &base, &end, self.scale())
        } else {
            target.shifted(&base, &end, self.scale())
        }
    }

    fn learned(&self, name: &str, target: &HostTensor) -> HostTensor {
        let (from, to) = (self.base(name), self.end(name));
        let has_frame = self.transport.fitted().is_none();
        let is_shifted = self.problem.orthogonal_shift && has_frame;
        let orthogonal_to = is_shifted.then(|| self.moved(name, target, from));
        let tuned = Tuned {
            symmetry: self.problem.symmetry,
            name,
            from,
            to,
        };
        self.transport
            .shift(tuned, target, self.scale(), orthogonal_to.as_ref())
    }

    /// Of `end − base`, how much is carried.
    fn scale(&self) -> f64 {
        self.alpha * self.problem.trajectory.fraction(self.t)
    }

    /// The source's tensor that a tensor of the target is made from, before the tuning.
    fn base(&self, name: &str) -> &HostTensor {
        &self.problem.trajectory.base()[self.source(name)]
    }

    /// The same at step `t`.
    fn end(&self, name: &str) -> &HostTensor {
        &self.problem.trajectory.end_of(self.t)[self.source(name)]
    }

    /// Another expert's where experts change places.
    fn source<'n>(&'n self, name: &'n str) -> &'n str {
        let permutation = self.transport.permutation();
        permutation.map_or(name, |found| found.source(self.problem.symmetry, name))
    }

    /// A tensor of the source in the target's coordinates; rows that the source lacks are the
    /// target's.
    fn moved(&self, name: &str, target: &HostTensor, tensor: &HostTensor) -> HostTensor {
        let moved = self.transport.moved(self.problem.symmetry, name, tensor);
        match self.problem.trajectory.rows_of(name) {
            Some(rows) => rows.completed(&moved, target),
            None => moved,
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
    let entries = target.f32();
    let values = entries
        .iter()
        .zip(from.f32().iter())
        .zip(to.f32().iter())
        .map(|((&entry, &from), &to)| {
            let ratio = f64::from(to) / f64::from(from);
            if ratio.is_finite() && ratio > 0.0 {
                (f64::from(entry) * ratio.powf(scale)) as f32
            } else {
                entry
            }
        })
        .collect();
    HostTensor::from_f32_as(target.dtype(), target.shape().to_vec(), values)
}
