//! The parts of the data: what feeds gradients, what chooses, what judges.

use std::ops::ControlFlow;

use super::{Unlabelled, read::location};
use crate::{
    artifacts::{
        Access, InputFile,
        dataset::{self, LabelForm, Reading},
    },
    engine::{
        network::SampleSize,
        training::{Dataset, Runnable},
    },
    pipeline::{
        failure::{self, Failure},
        job::Job,
    },
};

/// Share of the training data held out where no validation split is given.
const HELD_OUT_SHARE: f64 = 0.1;

/// The parts of the data. `validation` selects, `test` judges, only `train` feeds gradients.
#[derive(Default)]
pub struct Splits {
    pub train: Option<Dataset>,
    pub validation: Option<Dataset>,
    pub test: Option<Dataset>,
    /// Validation was held out of train, for none was given.
    pub held_out: bool,
    /// The gate is judged on validation, for no test split was given.
    pub test_is_validation: bool,
    /// Their labels are the old tuned model's predictions.
    pub unlabelled: Unlabelled,
}

/// Reads the data that a job names, as the new base reads samples.
///
/// # Errors
/// What is wrong with the data.
pub fn read(
    job: &Job,
    access: Access,
    reading: Reading,
    files: &mut Vec<InputFile>,
) -> Result<Splits, Failure> {
    let Some(data) = &job.spec.data else {
        return Ok(Splits::default());
    };
    let train = split(access, "/data/train", data.train.as_deref(), reading, files)?;
    let validation = split(
        access,
        "/data/validation",
        data.validation.as_deref(),
        reading,
        files,
    )?;

    let test = split(access, "/data/test", data.test.as_deref(), reading, files)?;
    let splits = Splits {
        train,
        validation,
        test,
        ..Splits::default()
    };
    let splits = splits.completed(job.spec.options.seed);

    Ok(Splits {
        unlabelled: splits.unlabelled(),
        ..splits
    })
}

fn split(
    access: Access,
    pointer: &str,
    uri: Option<&str>,
    reading: Reading,
    files: &mut Vec<InputFile>,
) -> Result<Option<Dataset>, Failure> {
    let Some(uri) = uri else { return Ok(None) };
    let place = location(access.storage, pointer, uri)?;
    let (dataset, read) = dataset::read(&access, &place, reading).map_err(failure::at(pointer))?;
    files.extend(read);
    Ok(Some(dataset))
}

impl Splits {
    /// Fills missing splits: validation is held out of train, test falls back to validation.
    fn completed(mut self, seed: u64) -> Self {
        if self.validation.is_none()
            && let Some(train) = &self.train
        {
            let (rest, held) = train.hold_out(HELD_OUT_SHARE, seed);
            if !held.is_empty() && !rest.is_empty() {
                (self.train, self.validation) = (Some(rest), Some(held));
                self.held_out = true;
            }
        }

        if self.test.is_none() && self.validation.is_some() {
            self.test.clone_from(&self.validation);
            self.test_is_validation = true;
        }

        self
    }

    /// As they were read.
    fn unlabelled(&self) -> Unlabelled {
        let [train, validation, test] = [&self.train, &self.validation, &self.test]
            .map(|split| split.as_ref().is_some_and(|data| !data.has_labels()));
        Unlabelled {
            train,
            validation,
            test,
        }
    }

    /// Splits without labels get the old tuned model's predictions. `None` where the caller interrupts;
    /// `go_on` is asked before every batch.
    pub(super) fn label_by(
        &mut self,
        old_tuned: Runnable,
        form: LabelForm,
        go_on: &dyn Fn() -> ControlFlow<()>,
    ) -> Option<()> {
        for split in [&mut self.train, &mut self.validation] {
            label(split, old_tuned, form, go_on)?;
        }
        if self.test_is_validation {
            self.test.clone_from(&self.validation);
        }
        label(&mut self.test, old_tuned, form, go_on)
    }

    /// How large a sample is; of sentences and target sequences the longest.
    pub fn sample(&self) -> Option<SampleSize<'_>> {
        let all = [&self.train, &self.validation, &self.test]
            .into_iter()
            .flatten();
        all.map(Dataset::size).reduce(larger)
    }
}

fn label(
    split: &mut Option<Dataset>,
    old_tuned: Runnable,
    form: LabelForm,
    go_on: &dyn Fn() -> ControlFlow<()>,
) -> Option<()> {
    if let Some(data) = split.take_if(|data| !data.has_labels()) {
        let labels = old_tuned.labels(&data, go_on)?;
        *split = Some(form.label_by_model(data, labels));
    }
    Some(())
}

/// The longer of two sentences, with the longer labels; of any other samples the shape of the first.
pub fn larger<'a>(one: SampleSize<'a>, other: SampleSize<'a>) -> SampleSize<'a> {
    let are_sentences = one.shape.len() == 1 && other.shape.len() == 1;
    let is_longer = are_sentences && other.shape > one.shape;
    SampleSize {
        shape: if is_longer { other.shape } else { one.shape },
        labels: one.labels.max(other.labels),
    }
}
