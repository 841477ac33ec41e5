//! Loss and gradient of a graph on a batch, evaluation, fine-tuning.

pub mod dataset;

pub use dataset::{Batch, Dataset};
