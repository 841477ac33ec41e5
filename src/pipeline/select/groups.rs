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
            by_group::{GroupSearch, SAMPLES},
            ladder,
            race::{Arm, Runner},
        },
    },
    pipeline::{failure::Failure, job::Stop, meter::Seconds},
};

impl Selector<'_, '_> {
    /// Searches the groups of the best candidate; it becomes another one where that is better.
    pub fn refine_best(&mut self) -> Result<(), Failure> {
        let Some(best) = ladder::best(&self.tried) else { return Ok(()) };
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
        let (Some(train), Some(race)) = (&context.inputs.splits.train, self.rules()) else {
            return Ok(());
        };
        let Some(record) = candidate.validation.clone() else { return Ok(()) };
        let (before, start) = (context.cost(), Seconds::read());

        let go_on: &dyn Fn(usize, usize) -> ControlFlow<()> = &|_, _| context.go_on();
        let problem = context.problem(go_on);
        let problem = Problem { orthogonal_shift: candidate.orthogonal_shift, ..problem };
        let (samples, carried) = (
            drawn(train, context.job.spec.options.seed),
            problem.carried(&candidate.transport, candidate.step, 1.0),
        );
        let search = GroupSearch {
            learner: &context.learner,
            base: problem.target,
            carried: &carried,
            start: candidate.alpha,
            samples: &samples,
            restated: &|model| problem.restated(&model),
            go_on: &|| context.go_on(),
        };
        let found = search.run();
        if context.go_on() == ControlFlow::Break(()) {
            return Err(Failure::Stopped(Stop::Cancelled));
        }
        if let Some(found) = found {
            let go_on: &dyn Fn(usize) -> ControlFlow<()> = &|_| context.go_on();
            let track = context.track(&context.learner, race.blocks, go_on);
            let mut arm = Arm::new(track, || found.model.clone());
            while arm.record().samples() < record.samples() {
                arm.advance()?;
            }
            let (model, own) = arm.into_parts();
            let taken = own.beside(&record, record.samples()).difference() > 0.0;
            candidate.by_group = Some(AlphasByGroup::of(&found, samples.len(), taken));
            if taken {
                (candidate.model, candidate.validation) = (model, Some(own));
            }
        }

        let (spent, seconds) = (context.cost() - before, start.passed());
        self.choosing = self.choosing + spent;
        candidate.cost = candidate.cost + spent;
        candidate.seconds += seconds.wall;
        self.cpu_seconds[at] += seconds.cpu;
        Ok(())
    }
}

/// Training samples of the search, drawn by the seed.
fn drawn(train: &Dataset, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let drawn = index::sample(&mut rng, train.len(), train.len().min(SAMPLES));
    train.subset(&drawn.into_vec())
}
