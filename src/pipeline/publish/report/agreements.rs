//! Where a split has no labels, its figures are agreements with the old tuned model.
//!
//! Whoever chooses and judges compares with the labels that stand there, the old tuned model's predictions; a
//! report does not call that accuracy.

use crate::{
    contract::report::{
        AlphaScore, Baselines, Candidate, Epoch, FineTuned, LadderStep, Look, Report, Scores,
        Standing, StepScore, Trained,
    },
    pipeline::inputs::Unlabelled,
};

/// Figures of one model on one split.
trait Figures {
    /// An accuracy against the old tuned model's predictions is told as what it is.
    fn become_agreements(&mut self);
}

impl Figures for Scores {
    fn become_agreements(&mut self) {
        (self.agreement, self.loss) = (self.accuracy.take(), None);
    }
}

impl Figures for StepScore {
    fn become_agreements(&mut self) {
        (self.agreement, self.loss) = (self.accuracy.take(), None);
    }
}

impl Figures for AlphaScore {
    fn become_agreements(&mut self) {
        (self.agreement, self.loss) = (self.accuracy.take(), None);
    }
}

impl Figures for Epoch {
    fn become_agreements(&mut self) {
        self.validation_agreement = self.validation_accuracy.take();
        self.validation_loss = None;
    }
}

impl Figures for Look {
    fn become_agreements(&mut self) {
        self.validation_agreement = self.validation_accuracy.take();
        self.validation_loss = None;
    }
}

impl Figures for LadderStep {
    fn become_agreements(&mut self) {
        self.validation_agreement = self.validation_accuracy.take();
    }
}

/// Tells the figures of splits without labels as agreements.
pub fn tell(report: &mut Report, unlabelled: Unlabelled) {
    let Baselines {
        source_tuned,
        target_before,
        few_shot,
        fine_tune_only,
        without_pull,
    } = &mut report.baselines;
    let standing = [source_tuned, target_before];
    let trained = [few_shot, fine_tune_only, without_pull];
    let (standing, trained) = (
        standing.into_iter().flatten(),
        trained.into_iter().flatten(),
    );

    if unlabelled.validation {
        report
            .candidates
            .iter_mut()
            .for_each(Candidate::tell_validation);
        report
            .fine_tune
            .iter_mut()
            .for_each(FineTuned::tell_validation);
        report
            .ladder
            .iter_mut()
            .flatten()
            .for_each(Figures::become_agreements);
    }

    if unlabelled.test {
        let tests = report
            .candidates
            .iter_mut()
            .filter_map(|one| one.test.as_mut());
        tests.for_each(Figures::become_agreements);
        let tuned = report
            .fine_tune
            .as_mut()
            .and_then(|tuned| tuned.test.as_mut());
        tuned.into_iter().for_each(Figures::become_agreements);
    }

    standing.for_each(|one| one.tell(unlabelled));
    trained.for_each(|one| one.tell(unlabelled));
}

impl Candidate {
    fn tell_validation(&mut self) {
        self.validation
            .iter_mut()
            .for_each(Figures::become_agreements);
        self.last_step
            .iter_mut()
            .for_each(Figures::become_agreements);
        self.steps.iter_mut().for_each(Figures::become_agreements);
        self.alphas.iter_mut().for_each(Figures::become_agreements);
    }
}

impl FineTuned {
    fn tell_validation(&mut self) {
        self.validation
            .iter_mut()
            .for_each(Figures::become_agreements);
        self.epochs.iter_mut().for_each(Figures::become_agreements);
        let looks = self.touch_up.iter_mut().flat_map(|stage| &mut stage.looks);
        looks.for_each(Figures::become_agreements);
    }
}

impl Standing {
    fn tell(&mut self, unlabelled: Unlabelled) {
        if unlabelled.validation {
            self.validation
                .iter_mut()
                .for_each(Figures::become_agreements);
        }
        if unlabelled.test {
            (self.agreement, self.loss) = (self.accuracy.take(), None);
        }
    }
}

impl Trained {
    fn tell(&mut self, unlabelled: Unlabelled) {
        if unlabelled.validation {
            self.validation
                .iter_mut()
                .for_each(Figures::become_agreements);
            self.epochs.iter_mut().for_each(Figures::become_agreements);
        }
        if unlabelled.test {
            (self.agreement, self.loss) = (self.accuracy.take(), None);
        }
    }
}
