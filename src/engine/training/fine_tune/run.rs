//! A training under way: its weights, what the optimiser remembers, and one step.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use burn::tensor::Tensor;

use super::{
    End, Event, FineTunePlan,
    looks::{LOOK_STATISTICS, Seen},
    low_rank::LowRank,
};
use crate::{
    execution::{BatchNormMode, Executor, Weights, floats},
    tensors::{Checkpoint, HostTensor},
    training::{
        Dataset, Learner,
        cross_entropy::counted,
        optimizer::{Memory, Pull, Schedule, Step},
        teacher::{Lesson, Teacher},
    },
};

/// What is added to a norm that divides, as `PyTorch`'s `clip_grad_norm_` does.
const NORM_FLOOR: f64 = 1e-6;

/// A training under way.
pub(super) struct Run<'r, 'g> {
    learner: &'r Learner<'g>,
    start: &'r Checkpoint,
    train: &'r Dataset,
    plan: &'r FineTunePlan<'r>,
    schedule: Schedule,
    weights: Weights,
    memory: Memory,
    low_rank: Option<LowRank>,
    /// The trained tensors at the start, where there is a pull towards them.
    anchor: Option<HashMap<String, Tensor<1>>>,
    lesson: Option<Lesson<'r>>,
    pub looks: Seen,
    pub done: usize,
    pub snapshots: Vec<(usize, Checkpoint)>,
}

impl<'r, 'g> Run<'r, 'g> {
    pub fn new(
        learner: &'r Learner<'g>,
        start: &'r Checkpoint,
        train: &'r Dataset,
        plan: &'r FineTunePlan<'r>,
    ) -> Self {
        let weights = Weights::upload(&learner.program, start, &learner.executor);
        let low_rank = plan
            .low_rank
            .map(|rank| LowRank::new(&learner.program, &weights, rank, plan.seed));
        let anchor = (plan.pull > 0.0).then(|| {
            low_rank
                .as_ref()
                .map_or_else(|| learned(learner, &weights), LowRank::factors)
        });

        let steps = plan.epochs * train.len().div_ceil(plan.batch_size);
        Self {
            learner,
            start,
            train,
            plan,
            schedule: Schedule::new(plan.learning_rate, steps, plan.warmup),
            weights,
            memory: Memory::new(plan.optimizer, plan.weight_decay),
            low_rank,
            anchor,
            lesson: plan.teacher.map(Teacher::prepare),
            looks: Seen::of(plan.validation.filter(|_| plan.looks.is_some())),
            done: 0,
            snapshots: Vec::new(),
        }
    }

    /// One epoch over the samples in this order: the mean loss of those that were met, and why it ended
    /// the training, if it did.
    pub fn pass(
        &mut self,
        order: &[usize],
        observe: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> (f64, Option<End>) {
        let steps = order.len().div_ceil(self.plan.batch_size);
        let (mut sum, mut met) = (0.0, 0);
        for (step, positions) in order.chunks(self.plan.batch_size).enumerate() {
            let (loss, count) = self.step(positions);
            sum += loss * count as f64;
            met += count;
            self.done += 1;
            self.keep_snapshot();

            let (done, total) = (self.done, self.schedule.steps);
            let flow = observe(Event::Step { done, total, loss });
            let end = match flow {
                ControlFlow::Break(()) => Some(End::Interrupted),
                ControlFlow::Continue(()) => self.look(step + 1, steps),
            };
            if end.is_some() {
                return (sum / met.max(1) as f64, end);
            }
        }
        (sum / met.max(1) as f64, None)
    }

    /// The batch's mean loss, and over how many labels it was taken.
    fn step(&mut self, positions: &[usize]) -> (f64, usize) {
        let batch = self.train.batch(positions);
        let (loss, gradients) = self.learner.backward_towards(
            &self.weights,
            &batch,
            BatchNormMode::Batch,
            self.lesson.as_ref(),
        );

        let gradients = match &self.low_rank {
            Some(low_rank) => low_rank.gradients(gradients),
            None => gradients.into_iter().collect(),
        };
        let factor = self
            .plan
            .clip
            .and_then(|most| self.clip_factor(&gradients, most));
        for (name, gradient) in gradients {
            let gradient = match factor {
                Some(factor) => gradient * factor,
                None => gradient,
            };
            self.move_tensor(&name, gradient);
        }
        if let Some(low_rank) = &self.low_rank {
            low_rank.apply(&mut self.weights);
        }
        (loss, counted(&batch.labels).count())
    }

    /// By what the gradients are scaled so that their norm, all tensors together, is at most `most`; `None`
    /// where they stay. `most / (norm + 1e-6)` as `PyTorch` has it.
    ///
    /// The data's gradient alone is clipped, and the pull is added afterwards: how strong it is does not
    /// depend on how steep a batch is.
    fn clip_factor(&self, gradients: &BTreeMap<String, Tensor<1>>, most: f64) -> Option<f64> {
        let squares = gradients
            .values()
            .map(|gradient| match self.learner.executor {
                Executor::Cpu => floats(gradient.clone())
                    .into_iter()
                    .map(square)
                    .sum::<f64>(),
                // A gradient is not brought to the host for this.
                Executor::Burn(_) => {
                    let sum = (gradient.clone() * gradient.clone()).sum();
                    floats(sum).into_iter().map(f64::from).sum()
                }
            });
        let factor = most / (squares.sum::<f64>().sqrt() + NORM_FLOOR);
        (factor < 1.0).then_some(factor)
    }

    fn move_tensor(&mut self, name: &str, gradient: Tensor<1>) {
        let strength = self.plan.pull * self.schedule.pull_left(self.done);
        let start = self.anchor.as_ref().and_then(|anchor| anchor.get(name));
        let pull = start.map(|start| Pull {
            start: start.clone(),
            strength,
        });
        let step = Step {
            rate: self.schedule.rate_at(self.done),
            pull,
        };

        let memory = &mut self.memory;
        match &mut self.low_rank {
            Some(low_rank) => {
                low_rank.update(name, |value| memory.step(name, value, gradient, step));
            }
            None => self
                .weights
                .update(name, |value| memory.step(name, value, gradient, step)),
        }
    }

    /// Looks at the validation data where a look is due after this step of an epoch, and says whether it
    /// ends the training.
    fn look(&mut self, step: usize, steps: usize) -> Option<End> {
        let looks = self.plan.looks.filter(|looks| looks.is_due(step, steps))?;
        let data = self.looks.data()?;
        let model = self.checkpoint(LOOK_STATISTICS.min(self.plan.statistics_samples));
        let found = self.learner.evaluate(&model, data);
        self.looks.add(self.done, &found, model);

        if self.plan.stop_at.is_some_and(|at| found.accuracy >= at) {
            return Some(End::TargetReached);
        }
        let patience = looks.patience?;
        (self.looks.since_peak() >= patience).then_some(End::OutOfPatience)
    }

    /// Snapshot `k` of `n` is taken at the first step at or after `k/n` of all steps.
    fn keep_snapshot(&mut self) {
        let (wanted, total) = (self.plan.snapshots, self.schedule.steps);
        if wanted > 0 && self.done * wanted >= (self.snapshots.len() + 1) * total {
            let checkpoint = self.checkpoint(self.plan.statistics_samples);
            self.snapshots.push((self.done, checkpoint));
        }
    }

    /// What has been reached, in the dtypes of the start and with statistics taken anew.
    pub fn checkpoint(&self, statistics_samples: usize) -> Checkpoint {
        let mut checkpoint = self.start.clone();
        for name in self.learner.graph.learned() {
            let Some(host) = self.weights.download(&name) else {
                continue;
            };
            let (dtype, shape) = (self.start[&name].dtype(), host.shape().to_vec());
            let values = host.f32().into_owned();
            checkpoint.insert(name, HostTensor::from_f32_as(dtype, shape, values));
        }

        self.with_statistics(&checkpoint, statistics_samples)
    }

    /// The best look's model, its statistics taken as everywhere; `None` where nobody looked.
    pub fn best_checkpoint(&self) -> Option<Checkpoint> {
        let best = self.looks.best_model()?;
        Some(self.with_statistics(best, self.plan.statistics_samples))
    }

    fn with_statistics(&self, model: &Checkpoint, samples: usize) -> Checkpoint {
        self.learner
            .with_statistics(model, self.train, samples, self.plan.batch_size)
    }
}

/// All learned tensors, flat.
fn learned(learner: &Learner, weights: &Weights) -> HashMap<String, Tensor<1>> {
    let names = learner.graph.learned().into_iter();
    names
        .filter_map(|name| weights.flat(&name).map(|value| (name, value)))
        .collect()
}

fn square(value: f32) -> f64 {
    f64::from(value) * f64::from(value)
}
