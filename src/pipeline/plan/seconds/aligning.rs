//! What a method's alignment takes.

use crate::{
    engine::transfer::{Method, STATISTICS_SAMPLES, methods::functional},
    pipeline::plan::{sizes::Job, work::Work},
};

/// Sweeps of a descent: assumed, for headers do not show it.
const SWEEPS: f64 = 2.0;

// Measured beside the speeds of the calibration: `cargo bench --bench plan` prints what a job was planned to
// take beside what it took.

/// Products that a singular value decomposition takes the time of, over units³.
const DECOMPOSITION_PRODUCTS: f64 = 26.0;
/// Time of a functional fit over that of its forward passes alone.
const SOLVING_SHARE: f64 = 4.0;

impl Job<'_> {
    pub(super) fn aligning(&self, method: Method) -> Work {
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
            products: 2.0
                * (DECOMPOSITION_PRODUCTS * self.matching.cubes + rows * self.matching.units),
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
}
