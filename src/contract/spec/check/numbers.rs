//! Ranges of numbers, and what some of them need.

use super::Fault;
use crate::contract::spec::{Alpha, FineTune, LearningRate, Preprocess, Selection, Spec};

/// Longest accepted list of means or standard deviations.
const CHANNELS_LIMIT: usize = 16_384;

impl Spec {
    pub(super) fn check_numbers(&self, faults: &mut Vec<Fault>) {
        self.check_options(faults);
        check_selection(&self.options.selection, faults);
        if let Some(fine_tune) = &self.fine_tune {
            check_training(fine_tune, faults);
            if !self.has_train() {
                faults.push(Fault::new("/fine_tune", "fine-tuning needs data.train"));
            }
        }
        if let Some(preprocess) = self.data.as_ref().and_then(|data| data.preprocess.as_ref()) {
            check_preprocess(preprocess, faults);
        }
    }

    fn check_options(&self, faults: &mut Vec<Fault>) {
        let options = &self.options;
        within(faults, "/options/timesteps", options.timesteps, 1, 1000);
        within(
            faults,
            "/options/batch_size",
            options.batch_size,
            1,
            1 << 20,
        );

        if let Some(update) = &options.update {
            within(faults, "/options/update/rank", update.rank, 1, 4096);
        }

        if options.alpha == Alpha::ByGroup && !self.has_train() {
            let detail = "an α for each group is found on training samples: give data.train";
            faults.push(Fault::new("/options/alpha", detail));
        }

        if let Alpha::Fixed(alpha) = options.alpha
            && !(alpha.is_finite() && alpha.abs() <= 100.0)
        {
            faults.push(Fault::new(
                "/options/alpha",
                "a number of magnitude at most 100",
            ));
        }

        if !(0.0..=1000.0).contains(&options.weight_anchor) {
            faults.push(Fault::new(
                "/options/weight_anchor",
                "must lie between 0 and 1000",
            ));
        }
    }
}

fn check_selection(selection: &Selection, faults: &mut Vec<Fault>) {
    within(
        faults,
        "/options/selection/samples",
        selection.samples,
        1,
        1 << 20,
    );
    if !(selection.confidence > 0.5 && selection.confidence < 1.0) {
        let detail = "must lie between 0.5 and 1, both excluded";
        faults.push(Fault::new("/options/selection/confidence", detail));
    }

    if !(0.0..=1.0).contains(&selection.margin) {
        let detail = "is a share of right answers: must lie between 0 and 1";
        faults.push(Fault::new("/options/selection/margin", detail));
    }
}

fn check_preprocess(preprocess: &Preprocess, faults: &mut Vec<Fault>) {
    if preprocess.mean.len().max(preprocess.std.len()) > CHANNELS_LIMIT {
        let detail = format!("at most {CHANNELS_LIMIT} channels");
        faults.push(Fault::new("/data/preprocess", detail));
    }
    if preprocess.mean.len() != preprocess.std.len() {
        faults.push(Fault::new(
            "/data/preprocess",
            "mean and std differ in length",
        ));
    }
    if preprocess.mean.iter().any(|m| !m.is_finite()) {
        faults.push(Fault::new("/data/preprocess/mean", "must be finite"));
    }

    if preprocess.std.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
        faults.push(Fault::new("/data/preprocess/std", "must be above zero"));
    }
}

/// The numbers of the stage after a transfer.
fn check_training(stage: &FineTune, faults: &mut Vec<Fault>) {
    within(faults, "/fine_tune/epochs", stage.epochs, 1, 10_000);
    within(
        faults,
        "/fine_tune/batch_size",
        stage.batch_size,
        1,
        1 << 20,
    );
    let counts = [
        ("looks_per_epoch", stage.looks_per_epoch, 1000),
        ("patience", stage.patience, 100_000),
        ("lora_rank", stage.lora_rank, 4096),
    ];

    for (name, value, most) in counts {
        let Some(value) = value else { continue };
        within(faults, &format!("/fine_tune/{name}"), value, 1, most);
    }

    let rate = match stage.learning_rate {
        LearningRate::Fixed(rate) => Some(rate),
        LearningRate::Auto => None,
    };
    for (name, value) in [("learning_rate", rate), ("clip", stage.clip)] {
        if value.is_some_and(|value| !(value.is_finite() && value > 0.0)) {
            faults.push(Fault::new(
                format!("/fine_tune/{name}"),
                "must be above zero",
            ));
        }
    }

    if stage.stop_at.is_some_and(|at| !(0.0..=1.0).contains(&at)) {
        let detail = "is an accuracy: must lie between 0 and 1";
        faults.push(Fault::new("/fine_tune/stop_at", detail));
    }

    if stage
        .warmup
        .is_some_and(|share| !(0.0..1.0).contains(&share))
    {
        let detail = "is a share of the steps: must be at least 0 and below 1";
        faults.push(Fault::new("/fine_tune/warmup", detail));
    }

    if stage
        .pull
        .is_some_and(|pull| !(0.0..=1000.0).contains(&pull))
    {
        faults.push(Fault::new("/fine_tune/pull", "must lie between 0 and 1000"));
    }
}

fn within(faults: &mut Vec<Fault>, pointer: &str, value: usize, low: usize, high: usize) {
    if !(low..=high).contains(&value) {
        faults.push(Fault::new(
            pointer,
            format!("must lie between {low} and {high}, not {value}"),
        ));
    }
}
