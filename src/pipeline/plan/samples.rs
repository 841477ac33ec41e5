//! The samples of a job, by their files' headers, and how many each method works on.

use crate::{
    artifacts::dataset::{self, DatasetInfo, Reading},
    contract::{
        codes::FailureCode,
        plan::SampleCounts,
        spec::{Alpha, Spec, Step, TrajectoryKind},
    },
    engine::{
        network::{Program, SampleSize},
        training::DataHeader,
        transfer::{
            Method, RACE_STATISTICS, STATISTICS_SAMPLES,
            candidate::{LINE, LOOK, MOST_ARMS},
            methods::{self, functional},
        },
    },
    pipeline::{
        failure::{self, Failure},
        inputs::{Unlabelled, larger, read::location},
    },
    storage::Storage,
};

/// Samples in each split.
pub struct Samples {
    files: Vec<Named>,
    /// Of all data files.
    pub bytes: u64,
    /// Bytes that the samples take in memory.
    pub held: u64,
    pub train: usize,
    pub validation: usize,
    pub test: usize,
    pub unlabelled: Unlabelled,
}

/// A file of samples, and where it is named.
struct Named {
    pointer: &'static str,
    uri: String,
    info: DatasetInfo,
}

/// What a method computes before its candidate is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub gradients: usize,
    pub forwards: usize,
}

impl Count {
    fn new(gradients: usize, forwards: usize) -> Self {
        Self {
            gradients,
            forwards,
        }
    }
}

/// One method of a job, on the job's network.
#[derive(Clone, Copy)]
pub struct MethodRun<'a> {
    pub method: Method,
    pub spec: &'a Spec,
    pub timesteps: usize,
    pub has_batch_norm: bool,
    pub across_widths: bool,
    pub parameters: usize,
}

/// Models that are evaluated to choose step and α, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trials {
    /// On all samples that choose.
    pub raced: usize,
    /// On the first few.
    pub looked_at: usize,
}

impl Trials {
    pub fn models(self) -> usize {
        self.raced + self.looked_at
    }
}

/// Those of one method. A fit in closed form is one model.
pub fn trials(method: Method, spec: &Spec, timesteps: usize) -> Trials {
    let is_fitted = method == Method::Functional;
    let searches_alpha = !matches!(spec.options.alpha, Alpha::Fixed(_)) && !is_fitted;
    // Where every step has one π, α walks along the steps.
    let has_own_steps = matches!(method, Method::Gmt | Method::Fgmt | Method::Gradfix)
        || spec.options.trajectory == TrajectoryKind::Stored;
    let searches_steps = spec.options.step == Step::Best
        && timesteps > 1
        && !is_fitted
        && (has_own_steps || !searches_alpha);

    // Two steps for every halving of the stride, and the better of them races the last.
    let halvings = timesteps.ilog2() as usize;
    let (steps, raced) = if searches_steps {
        (2 * halvings, 1)
    } else {
        (0, 0)
    };
    let alphas = if searches_alpha { MOST_ARMS - 1 } else { 0 };
    let line = if searches_alpha { LINE.len() - 1 } else { 0 };

    Trials {
        raced: 1 + raced + alphas,
        looked_at: steps + line,
    }
}

impl Named {
    fn size(&self) -> SampleSize<'_> {
        SampleSize {
            shape: &self.info.sample_shape,
            labels: self.info.label_row.unwrap_or(1),
        }
    }

    fn header(&self) -> DataHeader<'_> {
        let DatasetInfo {
            sample_shape,
            has_labels,
            label_row,
            has_token_types,
            ..
        } = &self.info;

        DataHeader {
            sample_shape,
            labels_each: has_labels.then(|| label_row.unwrap_or(1)),
            has_token_types: *has_token_types,
        }
    }

    fn refused(&self, code: FailureCode, detail: &str) -> Failure {
        Failure::Input {
            code,
            pointer: Some(self.pointer.to_owned()),
            detail: format!("{}: {detail}", self.uri),
        }
    }
}

impl Samples {
    /// As the network reads them.
    pub fn look(spec: &Spec, storage: &Storage, reading: Reading<'_>) -> Result<Self, Failure> {
        let data = spec.data.as_ref();
        let named = [
            ("/data/train", data.and_then(|data| data.train.as_ref())),
            (
                "/data/validation",
                data.and_then(|data| data.validation.as_ref()),
            ),
            ("/data/test", data.and_then(|data| data.test.as_ref())),
        ];
        let (mut files, mut bytes, mut held) = (Vec::new(), 0u64, 0u64);
        let (mut counts, mut unlabelled) = ([0; 3], [false; 3]);
        let found = counts.iter_mut().zip(&mut unlabelled);

        for ((pointer, uri), (samples, lacks_labels)) in named.into_iter().zip(found) {
            let Some(uri) = uri else { continue };
            let place = location(storage, pointer, uri)?;
            let info = dataset::look(storage, &place, reading).map_err(failure::at(pointer))?;
            bytes = bytes.saturating_add(info.size);
            held = held.saturating_add(info.held);
            (*samples, *lacks_labels) = (info.samples, !info.has_labels);
            let uri = uri.clone();
            files.push(Named { pointer, uri, info });
        }

        // As a run fills missing splits.
        let [mut train, mut validation, mut test] = counts;
        let [of_train, mut of_validation, mut of_test] = unlabelled;
        if validation == 0 {
            (validation, of_validation) = (train / 10, of_train);
            train -= validation;
        }
        if test == 0 {
            (test, of_test) = (validation, of_validation);
        }

        let unlabelled = Unlabelled {
            train: of_train,
            validation: of_validation,
            test: of_test,
        };

        Ok(Self {
            files,
            bytes,
            held,
            train,
            validation,
            test,
            unlabelled,
        })
    }

    /// Samples of each split.
    pub fn counts(&self) -> SampleCounts {
        SampleCounts {
            train: self.train,
            validation: self.validation,
            test: self.test,
        }
    }

    /// How large a sample is; of sentences and target sequences the longest.
    pub fn size(&self) -> Option<SampleSize<'_>> {
        self.files.iter().map(Named::size).reduce(larger)
    }

    /// Refuses samples that the network does not read, or with another number of labels, as a run does. `classes` is
    /// the width of its output.
    pub fn check(&self, program: &Program, classes: usize) -> Result<(), Failure> {
        for file in &self.files {
            program
                .check_header(file.header(), classes)
                .map_err(|fault| file.refused(FailureCode::from(&fault), &fault.to_string()))?;
        }
        Ok(())
    }

    fn batch(&self, spec: &Spec) -> usize {
        spec.options.batch_size.min(self.train)
    }

    /// Samples that batch norms are taken anew on.
    fn statistics(&self, has_batch_norm: bool) -> usize {
        if has_batch_norm {
            STATISTICS_SAMPLES.min(self.train)
        } else {
            0
        }
    }

    /// Validation samples that choose.
    pub fn choosing(&self, spec: &Spec) -> usize {
        self.validation.min(spec.options.selection.samples)
    }

    /// What one method's candidate takes, its selection and the test split included, at most.
    pub fn candidate(&self, of: MethodRun) -> Count {
        let MethodRun {
            spec,
            timesteps,
            has_batch_norm,
            across_widths,
            ..
        } = of;
        let mut count = self.aligning(of);
        let on = methods::builds_on(of.method, spec.options.gradfix_on.into(), across_widths);

        if let Some(method) = on {
            let below = self.aligning(MethodRun { method, ..of });
            count.gradients += below.gradients;
            count.forwards += below.forwards;
        }

        let trials = trials(of.method, spec, timesteps);
        let race = self.choosing(spec);
        let statistics = if has_batch_norm {
            RACE_STATISTICS.min(self.train)
        } else {
            0
        };

        if race > 0 {
            // A look ends with a block.
            let look = (LOOK + LOOK / 2).min(race);
            count.forwards += trials.raced * race + trials.looked_at * look;
            count.forwards += trials.models() * statistics;
        } else {
            // Without validation the result is finished all the same.
            count.forwards += self.statistics(has_batch_norm);
        }

        count.forwards += self.test;

        count
    }

    fn aligning(&self, of: MethodRun) -> Count {
        let MethodRun {
            method,
            spec,
            timesteps,
            has_batch_norm,
            across_widths,
            parameters,
        } = of;
        let batch = self.batch(spec);
        let both = 2 * STATISTICS_SAMPLES.min(self.train);

        match method {
            Method::Gmt => Count::new(batch * timesteps * (timesteps + 1), 0),
            Method::Fgmt => Count::new(2 * batch * timesteps, 0),
            Method::Oracle => {
                let epochs = spec.fine_tune.clone().unwrap_or_default().epochs;
                let looked_at = self.validation + self.statistics(has_batch_norm);
                Count::new(epochs * self.train, epochs * looked_at)
            }
            // The loss on those that vote is reported.
            Method::Gradfix => Count::new(batch, batch),
            Method::Bico => Count::new(both, 0),
            Method::Theseus => Count::new(0, both),
            Method::Functional => Count::new(
                0,
                functional::forwards(
                    self.train.min(functional::MOST_SAMPLES),
                    across_widths,
                    functional::is_large(parameters),
                ),
            ),
            Method::Identity | Method::WeightMatching => Count::default(),
        }
    }
}
