//! How much a job holds at once, by stage, in bytes.

use super::sizes::{EVALUATION_BATCH, Job};
use crate::{
    contract::spec::Labels,
    engine::{
        training::MAX_WEIGHTS,
        transfer::{Method, candidate::MOST_ARMS, methods::functional},
    },
    pipeline::{retraining::BATCH as FEW_SHOT_BATCH, touch_up::TouchUp},
};

/// A process that has done nothing yet, in bytes.
const PROCESS: f64 = 45e6;
/// Bounds of what is held at once: activations, matrices `A_g`, blocks to be multiplied, pairs.
const ACTIVATIONS: f64 = 512e6;
const MATRICES: f64 = 256e6;
const BLOCKS: f64 = 8.4e6;
const PAIRS: f64 = 512e6;
const RANGES: f64 = 64e6;
/// Partial gradients and packed panels of convolutions and attention.
const PANELS: f64 = 32e6;
/// Rows of a layer that is fitted, as they are copied.
const FITTED_ROWS: f64 = 512e6;
/// What activations take with what the allocator keeps of those let go.
const RETAINED: f64 = 1.3;

impl Job<'_> {
    /// The most that one method's candidate holds, in bytes.
    pub fn memory_of(&self, method: Method) -> f64 {
        let stages = self.stages(&[method]);
        stages
            .iter()
            .fold(0.0, |most: f64, (_, bytes)| most.max(*bytes))
            .round()
    }

    /// The most that is held at once, in bytes.
    pub fn most_memory(&self) -> f64 {
        self.memory()
            .iter()
            .fold(0.0, |most: f64, (_, bytes)| most.max(*bytes))
    }

    /// The most that each stage holds, in bytes.
    pub fn memory(&self) -> Vec<(&'static str, f64)> {
        let mut stages = self.stages(self.methods);
        let few = self.is_auto() && self.samples.train > 0 && self.samples.validation > 0;
        let batch = self.spec.fine_tune.as_ref().map(|plan| plan.batch_size);
        if let Some(batch) = batch.or(few.then_some(FEW_SHOT_BATCH)) {
            let held = self.held(batch.min(self.samples.train) as f64);
            let models = 6.0 + self.models_of_touch_up();
            stages.push(("fine_tuning", self.always() + models * self.model() + held));
        }
        stages
    }

    /// Models that a touch-up holds beside those of plain training: the start that it is pulled to, the best
    /// look, the teacher.
    fn models_of_touch_up(&self) -> f64 {
        let Some(stage) = &self.spec.fine_tune else {
            return 0.0;
        };
        let touch_up = TouchUp::of(stage, self.samples);
        let held = [
            touch_up.pull > 0.0,
            touch_up.looks.is_some(),
            stage.labels == Labels::OldModel,
        ];
        held.into_iter().filter(|held| *held).count() as f64
    }

    /// A model as it is computed with; files are read a range at a time.
    fn model(&self) -> f64 {
        4.0 * self.parameters as f64
    }

    /// The largest tensor as it is read and as it is computed with.
    fn one_tensor(&self) -> f64 {
        6.0 * self.largest_tensor as f64
    }

    /// The process and the samples.
    fn always(&self) -> f64 {
        PROCESS + self.bytes.held as f64
    }

    /// What a gradient on so many samples takes beside the model.
    fn held(&self, samples: f64) -> f64 {
        let all = 4.0 * samples * self.load.held;
        let most = if self.has_batch_norm {
            all
        } else {
            ACTIVATIONS + 4.0 * self.load.held
        };
        let panels = if self.load.convolutions > 0.0 {
            PANELS
        } else {
            0.0
        };
        RETAINED * all.min(most) + panels
    }

    /// What the candidates of some methods take, by what they do.
    fn stages(&self, methods: &[Method]) -> Vec<(&'static str, f64)> {
        let is_fit = |method: &Method| *method == Method::Functional;
        let solves = methods
            .iter()
            .any(|method| *method != Method::Identity && !is_fit(method));
        let gradients = methods
            .iter()
            .any(|method| method.needs_data() && !is_fit(method));
        let (model, always) = (self.model(), self.always());
        let kept = if gradients {
            2.0 * model * self.timesteps as f64
        } else {
            0.0
        };
        let kept = if kept <= PAIRS { kept } else { 0.0 };

        // A result is computed while it is written, a tensor's range at a time.
        let range = (4.0 * model).min(RANGES);
        let mut stages = vec![("fetching", always), ("transferring", always + range)];
        if solves {
            let matrices = (4.0 * self.matching.units).min(MATRICES);
            let largest = 3.0 * 4.0 * self.matching.largest_units;
            let blocks = 6.0 * 4.0 * self.matching.largest.min(BLOCKS);
            stages.push((
                "matching",
                always + kept + matrices + largest + blocks + range,
            ));
        }

        if gradients {
            stages.push((
                "gradients",
                always + kept + 3.0 * model + self.held(self.batch()),
            ));
        }

        if methods.iter().any(is_fit) && self.samples.train > 0 {
            // Activations of seven models, bounded, and four results; those of a large model lie on a disk.
            let samples = self.samples.train.min(functional::MOST_SAMPLES) as f64;
            let activations = 7.0 * 4.0 * samples * 3.0 * self.load.largest;
            let held = activations.min(functional::MAX_ACTIVATIONS as f64);
            let is_large = functional::is_large(self.parameters);
            let results = if is_large {
                self.one_tensor()
            } else {
                4.0 * model
            };
            let rows = (6.0 * 8.0 * samples * self.load.largest).min(FITTED_ROWS);
            stages.push(("functional", always + held + results + rows));
        }

        if self.samples.validation > 0 {
            let batch = self.samples.validation.min(EVALUATION_BATCH) as f64;
            let activations = 3.0 * 4.0 * batch * self.load.largest;
            // A large model's weights are read as they are needed.
            let weights = if self.parameters > MAX_WEIGHTS {
                self.one_tensor()
            } else {
                model
            };
            // Models by maps are held while they race; others are computed while they are read.
            let has_maps = methods
                .iter()
                .any(|method| matches!(method, Method::Bico | Method::Theseus));
            let models = if has_maps {
                MOST_ARMS as f64 * model
            } else {
                weights
            };
            stages.push(("evaluating", always + models + activations));
        }

        stages
    }
}
