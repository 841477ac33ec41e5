//! What `fine_tune` means: the numbers that a specification leaves open.
//!
//! A learning rate given as a number asks for plain training, and what is not named is off. `"auto"` asks
//! for the touch-up of a warm start, and what is not named has the values that did best
//! (docs/develop/log.md, "What a warm start wants").

use crate::{
    contract::{
        plan::SampleCounts,
        spec::{FineTune, LearningRate},
    },
    engine::training::{LOOK_SAMPLES, Looks, Optimizer},
};

/// Share of the steps over which the learning rate rises.
const WARMUP_SHARE: f64 = 0.05;
/// The largest norm of a step's gradient.
const CLIP_NORM: f64 = 1.0;
/// Looks within an epoch, at most.
const MAX_LOOKS_PER_EPOCH: usize = 8;
/// A look's forward pass is a third of a gradient; all looks of an epoch cost a quarter of it at most.
const LOOKS_SHARE: f64 = 0.25;
/// Epochs of looks below the peak.
const PATIENCE_EPOCHS: usize = 2;

/// A stage of training with every number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TouchUp {
    /// Given, or the optimiser's usual one, around which the trials are.
    pub learning_rate: f64,
    /// Whether trials choose the learning rate.
    pub tries_rates: bool,
    pub warmup: f64,
    pub clip: Option<f64>,
    pub pull: f64,
    pub looks: Option<Looks>,
}

impl TouchUp {
    /// Of a stage on so many samples.
    pub fn of(stage: &FineTune, samples: SampleCounts) -> Self {
        let (learning_rate, is_warm) = match stage.learning_rate {
            LearningRate::Fixed(rate) => (rate, false),
            LearningRate::Auto => (Optimizer::from(stage.optimizer).usual_rate(), true),
        };
        Self {
            learning_rate,
            tries_rates: is_warm,
            warmup: stage
                .warmup
                .unwrap_or(if is_warm { WARMUP_SHARE } else { 0.0 }),
            clip: stage.clip.or(is_warm.then_some(CLIP_NORM)),
            pull: stage.pull.unwrap_or(0.0),
            looks: looks(stage, samples, is_warm),
        }
    }
}

fn looks(stage: &FineTune, samples: SampleCounts, is_warm: bool) -> Option<Looks> {
    let affordable = affordable_looks(samples);
    // Whoever gives the patience alone counts epochs.
    let otherwise = if is_warm {
        Some(affordable)
    } else {
        stage.patience.map(|_| 1)
    };

    let per_epoch = stage.looks_per_epoch.or(otherwise)?;
    let patience = stage
        .patience
        .or(is_warm.then_some(PATIENCE_EPOCHS * per_epoch));

    Some(Looks {
        per_epoch,
        patience,
    })
}

/// As many looks within an epoch as keep their price low.
fn affordable_looks(
    SampleCounts {
        train, validation, ..
    }: SampleCounts,
) -> usize {
    let each = validation.clamp(1, LOOK_SAMPLES) as f64 / 3.0;
    ((LOOKS_SHARE * train as f64 / each) as usize).clamp(1, MAX_LOOKS_PER_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(train: usize, validation: usize) -> SampleCounts {
        SampleCounts {
            train,
            validation,
            test: 0,
        }
    }

    fn looks_of(train: usize, validation: usize) -> usize {
        TouchUp::of(&FineTune::default(), samples(train, validation))
            .looks
            .unwrap()
            .per_epoch
    }

    #[test]
    fn a_given_rate_is_plain_training() {
        let stage = FineTune {
            learning_rate: LearningRate::Fixed(0.02),
            ..FineTune::default()
        };
        let found = TouchUp::of(&stage, samples(1000, 100));
        let plain = TouchUp {
            learning_rate: 0.02,
            tries_rates: false,
            warmup: 0.0,
            clip: None,
            pull: 0.0,
            looks: None,
        };
        assert_eq!(found, plain);
        let patient = FineTune {
            patience: Some(3),
            ..stage
        };
        let looks = TouchUp::of(&patient, samples(1000, 100)).looks;
        assert_eq!(
            looks,
            Some(Looks {
                per_epoch: 1,
                patience: Some(3)
            })
        );
    }

    #[test]
    fn looks_cost_a_quarter_of_the_training_at_most() {
        // A quarter of 900 gradients is 675 forward passes, six looks at 100.
        assert_eq!(looks_of(900, 100), 6);
        assert_eq!(looks_of(90, 512), 1);
        // At most 512 are looked at.
        assert_eq!(looks_of(100_000, 50_000), 8);
        let given = FineTune {
            looks_per_epoch: Some(20),
            ..FineTune::default()
        };
        let looks = TouchUp::of(&given, samples(90, 10)).looks.unwrap();
        assert_eq!((looks.per_epoch, looks.patience), (20, Some(40)));
    }
}
