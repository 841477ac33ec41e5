//! How long a job takes on this machine and how much it holds, by phase: counts of work times
//! measured speeds. Meant to be right within a factor of two.
//!
//! What headers cannot show is assumed: descents of [`SWEEPS`] sweeps, of which the first adds the
//! new pair and the others correct as much as one pass over all pairs; a fine-tuning that runs all
//! its epochs. Under `auto` nobody knows how many rungs are needed: the most is every rung and all that
//! is compared with them, the least is the first one.

use super::{
    samples::{Trials, trials},
    sizes::{Bytes, EVALUATION_BATCH, Job},
    work::Work,
};
use crate::{
    contract::{
        plan::{Estimate, PhasePlan, SampleCounts, Speeds, StageMemory},
        spec::Labels,
    },
    engine::{
        training::{FineTunePlan, LOOK_SAMPLES, Looks, Optimizer},
        transfer::{
            Method, RACE_STATISTICS, STATISTICS_SAMPLES, candidate::LOOK, methods::functional,
        },
    },
    pipeline::{
        retraining::{BATCH as FEW_SHOT_BATCH, RATES, TRIAL},
        touch_up::TouchUp,
    },
};

const SWEEPS: f64 = 2.0;
/// Points and samples of the loss barrier of a diagnosis, and of one after fine-tuning, where a job asks for it.
const BARRIER_POINTS: f64 = 25.0;
const BARRIER_SAMPLES: [usize; 2] = [2 * 128, 2 * 512];
/// Products that a singular value decomposition takes the time of, over units³.
const DECOMPOSITION: f64 = 26.0;
/// Time of a functional fit over that of its forward passes alone.
const SOLVING_SHARE: f64 = 4.0;

/// What a job may run.
struct Rungs<'m> {
    methods: &'m [Method],
    transferring: Work,
    /// Plain training that they are compared with.
    few_shot: Work,
}

impl Job<'_> {
    /// Phases, and everything without another word, are those of the most that it can take.
    pub fn estimate(&self, speeds: &Speeds) -> Estimate {
        let rungs = Rungs {
            methods: self.methods,
            transferring: self.all_transferring(),
            few_shot: self.few_shot(),
        };
        let phases = self.phases(rungs);
        let seconds = self.seconds(&phases, speeds);
        let least = if self.is_auto() {
            self.seconds(&self.phases(self.first_rung()), speeds)
        } else {
            seconds
        };
        Estimate {
            seconds: rounded(seconds),
            seconds_least: rounded(least),
            memory_bytes: self.most_memory().round(),
            read_bytes: self.bytes.models + self.bytes.data,
            written_bytes: self.bytes.result,
            flops: phases.iter().map(|(_, work)| work.flops(&self.load)).sum(),
            phases: phases
                .iter()
                .map(|(name, work)| self.phase(name, work, speeds))
                .collect(),
            memory_by_stage: self.memory_by_stage(),
        }
    }

    /// Of all phases together.
    fn seconds(&self, phases: &[(&str, Work)], speeds: &Speeds) -> f64 {
        phases
            .iter()
            .map(|(_, work)| work.seconds(&self.load, speeds))
            .sum()
    }

    fn phase(&self, name: &str, work: &Work, speeds: &Speeds) -> PhasePlan {
        PhasePlan {
            phase: name.to_owned(),
            seconds: rounded(work.seconds(&self.load, speeds)),
            flops: work.flops(&self.load),
            bytes: work.bytes,
        }
    }

    fn memory_by_stage(&self) -> Vec<StageMemory> {
        self.memory()
            .into_iter()
            .map(|(stage, bytes)| StageMemory {
                stage: stage.to_owned(),
                bytes: bytes.round(),
            })
            .collect()
    }

    /// One look at the first method alone.
    fn first_rung(&self) -> Rungs<'_> {
        let methods = &self.methods[..self.methods.len().min(1)];
        let (look, few_shot) = (self.evaluations(1.0, self.choosing()), Work::default());
        Rungs {
            methods,
            transferring: look,
            few_shot,
        }
    }

    fn phases(&self, rungs: Rungs) -> [(&'static str, Work); 6] {
        let Rungs {
            methods,
            transferring,
            few_shot,
        } = rungs;
        let Bytes {
            models,
            data,
            result,
            ..
        } = self.bytes;
        // A model's file is digested and then looked through.
        let fetching = Work {
            bytes: (models + data) as f64,
            ..Work::default()
        };
        let publishing = Work {
            bytes: result as f64,
            elements: self.elements(1.0),
            ..Work::default()
        };
        let mut aligning = Work::default();
        methods
            .iter()
            .for_each(|method| aligning += self.aligning(*method));

        [
            ("fetching", fetching),
            ("diagnosing", self.diagnosing()),
            ("aligning", aligning),
            ("transferring", transferring),
            ("fine_tuning", self.fine_tuning(few_shot)),
            ("publishing", publishing),
        ]
    }

    /// So many evaluations of models on so many samples each.
    fn evaluations(&self, models: f64, samples: usize) -> Work {
        let batches = models * samples.div_ceil(EVALUATION_BATCH) as f64;
        let (forwards, elements) = (models * samples as f64, self.elements(models));
        Work {
            forwards,
            batches,
            elements,
            ..Work::default()
        }
    }

    fn statistics(&self, models: f64) -> Work {
        let samples = STATISTICS_SAMPLES.min(self.samples.train);
        if self.has_batch_norm {
            self.evaluations(models, samples)
        } else {
            Work::default()
        }
    }

    fn diagnosing(&self) -> Work {
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
        if self.is_auto() && self.spec.options.barrier && validation > 0 {
            work += self.evaluations(BARRIER_POINTS, BARRIER_SAMPLES[0]);
        }

        work
    }

    /// Validation samples that choose.
    fn choosing(&self) -> usize {
        self.samples
            .validation
            .min(self.spec.options.selection.samples)
    }

    fn aligning(&self, method: Method) -> Work {
        let steps = self.timesteps as f64;
        // The bases' own parameters are a pair more.
        let anchor = f64::from(u8::from(self.spec.options.weight_anchor > 0.0));
        match method {
            Method::Identity => Work::default(),
            Method::Gmt => {
                let mut work = self.pairs(steps * (steps + 1.0) / 2.0);
                (1..=self.timesteps)
                    .for_each(|step| work += self.solving(step as f64 + anchor, 0.0));
                work
            }
            Method::Fgmt => {
                let mut work = self.pairs(steps);
                (1..=self.timesteps).for_each(|step| {
                    let known = if step == 1 {
                        0.0
                    } else {
                        step as f64 - 1.0 + anchor
                    };
                    work += self.solving(step as f64 + anchor, known);
                });
                work
            }
            Method::Gradfix => {
                let votes = self.batch();
                let mut work = Work {
                    gradients: votes,
                    batches: votes,
                    ..Work::default()
                };
                work.elements += self.elements(2.0 * votes);
                if !self.is_auto() {
                    work += self.aligning(self.spec.options.gradfix_on.into());
                }
                work
            }
            Method::Functional => self.functional(),
            Method::Bico | Method::Theseus => self.maps(method),
            Method::Oracle => {
                let mut work = self.training(1.0);
                work += self.solving(1.0, 0.0);
                work
            }
            Method::WeightMatching => self.solving(1.0, 0.0),
        }
    }

    /// Four models over the inputs for every fit, and as many products again for what is solved.
    fn functional(&self) -> Work {
        let samples = self.samples.train.min(functional::MOST_SAMPLES);
        let is_large = functional::is_large(self.parameters);
        let forwards = functional::forwards(samples, false, is_large) as f64;
        Work {
            forwards: SOLVING_SHARE * forwards,
            batches: forwards / self.batch().max(1.0),
            elements: self.elements(8.0),
            ..Work::default()
        }
    }

    /// What both bases' layers see, a decomposition at both sides of each, and weight matching.
    fn maps(&self, method: Method) -> Work {
        let samples = STATISTICS_SAMPLES.min(self.samples.train) as f64;
        let rows = 2.0 * samples;
        let (gradients, forwards) = if method == Method::Bico {
            (rows, 0.0)
        } else {
            (0.0, rows)
        };
        let mut work = self.solving(1.0, 0.0);
        work += Work {
            gradients,
            forwards,
            batches: rows / self.batch().max(1.0),
            products: 2.0 * (DECOMPOSITION * self.matching.cubes + rows * self.matching.units),
            ..Work::default()
        };
        work
    }

    /// Gradients of both models on one batch, with the points that they are taken at.
    fn pairs(&self, pairs: f64) -> Work {
        Work {
            gradients: 2.0 * pairs * self.batch(),
            batches: 2.0 * pairs,
            elements: self.elements(2.0 * pairs),
            ..Work::default()
        }
    }

    /// One solve over `pairs`, of which `known` are in the matrices already.
    fn solving(&self, pairs: f64, known: f64) -> Work {
        let matching = &self.matching;
        let (anchored, corrections) = if matching.separable {
            (0.0, 0.0)
        } else {
            (pairs, (SWEEPS - 1.0) * pairs)
        };
        let built = anchored + pairs - known + corrections;
        let solves = if matching.separable {
            1.0
        } else {
            1.0 + SWEEPS
        };
        Work {
            similarities: built * matching.flops,
            elements: built * matching.elements + self.elements(pairs),
            units: solves * matching.units,
            ..Work::default()
        }
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

    fn all_transferring(&self) -> Work {
        let mut all = Work::default();
        self.methods
            .iter()
            .for_each(|method| all += self.transferring(*method));
        if self.is_auto() {
            all += self.evaluations(1.0, self.samples.test);
        }
        all
    }

    fn fine_tuning(&self, few_shot: Work) -> Work {
        let mut work = few_shot;
        let Some(stage) = &self.spec.fine_tune else {
            return work;
        };
        let pulls = stage.pull.is_some_and(|pull| pull > 0.0);
        // What it is compared with: without the transfer, and without the pull.
        let rivals = if self.is_auto() {
            1.0 + f64::from(u8::from(pulls))
        } else {
            0.0
        };
        work += self.training(1.0 + rivals);
        if self.spec.options.barrier {
            let samples = BARRIER_SAMPLES[1].min(self.samples.train);
            work += self.evaluations(BARRIER_POINTS, samples);
        }
        work
    }

    /// Plain training at the cost of every rung, after the trials of its learning rates.
    fn few_shot(&self) -> Work {
        let SampleCounts {
            train,
            validation,
            test,
        } = self.samples;
        if !self.is_auto() || train == 0 || validation == 0 {
            return Work::default();
        }

        let trials = RATES.len() as f64;
        let mut tried = self.all_transferring();
        self.methods
            .iter()
            .for_each(|method| tried += self.aligning(*method));
        let cost = tried.gradients + tried.forwards / 3.0;
        let gradients = cost * (1.0 + TRIAL * trials);
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

    fn training(&self, times: f64) -> Work {
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

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests;
