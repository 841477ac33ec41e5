//! α by group, for a candidate that is chosen: kept where the samples that choose say that it is better.

use std::ops::ControlFlow;

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use super::selector::Selector;
use crate::{
    engine::{
        training::Dataset,
        transfer::{
            AlphasByGroup, Candidate, Problem,
            by_group::{GroupAlphas, GroupSearch, SAMPLES},
            ladder,
            race::{Arm, Runner},
        },
    },
    pipeline::{context::Context, failure::Failure, job::Stop, meter::Seconds},
};

impl Selector<'_, '_> {
    /// Searches the groups of the best candidate; it becomes another one where that is better.
    pub fn refine_best(&mut self) -> Result<(), Failure> {
        let Some(best) = ladder::best(&self.tried) else {
            return Ok(());
        };
        let mut candidate = self.tried.swap_remove(best);
        let done = self.refine(&mut candidate, best);
        // Back into its place.
        self.tried.push(candidate);
        let last = self.tried.len() - 1;
        self.tried.swap(best, last);
        done
    }

    fn refine(&mut self, candidate: &mut Candidate, at: usize) -> Result<(), Failure> {
        let context = self.context;
        let Some(train) = &context.inputs.splits.train else {
            return Ok(());
        };
        if candidate.validation.is_none() {
            return Ok(());
        }

        let (before, start) = (context.cost(), Seconds::read());

        let samples = drawn(train, context.job.spec.options.seed);
        if let Some(found) = context.groups_of(candidate, &samples)? {
            self.take_if_better(candidate, &found, samples.len())?;
        }

        let (spent, seconds) = (context.cost() - before, start.passed());
        self.choosing = self.choosing + spent;
        candidate.cost = candidate.cost + spent;
        candidate.seconds += seconds.wall;
        self.cpu_seconds[at] += seconds.cpu;
        Ok(())
    }

    /// The candidate takes what was found where the samples that chose it bear out that it is better.
    fn take_if_better(
        &self,
        candidate: &mut Candidate,
        found: &GroupAlphas,
        samples: usize,
    ) -> Result<(), Failure> {
        let (Some(race), Some(record)) = (self.rules(), &candidate.validation) else {
            return Ok(());
        };

        let go_on: &dyn Fn(usize) -> ControlFlow<()> = &|_| self.context.go_on();
        let track = self
            .context
            .track(&self.context.learner, race.blocks, go_on);
        let mut arm = Arm::new(track, || found.model.clone());
        while arm.record().samples() < record.samples() {
            arm.advance()?;
        }

        let (model, own) = arm.into_parts();
        let taken = ladder::is_safely_ahead(&own, record);
        candidate.by_group = Some(AlphasByGroup::of(found, samples, taken));
        if taken {
            (candidate.model, candidate.validation) = (model, Some(own));
        }
        Ok(())
    }
}

impl Context<'_> {
    /// The α of each group of a candidate, from its own α on; `None` where nothing can be scaled.
    fn groups_of(
        &self,
        candidate: &Candidate,
        samples: &Dataset,
    ) -> Result<Option<GroupAlphas>, Failure> {
        let go_on: &dyn Fn(usize, usize) -> ControlFlow<()> = &|_, _| self.go_on();
        let problem = self.problem(go_on);
        let problem = Problem {
            orthogonal_shift: candidate.orthogonal_shift,
            ..problem
        };
        let carried = problem.carried(&candidate.transport, candidate.step, 1.0);
        let search = GroupSearch {
            learner: &self.learner,
            base: problem.target,
            carried: &carried,
            start: candidate.alpha,
            samples,
            restated: &|model| problem.restated(&model),
            go_on: &|| self.go_on(),
        };

        let found = search.run();
        match self.go_on() {
            ControlFlow::Break(()) => Err(Failure::Stopped(Stop::Cancelled)),
            ControlFlow::Continue(()) => Ok(found),
        }
    }
}

/// Training samples of the search, drawn by the seed.
fn drawn(train: &Dataset, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let drawn = index::sample(&mut rng, train.len(), train.len().min(SAMPLES));
    train.subset(&drawn.into_vec())
}
