//! Nodes, ops and wiring of a network.
//!
//! A graph is data: it comes from `config.json` (`document`), from a family's builder, or from a
//! test. What each op reads from the parameters, and along which axes, is said once, in
//! [`Op::params`]; forward pass, symmetry and checks all follow from it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::op::{Op, ParamUse, Role, Rotary};

/// A network: nodes in an order in which each reads only what stands before it. The last node is
/// the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub input: Input,
    /// `[T]`: at most T tokens of a second sequence, which a decoder reads. It is the sample's labels.
    pub target: Option<[usize; 1]>,
    pub task: Task,
    pub nodes: Vec<Node>,
}

/// What one sample looks like, without the batch axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Input {
    /// `[F]`
    Features { shape: [usize; 1] },
    /// `[C, H, W]`
    Image { shape: [usize; 3] },
    /// `[S]`: at most S tokens, each as the number that [`Token`](super::Token) packs.
    Tokens { shape: [usize; 1] },
}

impl Input {
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Features { shape } | Self::Tokens { shape } => shape,
            Self::Image { shape } => shape,
        }
    }

    /// Whether samples of this shape can be read: sequences may be shorter.
    pub fn reads(&self, sample_shape: &[usize]) -> bool {
        match self {
            Self::Tokens { shape: [longest] } => {
                matches!(sample_shape, &[length] if (1..=*longest).contains(&length))
            }
            _ => sample_shape == self.shape(),
        }
    }
}

/// How large samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSize<'a> {
    /// Without the batch axis.
    pub shape: &'a [usize],
    /// Labels of one sample: the tokens of its target sequence, where it has one.
    pub labels: usize,
}

/// What the output means, hence the loss and what is right. Losses are the library's
/// ([`Loss`](crate::training::Loss)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Logits `[N, classes]`, cross-entropy.
    #[default]
    Classification,
    /// Logits `[N, K]`, binary cross-entropy of each label, 0 or 1. A sample is right where all its labels are.
    MultiLabelClassification,
    /// Values `[N, K]`, mean squared error. Nothing is right or wrong: models are measured by R².
    Regression,
    /// Logits `[N, S, 2]` of an answer's first and last token, the mean of two cross-entropies over the
    /// positions. A sample is right where both are.
    QuestionAnswering,
    /// Logits `[N, S, vocabulary]`, cross-entropy of each next token; label −100 is ignored.
    NextToken,
    /// Logits `[N, S, vocabulary]`, cross-entropy of the token that belongs in each place; label −100 is
    /// ignored.
    MaskedToken,
    /// Logits `[N, S, classes]`, cross-entropy of each token's own label; label −100 is ignored.
    TokenClassification,
    /// Logits `[N, T, vocabulary]`, cross-entropy of each token of the target sequence; label −100 is ignored.
    SequenceToSequence,
    /// A body without a head, `[N, D]` or `[N, S, D]`, for whoever reads it: there is no loss.
    Representation,
}

impl Task {
    /// Whether there is a row of logits, and a label, for every token, of the input or of the target sequence.
    pub fn is_of_tokens(self) -> bool {
        self.predicts_words() || self == Self::TokenClassification
    }

    /// Whether the classes of a token are the words of the vocabulary.
    pub fn predicts_words(self) -> bool {
        matches!(
            self,
            Self::NextToken | Self::MaskedToken | Self::SequenceToSequence
        )
    }

    /// Whether the rows of the output layer are classes, or values, that a configuration may name.
    pub fn tells_classes(self) -> bool {
        matches!(
            self,
            Self::Classification
                | Self::MultiLabelClassification
                | Self::Regression
                | Self::TokenClassification
        )
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub id: String,
    pub op: Op,
    pub inputs: Vec<Operand>,
}

/// How two graphs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub detail: String,
    /// Only frequencies of rotary positions, windows of attention or epsilons of norms differ, as between
    /// two releases of one base: the update can be carried, but the old models are judged as the new base
    /// computes.
    pub is_an_update: bool,
}

/// Where a node reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The sample itself.
    Input,
    /// Its target sequence: ids `[T]`, the sample's labels; no token where a label is −100.
    Target,
    /// An earlier node, by position.
    Node(usize),
}

impl Operand {
    /// Whether it is given, and no node puts it out.
    pub fn is_given(self) -> bool {
        matches!(self, Self::Input | Self::Target)
    }
}

impl Graph {
    /// Every tensor of the graph with the node that reads it, in graph order. A tied tensor appears
    /// once for each reader.
    pub fn params(&self) -> impl Iterator<Item = (usize, ParamUse)> + '_ {
        self.nodes
            .iter()
            .enumerate()
            .flat_map(|(i, node)| node.op.params().into_iter().map(move |p| (i, p)))
    }

    /// Names of the learned tensors, in graph order, each once.
    pub fn learned(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let learned = self
            .params()
            .filter(|(_, param)| param.role == Role::Learned);
        learned
            .map(|(_, param)| param.name)
            .filter(|name| seen.insert(name.clone()))
            .collect()
    }

    /// Prefix of the output layer: the last node with parameters, if the output is its own.
    pub fn head(&self) -> Option<&str> {
        self.output_layer()?.op.param()
    }

    /// What the output layer's bias is called, if it has one.
    pub fn output_bias(&self) -> Option<String> {
        self.output_layer()?.op.bias()
    }

    fn output_layer(&self) -> Option<&Node> {
        if self.task == Task::Representation {
            return None;
        }

        self.nodes.iter().rev().find(|n| {
            !matches!(
                n.op,
                Op::Dropout { .. }
                    | Op::Flatten {}
                    | Op::Offset { .. }
                    | Op::Scale { .. }
                    | Op::SoftCap { .. }
            )
        })
    }

    /// Whether another node reads the output layer's weights, as a language model's embedding does.
    pub fn head_is_tied(&self) -> bool {
        let Some(head) = self.head() else {
            return false;
        };
        self.nodes
            .iter()
            .filter(|node| node.op.param() == Some(head))
            .count()
            > 1
    }

    /// The first node in which another graph computes otherwise, by both nodes as a configuration has
    /// them. What is read from the tensors, a size, is no difference.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let (own, others) = (self.without_updates(), other.without_updates());
        if let Some(detail) = own.first_difference(&others) {
            return Some(Difference {
                detail,
                is_an_update: false,
            });
        }
        let detail = self.first_difference(other)?;

        Some(Difference {
            detail,
            is_an_update: true,
        })
    }

    /// The graph without what a base's next release may change below the same weights.
    fn without_updates(&self) -> Self {
        let mut graph = self.clone();
        for node in &mut graph.nodes {
            match &mut node.op {
                Op::Attention {
                    rotary,
                    window,
                    head_norms,
                    ..
                } => {
                    *rotary = rotary.as_ref().map(Rotary::at_default_speed);
                    *window = None;
                    if let Some(norms) = head_norms {
                        norms.eps = 0.0;
                    }
                }
                Op::LayerNorm { eps, .. }
                | Op::RmsNorm { eps, .. }
                | Op::GroupNorm { eps, .. }
                | Op::GlobalResponseNorm { eps, .. }
                | Op::BatchNorm { eps, .. } => {
                    *eps = 0.0;
                }
                _ => {}
            }
        }

        graph
    }

    fn first_difference(&self, other: &Self) -> Option<String> {
        if let (Some(own), Some(other)) = (self.by_names(), other.by_names()) {
            return own.difference(other);
        }
        if self.by_names().is_some() != other.by_names().is_some() {
            let detail = "the architecture is known for one of them alone, by their config.json";
            return Some(detail.to_owned());
        }
        if self.task != other.task {
            return Some(format!(
                "the task is {:?} here and {:?} there",
                self.task, other.task
            ));
        }
        let mut pairs = self.nodes.iter().zip(&other.nodes);
        let different =
            pairs.find(|(own, others)| own.op != others.op || own.inputs != others.inputs);
        if let Some((own, others)) = different {
            let [here, there] = [own, others].map(|node| serde_json::json!(node.op).to_string());
            return Some(format!(
                "node {:?} is {here} here and {there} there",
                own.id
            ));
        }
        let (here, there) = (self.nodes.len(), other.nodes.len());

        (here != there).then(|| format!("there are {here} nodes here and {there} there"))
    }

    pub fn has_batch_norm(&self) -> bool {
        self.nodes
            .iter()
            .any(|n| matches!(n.op, Op::BatchNorm { .. }))
    }
}
