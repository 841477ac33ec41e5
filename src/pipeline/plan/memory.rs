//! How much a job holds at once, by stage, in bytes.

use super::sizes::Job;
use crate::{
    contract::{
        plan::{SampleCounts, StageMemory},
        spec::Labels,
    },
    engine::{
        symmetry::{MATRIX_CACHE_BYTES, MAX_BLOCK_ELEMENTS},
        training::{EVALUATION_BATCH_SAMPLES, MAX_ACTIVATION_BYTES, MAX_WEIGHTS},
        transfer::{
            Method,
            candidate::MOST_ARMS,
            functional::MAX_FITTED_VALUES,
            methods::functional::{self, MAX_ACTIVATION_BYTES as MAX_FIT_BYTES},
        },
    },
    pipeline::{
        cache::gradients::MAX_BYTES_IN_MEMORY, retraining::BATCH_SAMPLES as FEW_SHOT_BATCH,
        touch_up::TouchUp,
    },
};

// Measured on jobs whose bounds are known: `cargo bench --bench plan` prints what each was planned to hold
// beside what it was resident with.

/// A process that has done nothing yet.
const PROCESS_BYTES: f64 = 45e6;
/// The ranges of lazy tensors that are computed and read at once.
const RANGES_BYTES: f64 = 64e6;
/// Partial gradients and packed panels of convolutions and attention.
const PANELS_BYTES: f64 = 32e6;
/// Bytes of activations with what the allocator keeps of those let go, over their own.
const RETAINED_SHARE: f64 = 1.3;

const BYTES_PER_FLOAT: f64 = 4.0;

/// The most that one stage of a job holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub name: &'static str,
    pub bytes: f64,
}

impl Stage {
    fn new(name: &'static str, bytes: f64) -> Self {
        Self { name, bytes }
    }

    fn most(stages: &[Self]) -> f64 {
        stages
            .iter()
            .fold(0.0, |most: f64, stage| most.max(stage.bytes))
    }
}

/// What a job holds on a GPU at least, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemoryPlan {
    /// Of all tensors.
    pub bytes: usize,
    /// Of the largest one.
    pub largest: usize,
}

impl Job<'_> {
    /// What is held on a GPU, one sample at a time where samples can be parted. A job without samples computes no
    /// logits, and what it multiplies comes in blocks.
    pub fn device_memory(&self) -> DeviceMemoryPlan {
        let Self {
            samples, device, ..
        } = self;
        let trains = self.methods.iter().any(|method| method.needs_data())
            || self.spec.fine_tune.is_some()
            || self.is_auto();

        let bytes = match samples {
            SampleCounts { train: 1.., .. } if trains => device.training,
            SampleCounts {
                train: 0,
                validation: 0,
                test: 0,
            } => return DeviceMemoryPlan::default(),
            _ => device.evaluating,
        };
        DeviceMemoryPlan {
            bytes,
            largest: device.largest,
        }
    }

    /// The most that one method's candidate holds, in bytes.
    pub fn memory_of(&self, method: Method) -> f64 {
        Stage::most(&self.stages(&[method])).round()
    }

    /// The most that is held at once, in bytes.
    pub fn most_memory(&self) -> f64 {
        Stage::most(&self.memory())
    }

    /// The most that each stage holds, in whole bytes.
    pub fn memory_by_stage(&self) -> Vec<StageMemory> {
        let stages = self.memory().into_iter();
        stages
            .map(|Stage { name, bytes }| StageMemory {
                stage: name.to_owned(),
                bytes: bytes.round(),
            })
            .collect()
    }

    fn memory(&self) -> Vec<Stage> {
        let mut stages = self.stages(self.methods);
        let few = self.is_auto() && self.samples.train > 0 && self.samples.validation > 0;
        let batch = self.spec.fine_tune.as_ref().map(|plan| plan.batch_size);
        if let Some(batch) = batch.or(few.then_some(FEW_SHOT_BATCH)) {
            let held = self.held(batch.min(self.samples.train) as f64);
            let models = 6.0 + self.models_of_touch_up();
            stages.push(Stage::new(
                "fine_tuning",
                self.always() + models * self.model() + held,
            ));
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
        BYTES_PER_FLOAT * self.parameters as f64
    }

    /// The largest tensor as it is read and as it is computed with.
    fn one_tensor(&self) -> f64 {
        6.0 * self.largest_tensor as f64
    }

    /// The process and the samples.
    fn always(&self) -> f64 {
        PROCESS_BYTES + self.bytes.held as f64
    }

    /// A result is computed while it is written, a tensor's range at a time.
    fn range(&self) -> f64 {
        (4.0 * self.model()).min(RANGES_BYTES)
    }

    /// What a gradient on so many samples takes beside the model.
    fn held(&self, samples: f64) -> f64 {
        let all = BYTES_PER_FLOAT * samples * self.load.held;
        let most = if self.has_batch_norm {
            all
        } else {
            MAX_ACTIVATION_BYTES as f64 + BYTES_PER_FLOAT * self.load.held
        };
        let panels = if self.load.convolutions > 0.0 {
            PANELS_BYTES
        } else {
            0.0
        };
        RETAINED_SHARE * all.min(most) + panels
    }

    /// What the candidates of some methods take, by what they do.
    fn stages(&self, methods: &[Method]) -> Vec<Stage> {
        let (model, always) = (self.model(), self.always());
        let gradients = methods
            .iter()
            .any(|method| method.needs_data() && !is_fit(*method));
        let kept = if gradients { self.pairs_bytes() } else { 0.0 };

        let mut stages = vec![
            Stage::new("fetching", always),
            Stage::new("transferring", always + self.range()),
        ];
        if methods
            .iter()
            .any(|method| *method != Method::Identity && !is_fit(*method))
        {
            stages.push(Stage::new(
                "matching",
                always + kept + self.matching_bytes(),
            ));
        }

        if gradients {
            stages.push(Stage::new(
                "gradients",
                always + kept + 3.0 * model + self.held(self.batch()),
            ));
        }
        if methods.iter().copied().any(is_fit) && self.samples.train > 0 {
            stages.push(Stage::new("functional", always + self.fit_bytes()));
        }
        if self.samples.validation > 0 {
            stages.push(Stage::new(
                "evaluating",
                always + self.evaluation_bytes(methods),
            ));
        }
        stages
    }

    /// Gradient pairs of all timesteps, where they are held.
    fn pairs_bytes(&self) -> f64 {
        let kept = 2.0 * self.model() * self.timesteps as f64;
        if kept <= MAX_BYTES_IN_MEMORY as f64 {
            kept
        } else {
            0.0
        }
    }

    /// The matrices `A_g`, the assignment of the largest, and the blocks that are multiplied: of both sides, as
    /// they are read, laid out and packed.
    fn matching_bytes(&self) -> f64 {
        let matrices = (BYTES_PER_FLOAT * self.matching.units).min(MATRIX_CACHE_BYTES as f64);
        let largest = 3.0 * BYTES_PER_FLOAT * self.matching.largest_units;
        let elements = self.matching.largest.min(2.0 * MAX_BLOCK_ELEMENTS as f64);
        matrices + largest + 6.0 * BYTES_PER_FLOAT * elements + self.range()
    }

    /// Activations of seven models, bounded, and four results; those of a large model lie on a disk.
    fn fit_bytes(&self) -> f64 {
        let samples = self.samples.train.min(functional::MOST_SAMPLES) as f64;
        let activations = 7.0 * BYTES_PER_FLOAT * samples * 3.0 * self.load.largest;
        let results = if functional::is_large(self.parameters) {
            self.one_tensor()
        } else {
            4.0 * self.model()
        };

        // A layer's inputs and outputs in double precision.
        let most_rows = 2.0 * 8.0 * MAX_FITTED_VALUES as f64;
        let rows = (6.0 * 8.0 * samples * self.load.largest).min(most_rows);
        activations.min(MAX_FIT_BYTES as f64) + results + rows
    }

    fn evaluation_bytes(&self, methods: &[Method]) -> f64 {
        let batch = self.samples.validation.min(EVALUATION_BATCH_SAMPLES) as f64;
        let activations = 3.0 * BYTES_PER_FLOAT * batch * self.load.largest;
        // Models by maps are held while they race; others are computed while they are read.
        let has_maps = methods
            .iter()
            .any(|method| matches!(method, Method::Bico | Method::Theseus));

        let models = if has_maps {
            MOST_ARMS as f64 * self.model()
        } else if self.parameters > MAX_WEIGHTS {
            // A large model's weights are read as they are needed.
            self.one_tensor()
        } else {
            self.model()
        };
        models + activations
    }
}

fn is_fit(method: Method) -> bool {
    method == Method::Functional
}
