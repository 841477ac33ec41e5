//! Loss and gradient of a graph on a batch, evaluation, fine-tuning.
//!
//! A [`Learner`] holds a graph, a device and a count of what was computed; each of its functions
//! takes parameters as a [`Checkpoint`](super::tensors::Checkpoint) and gives host values back, so
//! that nothing outside sees a device tensor. Data are checked once by [`Learner::check`]; after
//! that nothing here fails. Nothing here reads a clock or a random source: seeds come in.

pub mod barrier;
pub mod cost_model;
mod cross_covariance;
pub mod cross_entropy;
pub mod dataset;
mod evaluate;
pub mod fine_tune;
pub mod flops;
mod gradient;
pub mod known_answers;
mod micro_batch;
pub mod optimizer;
#[cfg(test)]
mod pytorch;
mod running_statistics;
mod sign_votes;
#[cfg(test)]
mod testing;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use burn::tensor::Device;

pub use barrier::{Barrier, BarrierPlan};
pub use cost_model::Load;
pub use cross_covariance::{CrossCovariances, LayerRows, Place};
pub use dataset::{Batch, Dataset};
pub use evaluate::Evaluation;
pub use fine_tune::{End, Epoch, Event, FineTunePlan, FineTuned};
pub use flops::Cost;
pub use gradient::Gradient;
pub use optimizer::Optimizer;

use cross_entropy::IGNORED;

use super::{
    execution::{
        BatchNormMode, BatchStatistics, Executor, Moments, Statistics, Weights,
        burn::{BurnActivation, forward as forward_by_burn},
        cpu::{self, CpuActivation, Stored},
        floats,
    },
    network::{Graph, GraphError, Layer, Program, Task, Token},
};
use crate::tensors::Signature;

/// Samples that one evaluation step holds on the device.
const EVALUATION_BATCH: usize = 256;
/// Logits of a language model that are held at once: 256 MB.
const MAX_LOGITS: usize = 1 << 26;

/// A graph on a device, with what has been spent on it.
pub struct Learner<'a> {
    graph: &'a Graph,
    program: Program,
    executor: Executor,
    classes: usize,
    /// Rows of the smallest table that ids are looked up in.
    vocabulary: Option<usize>,
    /// Rows of the smallest table of token types.
    token_types: Option<usize>,
    forward_flops: f64,
    max_logits: usize,
    activation_bytes: usize,
    sample_gradients: AtomicU64,
    sample_forwards: AtomicU64,
}

/// Data that do not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataFault {
    #[error("the data set has no samples")]
    Empty,
    #[error("samples have shape {found:?}, but the model reads {expected:?}")]
    SampleShape { expected: Vec<usize>, found: Vec<usize> },
    #[error("sample {position} has label {label}, but the model knows the classes 0 to {}", classes - 1)]
    Label { position: usize, label: i64, classes: usize },
    #[error("sample {position} has the token id {id}, but the model knows the ids 0 to {}", vocabulary - 1)]
    TokenId { position: usize, id: String, vocabulary: usize },
    #[error(
        "sample {position} has the token type {token_type}, but the model knows the types 0 to {}",
        types - 1
    )]
    TokenType { position: usize, token_type: u32, types: usize },
    #[error("the data have token_type_ids, which the model does not read; leave them out")]
    NoTokenTypes,
    #[error("a sample has {found} labels, but the model predicts {expected}")]
    LabelCount { expected: String, found: usize },
    #[error("no label is to be predicted: every one is -100 or stands at the first token")]
    NothingCounted,
    #[error(
        "sample {position} has a label to be predicted at its padded position {token}; pad on the \
         right, and give -100 at the first token of a sentence that is padded on the left"
    )]
    PredictedByPadding { position: usize, token: usize },
}

impl DataFault {
    /// Stable name of the fault, used in reports and HTTP errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty | Self::NothingCounted => "empty_dataset",
            Self::SampleShape { .. } => "wrong_input_shape",
            Self::Label { .. } => "label_out_of_range",
            Self::TokenId { .. } | Self::TokenType { .. } => "token_out_of_range",
            Self::NoTokenTypes => "unexpected_tensor",
            Self::LabelCount { .. } => "wrong_shape",
            Self::PredictedByPadding { .. } => "invalid_mask",
        }
    }
}

impl<'a> Learner<'a> {
    /// A learner for checkpoints of this signature.
    ///
    /// # Errors
    /// As [`Graph::resolve`] and [`Program::classes`].
    pub fn new(
        graph: &'a Graph,
        signature: &Signature,
        device: Device,
    ) -> Result<Self, GraphError> {
        let program = graph.resolve(signature)?;
        let layers = program.instructions.iter().map(|instruction| &instruction.layer);
        let vocabulary = layers.clone().filter_map(|layer| match layer {
            Layer::Embedding { table } => Some(table.shape[0]),
            _ => None,
        });
        let token_types = layers.filter_map(|layer| match layer {
            Layer::TokenTypeEmbedding { table } => Some(table.shape[0]),
            _ => None,
        });

        Ok(Self {
            graph,
            executor: Executor::on(device),
            classes: program.classes()?,
            vocabulary: vocabulary.min(),
            token_types: token_types.min(),
            forward_flops: flops::forward_flops(&program),
            program,
            max_logits: MAX_LOGITS,
            activation_bytes: micro_batch::ACTIVATION_BYTES,
            sample_gradients: AtomicU64::new(0),
            sample_forwards: AtomicU64::new(0),
        })
    }

    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// The graph as it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What runs the graph.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Width of the output: classes, or tokens of the vocabulary.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether the model can read these samples and has a class for every label. Call it before
    /// anything else is done with a data set.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self, data: &Dataset) -> Result<(), DataFault> {
        if data.is_empty() {
            return Err(DataFault::Empty);
        }
        let (expected, found) = (self.graph.input.shape(), data.sample_shape());
        if !self.graph.input.reads(found) {
            let (expected, found) = (expected.to_vec(), found.to_vec());
            return Err(DataFault::SampleShape { expected, found });
        }
        self.check_ids(data)?;
        let is_next = self.graph.task == Task::NextToken;
        let (each, found) = (if is_next { found[0] } else { 1 }, data.labels_each());
        if each != found {
            let expected = if is_next { "one a token" } else { "one" }.into();
            return Err(DataFault::LabelCount { expected, found });
        }
        if is_next {
            check_counted(data)?;
        }
        let classes = self.classes;
        match data.labels().iter().position(|&label| !self.knows(label)) {
            Some(position) => Err(DataFault::Label {
                position: position / each,
                label: data.labels()[position],
                classes,
            }),
            None => Ok(()),
        }
    }

    /// Whether a sample or a token may have this label.
    fn knows(&self, label: i64) -> bool {
        let is_ignored = self.graph.task == Task::NextToken && label == IGNORED;
        is_ignored || (0..self.classes as i64).contains(&label)
    }

    /// Ids and types that their tables have rows for, those of masked tokens included: a table is read
    /// there too.
    fn check_ids(&self, data: &Dataset) -> Result<(), DataFault> {
        if data.has_token_types() && self.token_types.is_none() {
            return Err(DataFault::NoTokenTypes);
        }
        let Some(vocabulary) = self.vocabulary else { return Ok(()) };
        let types = self.token_types.unwrap_or(1);

        for position in 0..data.len() {
            for packed in data.batch(&[position]).inputs {
                if packed.fract() != 0.0 {
                    let id = packed.to_string();
                    return Err(DataFault::TokenId { position, id, vocabulary });
                }
                let Some(token) = Token::of(packed) else { continue };
                if token.id as usize >= vocabulary {
                    let id = token.id.to_string();
                    return Err(DataFault::TokenId { position, id, vocabulary });
                }
                if token.token_type as usize >= types {
                    let token_type = token.token_type;
                    return Err(DataFault::TokenType { position, token_type, types });
                }
            }
        }
        Ok(())
    }

    /// What has been spent since the start.
    pub fn cost(&self) -> Cost {
        Cost::of(
            self.sample_gradients.load(Ordering::Relaxed),
            self.sample_forwards.load(Ordering::Relaxed),
            self.forward_flops,
        )
    }

    /// Counts gradients, also those that an earlier run has left.
    pub fn spent_gradients(&self, samples: usize) {
        self.sample_gradients.fetch_add(samples as u64, Ordering::Relaxed);
    }

    fn spent_forwards(&self, samples: usize) {
        self.sample_forwards.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Row-major logits `[B, classes]` or `[B, S, vocabulary]`, and what the batch-norm nodes saw in
    /// [`BatchNormMode::Batch`].
    fn logits(&self, weights: &Weights, batch: Batch, mode: BatchNormMode) -> (Vec<f32>, Seen) {
        self.spent_forwards(batch.len());
        match &self.executor {
            Executor::Cpu => self.logits_on_cpu(weights, batch, mode),
            Executor::Burn(device) => self.logits_by_burn(weights, batch, mode, device),
        }
    }

    fn logits_on_cpu(
        &self,
        weights: &Weights,
        batch: Batch,
        mode: BatchNormMode,
    ) -> (Vec<f32>, Seen) {
        let input = CpuActivation::new(batch.inputs, &batch.sample_shape);
        let trace = cpu::forward(&self.program, weights, input, mode, Stored::Nothing);
        (trace.logits, trace.moments)
    }

    fn logits_by_burn(
        &self,
        weights: &Weights,
        batch: Batch,
        mode: BatchNormMode,
        device: &Device,
    ) -> (Vec<f32>, Seen) {
        let input = BurnActivation::upload(batch.inputs, &batch.sample_shape, device);
        let mut seen = Seen::new();
        let mut observe = |found: BatchStatistics| {
            seen.insert(found.node, found.download());
        };
        let statistics = match mode {
            BatchNormMode::Running => Statistics::Running,
            BatchNormMode::Batch => Statistics::Batch(&mut observe),
        };

        let logits = forward_by_burn(&self.program, weights, input, statistics);
        (floats(logits), seen)
    }
}

/// Whether some token is to be predicted, and none from a padded position: what a model computes there
/// depends on the padding.
fn check_counted(data: &Dataset) -> Result<(), DataFault> {
    let mut seen = false;
    for position in 0..data.len() {
        let Batch { inputs, labels, .. } = data.batch(&[position]);
        let mut pairs = inputs.iter().zip(&labels);
        if let Some(token) = pairs.position(|(&id, &label)| id < 0.0 && label != IGNORED) {
            return Err(DataFault::PredictedByPadding { position, token });
        }
        seen |= labels.iter().any(|&label| label != IGNORED);
    }
    if seen { Ok(()) } else { Err(DataFault::NothingCounted) }
}

/// Moments by batch-norm node.
type Seen = HashMap<usize, Moments>;
