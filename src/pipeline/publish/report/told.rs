//! The engine's figures in the report's words.

use crate::{
    contract::report::{
        AlphaScore, AlphasByGroup, BaseCosines, Epoch, Fit, FittedLayer, FunctionalFits,
        FunctionalTrial, GroupAlpha, GroupMatch, LadderStep, LayerCosine, LayerMaps, Look,
        LossBarrier, MatchedStep, RateTrial, Relation, Scores, SignMask, StepScore, TouchUp,
    },
    engine::{
        symmetry,
        training::{self, Evaluation, FineTunePlan},
        transfer::{
            self, Evidence, FunctionalEvidence, GroupEvidence, MapEvidence, Mask, Score, diagnosis,
            functional::LayerFit, ladder, race::Record, shared_vocabulary::Axis,
        },
    },
    pipeline::{comparison::Training, context::Stage},
};

/// Why a training ended.
pub fn end(end: training::End) -> &'static str {
    match end {
        training::End::Finished => "finished",
        training::End::TargetReached => "target_reached",
        training::End::OutOfPatience => "out_of_patience",
        training::End::Interrupted => "interrupted",
    }
}

/// What rows are.
pub fn axis(axis: Axis) -> &'static str {
    match axis {
        Axis::Classes => "classes",
        Axis::Vocabulary => "vocabulary",
    }
}

/// How a training was done; `None` where it was plain training.
pub fn touch_up(training: &Training, stage: &Stage) -> Option<TouchUp> {
    let FineTunePlan {
        warmup,
        clip,
        pull,
        low_rank,
        teacher,
        looks,
        ..
    } = &stage.plan;
    let is_plain = !stage.tries_rates
        && *warmup <= 0.0
        && clip.is_none()
        && *pull <= 0.0
        && low_rank.is_none()
        && teacher.is_none()
        && looks.is_none();
    if is_plain {
        return None;
    }

    let trials = training.trials.iter().flat_map(|trials| &trials.trials);

    Some(TouchUp {
        labels: if teacher.is_some() {
            "old_model"
        } else {
            "given"
        }
        .to_owned(),
        learning_rate: Some(training.learning_rate),
        trials: trials.map(Into::into).collect(),
        warmup: Some(*warmup),
        clip: *clip,
        pull: Some(*pull),
        lora_rank: *low_rank,
        looks: training.looks.iter().map(Into::into).collect(),
        best_step: training.best_look.map(|best| training.looks[best].step),
    })
}

impl From<&training::RateTrial> for RateTrial {
    fn from(of: &training::RateTrial) -> Self {
        Self {
            learning_rate: Some(of.learning_rate),
            loss: of.loss,
        }
    }
}

impl From<&training::Look> for Look {
    fn from(of: &training::Look) -> Self {
        Self {
            step: of.step,
            validation_loss: Some(of.validation_loss).filter(|loss| loss.is_finite()),
            validation_accuracy: Some(of.validation_accuracy),
            validation_agreement: None,
            validation_r2: None,
        }
    }
}

impl From<&Evaluation> for Scores {
    fn from(of: &Evaluation) -> Self {
        Self {
            accuracy: Some(of.accuracy),
            loss: Some(of.loss),
            ..Self::default()
        }
    }
}

impl From<&Record> for Scores {
    fn from(of: &Record) -> Self {
        let (accuracy, loss) = (Some(of.accuracy()), Some(of.loss()));
        Self {
            accuracy,
            loss,
            samples: Some(of.samples()),
            ..Self::default()
        }
    }
}

impl From<&Score> for StepScore {
    fn from(of: &Score) -> Self {
        let Score {
            step,
            accuracy,
            loss,
            samples,
        } = *of;
        let (accuracy, loss, samples) = (Some(accuracy), Some(loss), Some(samples));

        Self {
            step: Some(step),
            accuracy,
            loss,
            samples,
            ..Self::default()
        }
    }
}

impl From<&(f64, Score)> for AlphaScore {
    fn from((alpha, of): &(f64, Score)) -> Self {
        let (accuracy, loss, samples) = (Some(of.accuracy), Some(of.loss), Some(of.samples));
        Self {
            alpha: Some(*alpha),
            accuracy,
            loss,
            samples,
            ..Self::default()
        }
    }
}

impl From<&Mask> for SignMask {
    fn from(of: &Mask) -> Self {
        Self {
            samples: of.samples,
            kept: Some(of.kept),
            loss: Some(of.loss),
            loss_of_guessing: Some(of.loss_of_guessing),
        }
    }
}

impl From<&transfer::AlphasByGroup> for AlphasByGroup {
    fn from(of: &transfer::AlphasByGroup) -> Self {
        let alphas = of.alphas.iter().map(|(group, alpha)| GroupAlpha {
            group: group.clone(),
            alpha: Some(*alpha),
        });

        Self {
            alphas: alphas.collect(),
            samples: of.samples,
            rounds: of.rounds,
            loss_before: Some(of.loss_before),
            loss: Some(of.loss),
            taken: of.taken,
        }
    }
}

impl From<&FunctionalEvidence> for FunctionalFits {
    fn from(of: &FunctionalEvidence) -> Self {
        Self {
            samples: of.samples,
            chosen: of.chosen,
            trials: of.trials.iter().map(Into::into).collect(),
            layers: of.layers.iter().map(Into::into).collect(),
        }
    }
}

impl From<&transfer::FunctionalTrial> for FunctionalTrial {
    fn from(of: &transfer::FunctionalTrial) -> Self {
        Self {
            start: of.start.name().to_owned(),
            layers: of.rule.name().to_owned(),
            agreement: Some(of.agreement),
            divergence: Some(of.divergence),
        }
    }
}

impl From<&LayerFit> for FittedLayer {
    fn from(of: &LayerFit) -> Self {
        let LayerFit {
            layer,
            rows,
            factor,
            left,
        } = of;

        Self {
            layer: layer.clone(),
            rows: *rows,
            ridge: Some(*factor),
            left: Some(*left),
        }
    }
}

impl From<&MapEvidence> for LayerMaps {
    fn from(of: &MapEvidence) -> Self {
        Self {
            samples: of.samples,
            maps: of.maps,
            completed: of.completed,
        }
    }
}

impl From<&symmetry::Fit> for Fit {
    fn from(of: &symmetry::Fit) -> Self {
        Self {
            objective: Some(of.objective),
            objective_at_identity: Some(of.objective_at_identity),
            bound: Some(of.bound),
            cosines_at_identity: of.cosines_at_identity.iter().copied().map(Some).collect(),
            cosines: of.cosines.iter().copied().map(Some).collect(),
        }
    }
}

impl From<&Evidence> for MatchedStep {
    fn from(of: &Evidence) -> Self {
        Self {
            step: of.step,
            fit: Fit::from(&of.fit),
            weight_anchor: of.weight_anchor.as_ref().map(Fit::from),
            sweeps: of.sweeps,
            certified_groups: of.certified_groups,
        }
    }
}

impl From<&GroupEvidence> for GroupMatch {
    fn from(of: &GroupEvidence) -> Self {
        Self {
            group: of.group.clone(),
            units: of.units,
            cosine_at_identity: Some(of.cosine_at_identity),
            cosine: Some(of.cosine),
            certificate: of.certificate.map(str::to_owned),
            fixed_points: of.fixed_points,
        }
    }
}

impl From<&training::Epoch> for Epoch {
    fn from(of: &training::Epoch) -> Self {
        Self {
            epoch: of.epoch,
            train_loss: Some(of.train_loss),
            validation_loss: of.validation_loss,
            validation_accuracy: of.validation_accuracy,
            ..Self::default()
        }
    }
}

impl From<&training::Barrier> for LossBarrier {
    fn from(of: &training::Barrier) -> Self {
        Self {
            height: Some(of.height),
            losses: of.losses.iter().copied().map(Some).collect(),
        }
    }
}

impl From<&diagnosis::Cosines> for BaseCosines {
    fn from(of: &diagnosis::Cosines) -> Self {
        let layers = of.layers.iter().cloned().map(LayerCosine::from).collect();
        Self {
            layers,
            all: of.all,
            matrices: of.matrices,
        }
    }
}

impl From<&diagnosis::Relation> for Relation {
    fn from(of: &diagnosis::Relation) -> Self {
        Self {
            fixed_points: Some(of.fixed_points),
            barrier: of.barrier.as_ref().map(Into::into),
            gradient_cosine_at_identity: of.gradient_cosine_at_identity,
            gradient_cosine: of.gradient_cosine,
        }
    }
}

impl From<&ladder::Step> for LadderStep {
    fn from(of: &ladder::Step) -> Self {
        Self {
            method: of.method.name().to_owned(),
            by_group: of.by_group,
            taken: of.taken,
            reason: of.reason.clone(),
            validation_accuracy: of.validation_accuracy,
            validation_agreement: None,
            validation_r2: None,
            sample_gradients: of.sample_gradients,
            sample_forwards: of.sample_forwards,
        }
    }
}
