//! The samples of a job, by their files' headers, and how many each method works on.

use crate::{
    artifacts::dataset,
    contract::{
        plan::SampleCounts,
        spec::{Alpha, Spec},
    },
    engine::{
        network::Graph,
        training::DataFault,
        transfer::{
            Method, STATISTICS_SAMPLES,
            candidate::ALPHAS,
            methods::{self, functional},
        },
    },
    pipeline::{
        failure::{self, Failure},
        inputs::{longer, read::location},
    },
    storage::Storage,
};

/// Samples in each split.
pub struct Samples {
    /// The shape of one sample in each file, with where the file is named.
    shapes: Vec<(&'static str, String, Vec<usize>)>,
    /// Of all data files.
    pub bytes: u64,
    pub train: usize,
    pub validation: usize,
    pub test: usize,
}

/// What a method computes before its candidate is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub gradients: usize,
    pub forwards: usize,
}

impl Count {
    fn new(gradients: usize, forwards: usize) -> Self {
        Self { gradients, forwards }
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

impl Samples {
    /// Images that are decoded have as many `channels` as the network reads.
    pub fn look(spec: &Spec, storage: &Storage, channels: Option<usize>) -> Result<Self, Failure> {
        let data = spec.data.as_ref();
        let named = [
            ("/data/train", data.and_then(|data| data.train.as_ref())),
            ("/data/validation", data.and_then(|data| data.validation.as_ref())),
            ("/data/test", data.and_then(|data| data.test.as_ref())),
        ];
        let (mut shapes, mut bytes, mut counts) = (Vec::new(), 0, [0; 3]);
        for ((pointer, uri), samples) in named.into_iter().zip(&mut counts) {
            let Some(uri) = uri else { continue };
            let place = location(storage, pointer, uri)?;
            let info = dataset::look(storage, &place, channels).map_err(failure::at(pointer))?;
            bytes += info.size;
            shapes.push((pointer, uri.clone(), info.sample_shape));
            *samples = info.samples;
        }

        let [mut train, mut validation, mut test] = counts;
        if validation == 0 {
            validation = train / 10;
            train -= validation;
        }
        if test == 0 {
            test = validation;
        }
        Ok(Self { shapes, bytes, train, validation, test })
    }

    /// Samples of each split.
    pub fn counts(&self) -> SampleCounts {
        SampleCounts { train: self.train, validation: self.validation, test: self.test }
    }

    /// The shape of a sample; of sentences the longest.
    pub fn shape(&self) -> Option<&[usize]> {
        let shapes = self.shapes.iter().map(|(_, _, shape)| &shape[..]);
        shapes.reduce(longer)
    }

    /// Refuses samples that the network does not read, as a run does.
    pub fn check(&self, graph: &Graph) -> Result<(), Failure> {
        for (pointer, uri, found) in &self.shapes {
            if !graph.input.reads(found) {
                let expected = graph.input.shape().to_vec();
                let fault = DataFault::SampleShape { expected, found: found.clone() };
                let pointer = Some((*pointer).to_owned());
                let detail = format!("{uri}: {fault}");
                return Err(Failure::Input { code: fault.code(), pointer, detail });
            }
        }
        Ok(())
    }

    fn batch(&self, spec: &Spec) -> usize {
        spec.options.batch_size.min(self.train)
    }

    /// Samples that batch norms are taken anew on.
    fn statistics(&self, has_batch_norm: bool) -> usize {
        if has_batch_norm { STATISTICS_SAMPLES.min(self.train) } else { 0 }
    }

    /// What one method's candidate takes, its selection and the test split included.
    pub fn candidate(&self, of: MethodRun) -> Count {
        let MethodRun { spec, timesteps, has_batch_norm, across_widths, .. } = of;
        let mut count = self.aligning(of);
        let on = methods::builds_on(of.method, spec.options.gradfix_on.into(), across_widths);
        if let Some(method) = on {
            let below = self.aligning(MethodRun { method, ..of });
            count.gradients += below.gradients;
            count.forwards += below.forwards;
        }

        let searched = matches!(spec.options.alpha, Alpha::Search);
        let alphas = if searched { ALPHAS.len() - 1 } else { 0 };
        let trials = if self.validation > 0 { timesteps + alphas } else { 0 };
        // Without validation the result is finished all the same.
        count.forwards +=
            trials * self.validation + trials.max(1) * self.statistics(has_batch_norm);
        count.forwards += self.test;
        count
    }

    fn aligning(&self, of: MethodRun) -> Count {
        let MethodRun { method, spec, timesteps, has_batch_norm, across_widths, parameters } = of;
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
