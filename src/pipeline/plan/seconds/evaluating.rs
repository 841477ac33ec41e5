//! What evaluations take: of the bases, of a method's points and of the winner.

use crate::{
    contract::plan::SampleCounts,
    engine::{
        training::{BARRIER_POINTS, EVALUATION_BATCH_SAMPLES},
        transfer::{
            Method, RACE_STATISTICS, STATISTICS_SAMPLES, candidate::LOOK,
            diagnosis::BARRIER_SAMPLES,
        },
    },
    pipeline::plan::{
        samples::{Trials, trials},
        sizes::Job,
        work::Work,
    },
};

impl Job<'_> {
    /// So many evaluations of models on so many samples each.
    pub(super) fn evaluations(&self, models: f64, samples: usize) -> Work {
        let batches = models * samples.div_ceil(EVALUATION_BATCH_SAMPLES) as f64;
        let (forwards, elements) = (models * samples as f64, self.elements(models));
        Work {
            forwards,
            batches,
            elements,
            ..Work::default()
        }
    }

    pub(super) fn statistics(&self, models: f64) -> Work {
        let samples = STATISTICS_SAMPLES.min(self.samples.train);
        if self.has_batch_norm {
            self.evaluations(models, samples)
        } else {
            Work::default()
        }
    }

    /// Validation samples that choose.
    pub(super) fn choosing(&self) -> usize {
        self.samples
            .validation
            .min(self.spec.options.selection.samples)
    }

    pub(super) fn diagnosing(&self) -> Work {
        let SampleCounts {
            validation, test, ..
        } = self.samples;
        // Cosines and norms, then what stands without a transfer.
        let mut work = Work {
            elements: self.elements(3.0),
            ..Work::default()
        };
        work += self.evaluations(2.0, self.choosing());
        work += self.evaluations(2.0, test);
        work += self.statistics(1.0);
        // A loss and the running statistics for it at each point, on as many samples.
        if self.is_auto() && self.spec.options.barrier && validation > 0 {
            work += self.evaluations(BARRIER_POINTS as f64, 2 * BARRIER_SAMPLES);
        }

        work
    }

    /// The choice of step and α, and the result on the test split: under `auto` of the winner alone.
    fn transferring(&self, method: Method) -> Work {
        let (samples, test) = (self.choosing(), self.samples.test);
        if samples == 0 {
            return Work::default();
        }

        let trials = trials(method, self.spec, self.timesteps);
        let Trials { raced, looked_at } = trials;
        let models = trials.models() as f64;
        let mut work = self.evaluations(raced as f64, samples);
        work += self.evaluations(looked_at as f64, LOOK.min(samples));
        if self.has_batch_norm {
            work += self.evaluations(models, RACE_STATISTICS.min(self.samples.train));
        }
        if !self.is_auto() {
            work += self.evaluations(1.0, test);
        }

        work.elements += self.elements(models);
        work
    }

    pub(super) fn all_transferring(&self) -> Work {
        let mut all = Work::default();
        self.methods
            .iter()
            .for_each(|method| all += self.transferring(*method));
        if self.is_auto() {
            all += self.evaluations(1.0, self.samples.test);
        }
        all
    }
}
