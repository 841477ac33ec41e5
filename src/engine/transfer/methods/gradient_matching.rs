//! Gradient matching along the trajectory (GMT) and its fast form (FGMT): Chijiwa, ICLR 2024,
//! section 3.3, algorithms 1 and 2.
//!
//! At step `s` the target's trajectory is known up to `s − 1`, carried over by the present π. Both
//! models' gradients on one mini-batch give a pair; π is solved anew over all pairs so far; the
//! whole prefix is then carried over by the new π. FGMT's pairs outlive an interrupted run where the
//! problem's store does; the run after it repeats the solving, which is bound to end the same, and
//! not the gradients. GMT draws its pairs anew at every step, so that the end of one is all that the
//! next needs.
//!
//! One pair more is ours: the bases' own parameters, as weight matching has them, scaled to count
//! [`super::super::WEIGHT_ANCHOR`] times as much as the first pair of gradients. Gradients of few samples leave
//! many units undecided, and the weights settle them; over 24 seeds of the digits (`make
//! bench-digits`) the anchor lifts every width. With 0 the method is the paper's.

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::{
    profiler::Work,
    symmetry::{Kind, Matcher, Permutation, Solution, Start},
    tensors::Checkpoint,
    training::{Batch, Dataset},
    transfer::{
        alignment::Alignment,
        error::TransferError,
        evidence::{Evidence, GroupEvidence, certificate_names},
        gradient_store::{GradientKey, Retention, Side},
        problem::Problem,
        products::executor_of_products,
        resume_point::{StepKey, StepState},
        transport::Transport,
    },
};

/// What is kept from step to step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Every step draws all its pairs anew, along the prefix as the present π carries it.
    pub redraw: bool,
    /// Pairs of earlier steps count too; without them is an ablation.
    pub accumulate: bool,
    /// π stays after this step; an ablation.
    pub freeze_after: Option<usize>,
}

impl Variant {
    /// `B·T(T+1)` sample gradients.
    pub const GMT: Self = Self {
        redraw: true,
        accumulate: true,
        freeze_after: None,
    };
    /// `2·B·T` sample gradients.
    pub const FGMT: Self = Self {
        redraw: false,
        accumulate: true,
        freeze_after: None,
    };

    /// A pair that is drawn once depends on nothing but the problem.
    fn retention(&self) -> Retention {
        if self.redraw {
            Retention::ThisRun
        } else {
            Retention::LaterRuns
        }
    }
}

/// `π_1 … π_T` by gradient matching.
///
/// # Errors
/// When the caller interrupts or gradients overflow; without training data.
pub fn align(problem: &Problem, variant: &Variant) -> Result<Alignment, TransferError> {
    let mut run = Run::new(problem)?;
    let timesteps = problem.trajectory.timesteps();
    let mut transports = Vec::with_capacity(timesteps);
    let mut evidence = Vec::with_capacity(timesteps);
    let mut groups = Vec::new();

    for step in 1..=timesteps {
        problem.step(step - 1, timesteps)?;
        if variant.freeze_after.is_none_or(|last| step <= last) {
            let end = match run.resumed(step, variant) {
                Some(end) => end,
                None => run.step(step, variant)?,
            };
            let StepState {
                evidence: found,
                certificates,
                ..
            } = end;
            groups = GroupEvidence::of(
                problem.symmetry,
                &found.fit,
                &run.permutation,
                &certificates,
            );
            evidence.push(found);
        }
        transports.push(Transport::from(run.permutation.clone()));
    }

    problem.step(timesteps, timesteps)?;
    Ok(Alignment {
        transports,
        evidence,
        groups,
        ..Alignment::default()
    })
}

/// The mini-batch of step `t`'s pair.
struct Draw {
    t: usize,
    batch: Batch,
    retention: Retention,
}

struct Run<'a> {
    problem: &'a Problem<'a>,
    train: &'a Dataset,
    matcher: Matcher<'a>,
    permutation: Permutation,
    rng: ChaCha8Rng,
}

impl<'a> Run<'a> {
    fn new(problem: &'a Problem<'a>) -> Result<Self, TransferError> {
        let executor = executor_of_products(problem.learner, problem.symmetry);
        Ok(Self {
            problem,
            train: problem.training_samples()?,
            matcher: Matcher::new(problem.symmetry, &executor, problem.profiler),
            permutation: Permutation::identity(problem.symmetry),
            rng: ChaCha8Rng::seed_from_u64(problem.seed),
        })
    }

    /// Adds the step's pairs and solves over all that count.
    fn step(&mut self, step: usize, variant: &Variant) -> Result<StepState, TransferError> {
        if variant.redraw || !variant.accumulate {
            self.matcher.clear();
        }
        let first = if variant.redraw { 1 } else { step };
        for t in first..=step {
            self.add_pair(t, variant.retention());
        }

        let solution = self.solve(step)?;
        let groups = 0..self.problem.symmetry.groups.len();
        let end = StepState {
            sigmas: groups
                .map(|group| self.permutation.sigma(group).to_vec())
                .collect(),
            position: self.rng.get_word_pos(),
            evidence: self.evidence(step, &solution),
            certificates: certificate_names(&solution),
            prices: self.matcher.prices().to_vec(),
        };

        if variant.redraw {
            self.problem.stores.steps.save(StepKey { step }, &end);
        }
        Ok(end)
    }

    /// Goes to the end of a step that an interrupted run has saved, if it has. A step whose pairs are kept
    /// for later runs is solved anew.
    fn resumed(&mut self, step: usize, variant: &Variant) -> Option<StepState> {
        if !variant.redraw {
            return None;
        }
        let Problem {
            symmetry,
            learner,
            stores,
            ..
        } = self.problem;

        let end = stores.steps.load(StepKey { step })?;
        self.permutation = Permutation::from_sigmas(symmetry, end.sigmas.clone())?;
        self.rng.set_word_pos(end.position);
        self.matcher.start_from(end.prices.clone());

        let samples = self.problem.batch_size.min(self.train.len());
        learner.spent_gradients(2 * step * samples);
        Some(end)
    }

    /// `(∇L(θ_B^{t−1}), ∇L(θ_A^{t−1}))` on one mini-batch, train-mode batch norm.
    fn add_pair(&mut self, t: usize, retention: Retention) {
        let draw = Draw {
            t,
            batch: self.draw(),
            retention,
        };
        let transport = Transport::from(self.permutation.clone());
        let problem = self.problem;
        // One point of a trajectory at a time: each is as large as a model.
        let target = self.gradient(&draw, Side::Target, || {
            problem.carried(&transport, t - 1, 1.0)
        });
        let source = self.gradient(&draw, Side::Source, || problem.trajectory.point(t - 1));

        if t == 1 && problem.weight_anchor > 0.0 {
            self.add_weights(&target, &source);
        }
        self.matcher.push(Kind::Matched, target, source);
    }

    /// One model's gradient at a point, or the one that an interrupted run has left.
    fn gradient(&self, draw: &Draw, side: Side, point: impl FnOnce() -> Checkpoint) -> Checkpoint {
        let Problem {
            profiler,
            learner,
            stores,
            ..
        } = self.problem;
        let key = GradientKey { step: draw.t, side };
        // A gradient of another draw may lie under the same key.
        let kept = match draw.retention {
            Retention::ThisRun => None,
            Retention::LaterRuns => stores.gradients.get(key),
        };
        if let Some(kept) = kept {
            learner.spent_gradients(draw.batch.len());
            return kept;
        }

        let point = profiler.time(Work::Arithmetic, point);
        let parts = profiler.time(Work::Gradients, || {
            learner.gradient(&point, &draw.batch).parts
        });
        stores.gradients.put(key, parts, draw.retention)
    }

    /// The bases' parameters as a pair, their product scaled by the size of the gradients'.
    fn add_weights(&mut self, target_gradient: &Checkpoint, source_gradient: &Checkpoint) {
        let target = self.problem.learned(self.problem.target);
        let source = self.problem.learned(self.problem.trajectory.base());
        let gradients = target_gradient.norm() * source_gradient.norm();
        let weights = target.norm() * source.norm();

        if weights > 0.0 {
            let scale = (self.problem.weight_anchor * gradients / weights).sqrt();
            self.matcher
                .push(Kind::Anchor, target.scaled(scale), source.scaled(scale));
        }
    }

    fn draw(&mut self) -> Batch {
        let size = self.problem.batch_size.min(self.train.len());
        self.train
            .batch(&index::sample(&mut self.rng, self.train.len(), size).into_vec())
    }

    /// Descends from the best of the present π, the anchored start and, at the first step, the π that
    /// was known before.
    fn solve(&mut self, step: usize) -> Result<Solution, TransferError> {
        let known = self.problem.start.filter(|_| step == 1);
        let starts: Vec<&Permutation> = std::iter::once(&self.permutation).chain(known).collect();
        let solution = self.matcher.solve(Start::Best(&starts), &mut self.rng)?;
        self.permutation.clone_from(&solution.permutation);
        Ok(solution)
    }

    fn evidence(&self, step: usize, solution: &Solution) -> Evidence {
        let fit = self
            .matcher
            .fit(Kind::Matched, solution)
            .unwrap_or_default();
        Evidence::of(
            step,
            solution,
            fit,
            self.matcher.fit(Kind::Anchor, solution),
        )
    }
}
