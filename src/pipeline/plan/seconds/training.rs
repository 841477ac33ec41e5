//! What training takes: after a transfer, and beside it.

use crate::{
    contract::{plan::SampleCounts, spec::Labels},
    engine::training::{BARRIER_POINTS, FineTunePlan, LOOK_SAMPLES, Looks, Optimizer},
    pipeline::{
        plan::{sizes::Job, work::Work},
        retraining::{BATCH_SAMPLES as FEW_SHOT_BATCH, LEARNING_RATES, TRIAL_SHARE},
        touch_up::TouchUp,
        train::BARRIER_SAMPLES,
    },
};

impl Job<'_> {
    pub(super) fn fine_tuning(&self, few_shot: Work) -> Work {
        let mut work = few_shot;
        let Some(stage) = &self.spec.fine_tune else {
            return work;
        };

        let pulls = stage.pull.is_some_and(|pull| pull > 0.0);
        // Without the transfer, and without the pull.
        let baselines = if self.is_auto() {
            1.0 + f64::from(u8::from(pulls))
        } else {
            0.0
        };

        work += self.training(1.0 + baselines);
        if self.spec.options.barrier {
            let samples = (2 * BARRIER_SAMPLES).min(self.samples.train);
            work += self.evaluations(BARRIER_POINTS as f64, samples);
        }
        work
    }

    /// Plain training at the cost of every rung, after the trials of its learning rates.
    pub(super) fn few_shot(&self) -> Work {
        let SampleCounts {
            train,
            validation,
            test,
        } = self.samples;
        if !self.is_auto() || train == 0 || validation == 0 {
            return Work::default();
        }

        let trials = LEARNING_RATES.len() as f64;
        let mut tried = self.all_transferring();
        self.methods
            .iter()
            .for_each(|method| tried += self.aligning(*method));
        let cost = tried.gradients + tried.forwards / 3.0;
        let gradients = cost * (1.0 + TRIAL_SHARE * trials);
        let batches = gradients / FEW_SHOT_BATCH as f64;
        let mut work = Work {
            gradients,
            batches,
            elements: self.elements(2.0 * batches),
            ..Work::default()
        };

        work += self.evaluations(1.0 + trials, validation + test);
        work += self.statistics(1.0 + trials);
        work
    }

    pub(super) fn training(&self, times: f64) -> Work {
        let Some(stage) = &self.spec.fine_tune else {
            return Work::default();
        };
        let SampleCounts {
            train, validation, ..
        } = self.samples;
        let batch = stage.batch_size.max(1);
        let touch_up = TouchUp::of(stage, self.samples);
        let passes = times * stage.epochs as f64;

        let mut work = self.steps(passes * train as f64, passes * train.div_ceil(batch) as f64);
        if let Some(Looks { per_epoch, .. }) = touch_up.looks {
            let looks = passes * per_epoch as f64;
            work += self.evaluations(looks, validation.min(LOOK_SAMPLES));
            work += self.statistics(times);
        } else {
            work += self.evaluations(passes, validation);
            work += self.statistics(times);
        }

        if touch_up.tries_rates {
            let trials = times * Optimizer::from(stage.optimizer).rates().len() as f64;
            let gradients =
                trials * FineTunePlan::trial_gradients(stage.epochs, batch, train) as f64;
            work += self.steps(gradients, (gradients / batch as f64).ceil());
            work += self.evaluations(trials, validation.min(LOOK_SAMPLES));
            work += self.statistics(trials);
        }

        if stage.labels == Labels::OldModel {
            // The teacher goes forward wherever the pupil goes back.
            work.forwards += work.gradients;
        }
        work
    }

    /// Steps of training on so many samples in so many batches.
    fn steps(&self, gradients: f64, batches: f64) -> Work {
        Work {
            gradients,
            batches,
            elements: self.elements(2.0 * batches),
            ..Work::default()
        }
    }
}
