//! The parts of the data: what feeds gradients, what chooses, what judges.

use super::{read::location, stated::Stated};
use crate::{
    artifacts::{
        Access, InputFile,
        dataset::{self, Reading},
    },
    engine::training::Dataset,
    pipeline::{
        failure::{self, Failure},
        job::Job,
    },
};

/// Share of the training data held out where no validation split is given.
const HELD_OUT: f64 = 0.1;

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
}

/// Reads the data that a job names.
pub fn read(
    job: &Job,
    access: Access,
    (channels, stated): (Option<usize>, Option<&Stated>),
    files: &mut Vec<InputFile>,
) -> Result<Splits, Failure> {
    let Some(data) = &job.spec.data else { return Ok(Splits::default()) };
    let reading = Reading {
        preprocess: data.preprocess.as_ref(),
        stated: stated.map(|stated| &stated.values),
        channels,
    };
    let mut read = |pointer: &str, uri: &Option<String>| -> Result<Option<Dataset>, Failure> {
        let Some(uri) = uri else { return Ok(None) };
        let place = location(access.storage, pointer, uri)?;
        let (dataset, read) =
            dataset::read(&access, &place, reading).map_err(failure::at(pointer))?;
        files.extend(read);
        Ok(Some(dataset))
    };
    let train = read("/data/train", &data.train)?;
    let validation = read("/data/validation", &data.validation)?;
    let test = read("/data/test", &data.test)?;
    Ok(Splits { train, validation, test, held_out: false, test_is_validation: false }
        .completed(job.spec.options.seed))
}

impl Splits {
    /// Fills missing splits: validation is held out of train, test falls back to validation.
    fn completed(mut self, seed: u64) -> Self {
        if self.validation.is_none()
            && let Some(train) = &self.train
        {
            let (rest, held) = train.hold_out(HELD_OUT, seed);
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

    /// The shape of a sample; of sentences the longest.
    pub fn sample(&self) -> Option<Vec<usize>> {
        let all = [&self.train, &self.validation, &self.test].into_iter().flatten();
        let shapes = all.map(Dataset::sample_shape);
        let longer = |a: &[usize], b: &[usize]| a.len() == 1 && b.len() == 1 && b > a;
        shapes.reduce(|a, b| if longer(a, b) { b } else { a }).map(<[usize]>::to_vec)
    }
}
