//! Where batch normalisation takes its mean and variance from, and what it saw.

use burn::tensor::Tensor;

use super::values::floats;

/// Where batch normalisation takes its mean and variance from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormMode {
    /// The running ones of the checkpoint.
    Running,
    /// Those of the batch itself, as in training.
    Batch,
}

/// What a batch-norm node normalised by: mean and biased variance per channel, over `count` values
/// each. Running ones are constants and come from none: their `count` is 0.
#[derive(Clone, Debug)]
pub struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pub count: usize,
}

/// [`BatchNormMode`] on a device.
pub enum Statistics<'a> {
    /// The running ones of the checkpoint.
    Running,
    /// Those of the batch itself, as in training; told to the observer.
    Batch(&'a mut dyn FnMut(BatchStatistics)),
}

/// [`Moments`] of one node on a device.
pub struct BatchStatistics {
    pub node: usize,
    pub mean: Tensor<1>,
    pub variance: Tensor<1>,
    pub count: usize,
}

impl BatchStatistics {
    /// The same in host memory.
    pub fn download(self) -> Moments {
        let [mean, variance] = [self.mean, self.variance]
            .map(|tensor| floats(tensor).into_iter().map(f64::from).collect());
        Moments {
            mean,
            variance,
            count: self.count,
        }
    }
}
