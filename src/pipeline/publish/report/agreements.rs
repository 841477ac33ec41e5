//! What figures are that are no accuracies.
//!
//! Where a split has no labels, they are agreements with the old tuned model: whoever chooses and judges compares
//! with the labels that stand there, the old tuned model's predictions. Of a regression they are R². A report calls
//! neither accuracy.

use crate::{
    contract::report::{
        AlphaScore, Baselines, Candidate, Epoch, FineTuned, LadderStep, Look, Report, Scores,
        Standing, StepScore, Trained,
    },
    pipeline::inputs::Unlabelled,
};

/// What stands in the place of an accuracy.
#[derive(Clone, Copy)]
enum Instead {
    Agreement,
    R2,
}

/// What the figures of each split are, where they are no accuracies.
#[derive(Clone, Copy)]
struct Told {
    validation: Option<Instead>,
    test: Option<Instead>,
}

/// The figures of one model on one split that may not be what they are called.
struct Slots<'f> {
    accuracy: &'f mut Option<f64>,
    loss: Option<&'f mut Option<f64>>,
    agreement: &'f mut Option<f64>,
    r2: &'f mut Option<f64>,
}

impl Slots<'_> {
    /// Without labels nobody knows a loss.
    fn become_what_they_are(self, instead: Instead) {
        match instead {
            Instead::Agreement => {
                *self.agreement = self.accuracy.take();
                if let Some(loss) = self.loss {
                    *loss = None;
                }
            }
            Instead::R2 => *self.r2 = self.accuracy.take(),
        }
    }
}

/// Figures of one model on one split.
trait Figures {
    fn slots(&mut self) -> Slots<'_>;
}

/// Of a struct whose fields have these names.
macro_rules! figures {
    ($($of:ty: $accuracy:ident, $loss:ident, $agreement:ident, $r2:ident;)*) => {
        $(impl Figures for $of {
            fn slots(&mut self) -> Slots<'_> {
                Slots {
                    accuracy: &mut self.$accuracy,
                    loss: Some(&mut self.$loss),
                    agreement: &mut self.$agreement,
                    r2: &mut self.$r2,
                }
            }
        })*
    };
}

figures! {
    Scores: accuracy, loss, agreement, r2;
    StepScore: accuracy, loss, agreement, r2;
    AlphaScore: accuracy, loss, agreement, r2;
    Standing: accuracy, loss, agreement, r2;
    Trained: accuracy, loss, agreement, r2;
    Epoch: validation_accuracy, validation_loss, validation_agreement, validation_r2;
    Look: validation_accuracy, validation_loss, validation_agreement, validation_r2;
}

impl Figures for LadderStep {
    fn slots(&mut self) -> Slots<'_> {
        Slots {
            accuracy: &mut self.validation_accuracy,
            loss: None,
            agreement: &mut self.validation_agreement,
            r2: &mut self.validation_r2,
        }
    }
}

/// Tells figures as what they are: those of splits without labels, and those of a network that tells values.
pub fn tell(report: &mut Report, unlabelled: Unlabelled, is_of_values: bool) {
    let told = Told {
        validation: instead(unlabelled.validation, is_of_values),
        test: instead(unlabelled.test, is_of_values),
    };
    let Baselines {
        source_tuned,
        target_before,
        few_shot,
        fine_tune_only,
        without_pull,
    } = &mut report.baselines;
    for standing in [source_tuned, target_before].into_iter().flatten() {
        all(&mut standing.validation, told.validation);
        one(standing, told.test);
    }
    for trained in [few_shot, fine_tune_only, without_pull]
        .into_iter()
        .flatten()
    {
        all(&mut trained.validation, told.validation);
        all(&mut trained.epochs, told.validation);
        one(trained, told.test);
    }

    for candidate in &mut report.candidates {
        candidate.tell(told);
    }
    if let Some(tuned) = &mut report.fine_tune {
        tuned.tell(told);
    }

    all(report.ladder.iter_mut().flatten(), told.validation);
}

fn instead(is_unlabelled: bool, is_of_values: bool) -> Option<Instead> {
    match (is_unlabelled, is_of_values) {
        (true, _) => Some(Instead::Agreement),
        (false, true) => Some(Instead::R2),
        (false, false) => None,
    }
}

fn one(figures: &mut impl Figures, instead: Option<Instead>) {
    if let Some(instead) = instead {
        figures.slots().become_what_they_are(instead);
    }
}

fn all<'f, F: Figures + 'f>(
    figures: impl IntoIterator<Item = &'f mut F>,
    instead: Option<Instead>,
) {
    for figures in figures {
        one(figures, instead);
    }
}

impl Candidate {
    fn tell(&mut self, told: Told) {
        all(&mut self.validation, told.validation);
        all(&mut self.last_step, told.validation);
        all(&mut self.steps, told.validation);
        all(&mut self.alphas, told.validation);
        all(&mut self.test, told.test);
    }
}

impl FineTuned {
    fn tell(&mut self, told: Told) {
        all(&mut self.validation, told.validation);
        all(&mut self.epochs, told.validation);
        let looks = self.touch_up.iter_mut().flat_map(|stage| &mut stage.looks);
        all(looks, told.validation);
        all(&mut self.test, told.test);
    }
}
