//! The parts of the data: what feeds gradients, what chooses, what judges.

use super::read::location;
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
    let Some(data) = &job.spec.data else { return Ok(Splits::default()) };
    let train = split(access, "/data/train", data.train.as_deref(), reading, files)?;
    let validation = split(access, "/data/validation", data.validation.as_deref(), reading, files)?;
    let test = split(access, "/data/test", data.test.as_deref(), reading, files)?;
    Ok(Splits { train, validation, test, held_out: false, test_is_validation: false }
        .completed(job.spec.options.seed))
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
        shapes.reduce(longer).map(<[usize]>::to_vec)
    }
}

/// The longer of two sentences; of any other samples the first.
pub fn longer<'a>(one: &'a [usize], other: &'a [usize]) -> &'a [usize] {
    let are_sentences = one.len() == 1 && other.len() == 1;
    if are_sentences && other > one { other } else { one }
}
