//! A graph that fits its tensors, ready to run.
//!
//! [`Graph::resolve`](super::Graph::resolve) checks a graph against the headers of its tensors once and
//! writes down what it found: the names and shapes of the tensors, the sizes of the activations. Who
//! reads a program has nothing left to check.

pub mod layer;

use std::collections::HashMap;

use super::{
    error::GraphError,
    graph::{Input, Operand, Task},
    op::ParamUse,
};
pub use layer::Layer;

/// Shape of one sample, without the batch axis: `[F]`, `[C, H, W]` or tokens `[S, D]`.
pub type SampleShape = Vec<usize>;

/// A network as it runs: instructions in an order in which each reads only what stands before it. The
/// last one gives the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub input: Input,
    /// Tokens of the longest target sequence, where there is one.
    pub target: Option<[usize; 1]>,
    pub task: Task,
    /// One for each node of the graph, at the node's position.
    pub instructions: Vec<Instruction>,
}

/// One node, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Of its node in the graph.
    pub position: usize,
    /// Of its node, for messages.
    pub id: String,
    /// The name of the op in `config.json`, for messages.
    pub op: &'static str,
    pub layer: Layer,
    pub inputs: Inputs<Operand>,
    /// What it puts out for a sample as large as the network's input; sequences may be shorter.
    pub output: SampleShape,
    /// Which sequence the positions of its output are of.
    pub sequence: Sequence,
    /// The tensors that it reads and the model has.
    pub params: Vec<ParamUse>,
}

/// One of a sample's sequences, which are of different lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sequence {
    #[default]
    Input,
    Target,
}

/// What a node reads: at least one thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs<T> {
    pub first: T,
    pub rest: Vec<T>,
}

/// A tensor by its name in the checkpoint, with its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param<const RANK: usize> {
    pub name: String,
    pub shape: [usize; RANK],
}

/// Channels of a sample: last in tokens, first elsewhere.
pub fn channels(shape: &[usize]) -> usize {
    if let [_, channels] = shape {
        *channels
    } else {
        shape[0]
    }
}

impl Program {
    /// What is given and every node's output, in graph order.
    pub fn operands(&self) -> impl Iterator<Item = Operand> + '_ {
        let target = self.target.map(|_| Operand::Target);
        let nodes = (0..self.instructions.len()).map(Operand::Node);
        std::iter::once(Operand::Input).chain(target).chain(nodes)
    }

    /// Where the output stands.
    pub fn output(&self) -> Operand {
        self.instructions
            .last()
            .map_or(Operand::Input, |last| Operand::Node(last.position))
    }

    /// Whether samples of this shape can be read: sequences may be shorter than the network's own, unless a
    /// layer sets their tokens in a row, whose width would be another.
    pub fn reads(&self, sample_shape: &[usize]) -> bool {
        let is_whole = sample_shape == self.input.shape();
        self.input.reads(sample_shape) && (is_whole || !self.sets_tokens_in_a_row())
    }

    fn sets_tokens_in_a_row(&self) -> bool {
        let is_of_tokens = matches!(self.input, Input::Tokens { .. });
        is_of_tokens
            && self.instructions.iter().any(|instruction| {
                let of_tokens = self.shape(instruction.inputs.first).len() == 2;
                matches!(instruction.layer, Layer::Flatten) && of_tokens
            })
    }

    /// What an operand is for a sample.
    pub fn shape(&self, operand: Operand) -> &[usize] {
        match operand {
            Operand::Input => self.input.shape(),
            Operand::Target => self.target.as_ref().map_or(&[], |longest| &longest[..]),
            Operand::Node(position) => &self.instructions[position].output,
        }
    }

    /// Which sequence the positions of an operand are of.
    pub fn sequence(&self, operand: Operand) -> Sequence {
        match operand {
            Operand::Input => Sequence::Input,
            Operand::Target => Sequence::Target,
            Operand::Node(position) => self.instructions[position].sequence,
        }
    }

    /// Whether an operand is ids: the network's own, its target's, or some of these shifted.
    pub fn is_ids(&self, operand: Operand) -> bool {
        match operand {
            Operand::Input | Operand::Target => true,
            Operand::Node(position) => {
                matches!(self.instructions[position].layer, Layer::ShiftTokens { .. })
            }
        }
    }

    /// The last node that reads an operand; none of the output.
    pub fn last_readers(&self) -> HashMap<Operand, usize> {
        let mut last = HashMap::new();
        for instruction in &self.instructions {
            last.extend(
                instruction
                    .inputs
                    .iter()
                    .map(|&operand| (operand, instruction.position)),
            );
        }
        last
    }

    /// Every tensor of the model with its use, in graph order. A tied tensor appears once for each
    /// reader.
    pub fn params(&self) -> impl Iterator<Item = &ParamUse> {
        self.instructions
            .iter()
            .flat_map(|instruction| &instruction.params)
    }

    /// The batch norms, with their positions.
    pub fn batch_norms(&self) -> impl Iterator<Item = (usize, &layer::BatchNorm)> {
        self.instructions
            .iter()
            .filter_map(|instruction| match &instruction.layer {
                Layer::BatchNorm(norm) => Some((instruction.position, norm)),
                _ => None,
            })
    }

    /// Width of the output: classes, labels, values, or tokens of the vocabulary; 2 of an answer's ends.
    ///
    /// # Errors
    /// An output that is not what the task needs.
    pub fn classes(&self) -> Result<usize, GraphError> {
        let Some(last) = self.instructions.last() else {
            let detail = "nodes: a network has at least one".to_owned();
            return Err(GraphError::Malformed { detail });
        };
        let output = last.output.as_slice();

        match (self.task, output, &self.input) {
            (Task::Representation, ..) => Err(GraphError::Body),
            // Its loss is 0 and its accuracy 1, whatever it computes.
            (Task::Classification, [1], _) => {
                let detail = "the output must be the logits of at least two classes; one number is the \
                              value of a regression, which is a task of its own";
                Err(last.fault(detail))
            }
            (
                Task::Classification | Task::MultiLabelClassification | Task::Regression,
                [classes],
                _,
            ) => Ok(*classes),
            (Task::TokenClassification, [_, 1], _) => {
                let detail = "the output must be the logits of at least two classes";
                Err(last.fault(detail))
            }
            (Task::SequenceToSequence, [tokens, classes], _)
                if self.target == Some([*tokens]) && last.sequence == Sequence::Target =>
            {
                Ok(*classes)
            }
            (task, [tokens, classes], Input::Tokens { shape })
                if task != Task::SequenceToSequence
                    && task.is_of_tokens()
                    && shape == &[*tokens] =>
            {
                Ok(*classes)
            }
            (Task::QuestionAnswering, [tokens, 2], Input::Tokens { shape })
                if shape == &[*tokens] =>
            {
                Ok(2)
            }
            (task, ..) => {
                let expected = expected_output(task);
                Err(last.fault(format!("the output must be {expected}, not {output:?}")))
            }
        }
    }
}

/// What a task's output has to be, for messages.
fn expected_output(task: Task) -> &'static str {
    match task {
        Task::Classification | Task::Representation => "[classes]",
        Task::MultiLabelClassification => "[labels]",
        Task::Regression => "[values]",
        Task::QuestionAnswering => "[S, 2] of S token ids",
        Task::NextToken | Task::MaskedToken => "[S, vocabulary] of S token ids",
        Task::TokenClassification => "[S, classes] of S token ids",
        Task::SequenceToSequence => "[T, vocabulary] of T target tokens",
    }
}

impl Instruction {
    /// Values of a sample.
    pub fn size(&self) -> usize {
        self.output.iter().product()
    }

    pub fn channels(&self) -> usize {
        channels(&self.output)
    }

    /// Values of one channel of a sample: H · W, S or 1.
    pub fn positions(&self) -> usize {
        self.size() / self.channels()
    }

    fn fault(&self, detail: impl Into<String>) -> GraphError {
        GraphError::Wiring {
            node: self.id.clone(),
            op: self.op,
            detail: detail.into(),
        }
    }
}

impl<T> Inputs<T> {
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    #[must_use]
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Inputs<U> {
        let first = f(&self.first);
        Inputs {
            first,
            rest: self.rest.iter().map(f).collect(),
        }
    }

    /// `f(f(first, second), third) …`
    pub fn reduce(self, f: impl FnMut(T, T) -> T) -> T {
        self.rest.into_iter().fold(self.first, f)
    }
}

impl<const RANK: usize> Param<RANK> {
    /// Values of the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
