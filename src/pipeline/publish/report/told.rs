//! The engine's figures in the report's words.

use crate::{
    contract::report::{
        AlphaScore, BaseCosines, Epoch, Fit, FittedLayer, FunctionalFits, FunctionalTrial,
        GroupMatch, LadderStep, LayerCosine, LayerMaps, LossBarrier, MatchedStep, Relation, Scores,
        SignMask, StepScore,
    },
    engine::{
        symmetry,
        training::{self, Evaluation},
        transfer::{
            self, Evidence, FunctionalEvidence, GroupEvidence, MapEvidence, Mask, Score, diagnosis,
            functional::LayerFit, ladder, race::Record, shared_vocabulary::Axis,
        },
    },
};

/// Why a training ended.
pub fn end(end: training::End) -> &'static str {
    match end {
        training::End::Finished => "finished",
        training::End::TargetReached => "target_reached",
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

impl From<&Evaluation> for Scores {
    fn from(of: &Evaluation) -> Self {
        Self { accuracy: Some(of.accuracy), loss: Some(of.loss), samples: None }
    }
}

impl From<&Record> for Scores {
    fn from(of: &Record) -> Self {
        let (accuracy, loss) = (Some(of.accuracy()), Some(of.loss()));
        Self { accuracy, loss, samples: Some(of.samples()) }
    }
}

impl From<&Score> for StepScore {
    fn from(of: &Score) -> Self {
        let Score { step, accuracy, loss, samples } = *of;
        Self {
            step: Some(step),
            accuracy: Some(accuracy),
            loss: Some(loss),
            samples: Some(samples),
        }
    }
}

impl From<&(f64, Score)> for AlphaScore {
    fn from((alpha, of): &(f64, Score)) -> Self {
        Self {
            alpha: Some(*alpha),
            accuracy: Some(of.accuracy),
            loss: Some(of.loss),
            samples: Some(of.samples),
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
        let LayerFit { layer, rows, factor, left } = of;
        Self { layer: layer.clone(), rows: *rows, ridge: Some(*factor), left: Some(*left) }
    }
}

impl From<&MapEvidence> for LayerMaps {
    fn from(of: &MapEvidence) -> Self {
        Self { samples: of.samples, maps: of.maps, completed: of.completed }
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
        }
    }
}

impl From<&training::Barrier> for LossBarrier {
    fn from(of: &training::Barrier) -> Self {
        Self { height: Some(of.height), losses: of.losses.iter().copied().map(Some).collect() }
    }
}

impl From<&diagnosis::Cosines> for BaseCosines {
    fn from(of: &diagnosis::Cosines) -> Self {
        let layers = of.layers.iter().cloned().map(LayerCosine::from).collect();
        Self { layers, all: of.all, matrices: of.matrices }
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
            taken: of.taken,
            reason: of.reason.clone(),
            validation_accuracy: of.validation_accuracy,
            sample_gradients: of.sample_gradients,
            sample_forwards: of.sample_forwards,
        }
    }
}
