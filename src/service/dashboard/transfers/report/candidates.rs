//! The candidates of a report, the methods that `auto` took or passed over, and the winner trained on.

use crate::{
    contract::report::{self, Scores},
    service::dashboard::format,
};

/// A row of the candidates' table.
pub struct Candidate {
    pub method: String,
    pub winner: bool,
    pub accuracy: String,
    pub loss: String,
    pub test: String,
    pub step: String,
    pub alpha: String,
    pub sample_gradients: String,
    pub seconds: String,
}

/// A method that `auto` took or passed over.
pub struct Rung {
    pub method: String,
    pub taken: bool,
    pub reason: String,
    pub validation: String,
    pub sample_gradients: String,
    pub seconds: String,
}

pub(super) fn rung(step: &report::LadderStep, report: &report::Report) -> Rung {
    let seconds = report
        .timing
        .methods
        .get(&step.method)
        .copied()
        .filter(|_| step.taken && !step.by_group);
    let validation = step
        .validation_accuracy
        .or(step.validation_agreement)
        .or(step.validation_r2);

    let method = format::words(&step.method);
    Rung {
        method: if step.by_group {
            format!("{method}, α by group")
        } else {
            method
        },
        taken: step.taken,
        reason: step.reason.clone(),
        validation: format::percent(validation),
        sample_gradients: if step.taken {
            count(Some(step.sample_gradients))
        } else {
            format::ABSENT.into()
        },
        seconds: seconds.map_or(format::ABSENT.into(), format::seconds),
    }
}

pub(super) fn candidate(one: &report::Candidate, report: &report::Report) -> Candidate {
    let seconds = report.timing.methods.get(method(one)).copied();

    Candidate {
        method: format::words(method(one)),
        winner: report.winner == method(one),
        accuracy: accuracy(one.validation.as_ref()),
        loss: loss(one.validation.as_ref()),
        test: accuracy(one.test.as_ref()),
        step: format::figure(one.step.map(|step| step as f64)),
        alpha: format::figure(one.alpha),
        sample_gradients: count(one.sample_gradients),
        seconds: seconds.map_or(format::ABSENT.into(), format::seconds),
    }
}

/// The winner after its short training, where there was one.
pub(super) fn fine_tuned(report: &report::Report) -> Option<Candidate> {
    let tuned = report.fine_tune.as_ref()?;
    let seconds = report.timing.fine_tune_seconds;

    Some(Candidate {
        method: "+ fine-tuning".to_owned(),
        winner: false,
        accuracy: accuracy(tuned.validation.as_ref()),
        loss: loss(tuned.validation.as_ref()),
        test: accuracy(tuned.test.as_ref()),
        step: String::new(),
        alpha: String::new(),
        sample_gradients: count(tuned.sample_gradients),
        seconds: seconds.map_or(format::ABSENT.into(), format::seconds),
    })
}

pub(super) fn method(candidate: &report::Candidate) -> &str {
    candidate.method.as_deref().unwrap_or("?")
}

fn accuracy(scores: Option<&Scores>) -> String {
    format::percent(scores.and_then(Scores::share))
}

fn loss(scores: Option<&Scores>) -> String {
    format::figure(scores.and_then(|scores| scores.loss))
}

fn count(value: Option<u64>) -> String {
    format::figure(value.map(|value| value as f64))
}
