//! Loss and gradient of a graph on a batch, evaluation, fine-tuning.
//!
//! A [`Learner`] holds a graph, a device and a count of what was computed; each of its functions
//! takes parameters as a [`Checkpoint`](super::tensors::Checkpoint) and gives host values back, so
//! that nothing outside sees a device tensor. Data are checked once by [`Learner::check`]; after
//! that nothing here fails. Nothing here reads a clock or a random source: seeds come in.

mod activation_sizes;
mod agreement;
pub mod barrier;
pub mod cost_model;
mod cross_covariance;
pub mod cross_entropy;
mod data_check;
pub mod dataset;
mod device_memory;
mod evaluate;
pub mod fine_tune;
pub mod flops;
mod gradient;
pub mod known_answers;
mod loss;
mod micro_batch;
pub mod optimizer;
mod paired;
#[cfg(test)]
mod pytorch;
mod running_statistics;
mod sign_votes;
mod teacher;
#[cfg(test)]
pub(crate) mod testing;
mod value;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use burn::tensor::Device;

pub use agreement::{Agreement, Predictions, Runnable};
pub use barrier::{BARRIER_POINTS, Barrier, BarrierPlan};
pub use cost_model::Load;
pub use cross_covariance::{CrossCovariances, LayerRows, Place};
pub use data_check::{DataFault, DataHeader};
pub use dataset::{Batch, Dataset, Flips, Judged};
pub use device_memory::{DeviceMemory, DeviceNeeds};
pub use evaluate::Evaluation;
pub use fine_tune::{
    End, Epoch, Event, FineTunePlan, FineTuned, LOOK_SAMPLES, Look, Looks, RateTrial, RateTrials,
};
pub use flops::Cost;
pub use gradient::Gradient;
pub use loss::Loss;
pub use micro_batch::MAX_ACTIVATION_BYTES;
pub use optimizer::Optimizer;
pub use paired::{Paired, Shown, Tally};
pub use running_statistics::STATISTICS_SAMPLES;
pub use teacher::Teacher;
pub use value::Value;

use super::{
    execution::{
        BatchNormMode, BatchStatistics, Executor, Moments, Statistics, Weights,
        burn::forward as forward_by_burn,
        cpu::{self, Stored},
        floats,
    },
    network::{Graph, GraphError, Layer, Program, Sequence},
};
use crate::tensors::Signature;

/// Samples that one step of an evaluation runs on the CPU.
pub const EVALUATION_BATCH_SAMPLES: usize = 256;
/// Logits of a language model that are held at once: 256 MB.
const MAX_LOGITS: usize = 1 << 26;

/// Weights of a model that an evaluation holds at once: 1 GB.
pub const MAX_WEIGHTS: usize = 1 << 28;

/// A graph on a device, with what has been spent on it.
pub struct Learner<'a> {
    graph: &'a Graph,
    program: Program,
    executor: Executor,
    classes: usize,
    /// Rows of the smallest table that ids are looked up in.
    vocabulary: Option<usize>,
    /// The same of the ids of target sequences.
    target_vocabulary: Option<usize>,
    /// Rows of the smallest table of token types.
    token_types: Option<usize>,
    forward_flops: f64,
    max_logits: usize,
    max_weights: usize,
    activation_bytes: usize,
    device_memory: DeviceMemory,
    /// Of the program's tensors, as f32.
    model_bytes: usize,
    sample_gradients: AtomicU64,
    sample_forwards: AtomicU64,
}

impl<'a> Learner<'a> {
    /// A learner for checkpoints of this signature.
    ///
    /// # Errors
    /// As [`Graph::check_wired`], [`Graph::resolve`] and [`Program::classes`].
    pub fn new(
        graph: &'a Graph,
        signature: &Signature,
        device: Device,
    ) -> Result<Self, GraphError> {
        graph.check_wired()?;
        let program = graph.resolve(signature)?;
        let classes = program.classes()?;
        let model_bytes = device_memory::model_bytes(&program, signature);
        Ok(Self {
            model_bytes,
            ..Self::of(graph, program, classes, device)
        })
    }

    /// The same where a device may hold so much.
    #[must_use]
    pub fn within(self, device_memory: DeviceMemory) -> Self {
        Self {
            device_memory,
            ..self
        }
    }

    /// A learner that computes nothing: of a network without a loss ([`Graph::has_loss`]). Who has data for it asks
    /// for [`Learner::new`], which refuses it.
    pub fn idle(graph: &'a Graph, device: Device) -> Self {
        let (input, task) = (graph.input.clone(), graph.task);
        let program = Program {
            input,
            target: graph.target,
            task,
            instructions: Vec::new(),
        };
        Self::of(graph, program, 0, device)
    }

    fn of(graph: &'a Graph, program: Program, classes: usize, device: Device) -> Self {
        let layers = program
            .instructions
            .iter()
            .map(|instruction| &instruction.layer);
        let token_types = layers.filter_map(|layer| match layer {
            Layer::TokenTypeEmbedding { table } => Some(table.shape[0]),
            _ => None,
        });

        Self {
            graph,
            executor: Executor::on(device),
            classes,
            vocabulary: rows_of_ids(&program, Sequence::Input),
            target_vocabulary: rows_of_ids(&program, Sequence::Target),
            token_types: token_types.min(),
            forward_flops: flops::forward_flops(&program),
            program,
            max_logits: MAX_LOGITS,
            max_weights: MAX_WEIGHTS,
            activation_bytes: MAX_ACTIVATION_BYTES,
            device_memory: DeviceMemory::default(),
            model_bytes: 0,
            sample_gradients: AtomicU64::new(0),
            sample_forwards: AtomicU64::new(0),
        }
    }

    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// The graph as it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What its device may hold.
    pub(crate) fn device_memory(&self) -> DeviceMemory {
        self.device_memory
    }

    /// What runs the graph.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Width of the output: classes, labels, values, or tokens of the vocabulary; 2 of an answer's ends.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The task's loss.
    pub fn loss(&self) -> Loss {
        Loss::of(self.graph.task)
    }

    /// The loss of a model that knows nothing: every class as likely as any, every value the mean of all.
    pub fn loss_of_guessing(&self, data: &Dataset) -> f64 {
        let choices = match self.loss() {
            Loss::Values => {
                let Judged::Values { variance } = data.judged() else {
                    return f64::INFINITY;
                };
                return variance;
            }
            Loss::Ends => data.sample_shape().first().copied().unwrap_or(1),
            Loss::Labels => 2,
            Loss::Classes => self.classes,
        };

        (choices as f64).ln()
    }

    /// What has been spent since the start.
    pub fn cost(&self) -> Cost {
        Cost::of(
            self.sample_gradients.load(Ordering::Relaxed),
            self.sample_forwards.load(Ordering::Relaxed),
            self.forward_flops,
        )
    }

    /// What so many forward passes cost.
    pub fn cost_of_forwards(&self, samples: usize) -> Cost {
        Cost::of(0, samples as u64, self.forward_flops)
    }

    /// Counts gradients, also those that an earlier run has left.
    pub fn spent_gradients(&self, samples: usize) {
        self.sample_gradients
            .fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Counts forward passes.
    pub fn spent_forwards(&self, samples: usize) {
        self.sample_forwards
            .fetch_add(samples as u64, Ordering::Relaxed);
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
        let samples = batch.on_cpu(&self.program);
        let trace = cpu::forward(&self.program, weights, samples, mode, Stored::Nothing);
        (trace.logits, trace.moments)
    }

    fn logits_by_burn(
        &self,
        weights: &Weights,
        batch: Batch,
        mode: BatchNormMode,
        device: &Device,
    ) -> (Vec<f32>, Seen) {
        let samples = batch.by_burn(&self.program, device);
        let mut seen = Seen::new();
        let mut observe = |found: BatchStatistics| {
            seen.insert(found.node, found.download());
        };
        let statistics = match mode {
            BatchNormMode::Running => Statistics::Running,
            BatchNormMode::Batch => Statistics::Batch(&mut observe),
        };

        let logits = forward_by_burn(&self.program, weights, samples, statistics);

        (floats(logits), seen)
    }
}

/// Rows of the smallest table that ids of a sequence are looked up in.
fn rows_of_ids(program: &Program, sequence: Sequence) -> Option<usize> {
    let tables = program.instructions.iter().filter_map(|instruction| {
        let is_of_it = instruction.sequence == sequence;
        match &instruction.layer {
            Layer::Embedding(layer) if is_of_it => Some(layer.table.shape[0]),
            _ => None,
        }
    });
    tables.min()
}

/// Moments by batch-norm node.
type Seen = HashMap<usize, Moments>;
