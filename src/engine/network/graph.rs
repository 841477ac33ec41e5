//! Nodes, ops and wiring of a network.
//!
//! A graph is data: it comes from `config.json` (`document`), from a family's builder, or from a
//! test. What each op reads from the parameters, and along which axes, is said once, in
//! [`Op::params`]; forward pass, symmetry and checks all follow from it.

use serde::{Deserialize, Serialize};

/// A network: nodes in an order in which each reads only what stands before it. The last node is
/// the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub input: Input,
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
}

impl Input {
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Features { shape } => shape,
            Self::Image { shape } => shape,
        }
    }
}

/// What the output means, hence the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Logits `[N, classes]`, cross-entropy.
    #[default]
    Classification,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub id: String,
    pub op: Op,
    pub inputs: Vec<Operand>,
}

/// Where a node reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The sample itself.
    Input,
    /// An earlier node, by position.
    Node(usize),
}

/// What a node computes. Kernel sizes and widths are read from the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// `x Wᵀ + b`, weight `[out, in]`.
    Linear {
        param: String,
    },
    /// Weight `[out, in / groups, kh, kw]`.
    Conv2d {
        param: String,
        #[serde(default = "Pair::one")]
        stride: Pair,
        #[serde(default)]
        padding: Pair,
        #[serde(default = "Pair::one")]
        dilation: Pair,
        #[serde(default = "one")]
        groups: usize,
    },
    /// Per channel, over batch and space.
    BatchNorm {
        param: String,
        #[serde(default = "default_eps")]
        eps: f64,
        /// Accepted and ignored: statistics are re-estimated by cumulative averaging.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        momentum: Option<f64>,
    },
    Relu {},
    /// The exact form, `x Φ(x)`.
    Gelu {},
    MaxPool {
        kernel: Pair,
        /// The kernel where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stride: Option<Pair>,
        #[serde(default)]
        padding: Pair,
        #[serde(default)]
        ceil_mode: bool,
    },
    AvgPool {
        kernel: Pair,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stride: Option<Pair>,
        #[serde(default)]
        padding: Pair,
        #[serde(default)]
        ceil_mode: bool,
        #[serde(default = "yes")]
        count_include_pad: bool,
    },
    /// `[C, H, W]` to `[C, h, w]`, as `PyTorch`'s `AdaptiveAvgPool2d`.
    AdaptiveAvgPool {
        output: Pair,
    },
    /// `[C, H, W]` to `[C]`.
    GlobalAvgPool {},
    /// Channel-major, as `PyTorch`.
    Flatten {},
    /// The sum of all its inputs.
    Add {},
    /// The identity: training noise is no part of a transfer.
    Dropout {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p: Option<f64>,
    },
}

/// Height and width; written as one number or as two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PairForm", into = "[usize; 2]")]
pub struct Pair(pub usize, pub usize);

impl Pair {
    fn one() -> Self {
        Self(1, 1)
    }

    pub fn array(self) -> [usize; 2] {
        [self.0, self.1]
    }
}

impl From<Pair> for [usize; 2] {
    fn from(pair: Pair) -> Self {
        pair.array()
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number or two of them")]
enum PairForm {
    One(usize),
    Two([usize; 2]),
}

impl From<PairForm> for Pair {
    fn from(form: PairForm) -> Self {
        match form {
            PairForm::One(n) => Self(n, n),
            PairForm::Two([h, w]) => Self(h, w),
        }
    }
}

fn one() -> usize {
    1
}

fn default_eps() -> f64 {
    1e-5
}

fn yes() -> bool {
    true
}

/// How a tensor takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Found by gradient descent; belongs to the task vector.
    Learned,
    /// Estimated from data (running mean and variance); follows its channel, is never a difference.
    Statistic,
    /// Bookkeeping (`num_batches_tracked`); the target's own.
    Counter,
}

/// Which channels an axis of a tensor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Those the node puts out.
    Output,
    /// Those the node reads (its first input).
    Input,
    /// None: kernel positions, channels inside a convolution group.
    Fixed,
}

/// One tensor that a node reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamUse {
    pub name: String,
    pub role: Role,
    pub axes: &'static [Axis],
    pub required: bool,
}

impl Op {
    /// The name in `config.json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv2d { .. } => "conv2d",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Relu {} => "relu",
            Self::Gelu {} => "gelu",
            Self::MaxPool { .. } => "max_pool",
            Self::AvgPool { .. } => "avg_pool",
            Self::AdaptiveAvgPool { .. } => "adaptive_avg_pool",
            Self::GlobalAvgPool {} => "global_avg_pool",
            Self::Flatten {} => "flatten",
            Self::Add {} => "add",
            Self::Dropout { .. } => "dropout",
        }
    }

    /// Every op name, for messages.
    pub const NAMES: [&'static str; 12] = [
        "linear",
        "conv2d",
        "batch_norm",
        "relu",
        "gelu",
        "max_pool",
        "avg_pool",
        "adaptive_avg_pool",
        "global_avg_pool",
        "flatten",
        "add",
        "dropout",
    ];

    /// The prefix of the op's tensors, if it has any.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Linear { param } | Self::Conv2d { param, .. } | Self::BatchNorm { param, .. } => {
                Some(param)
            }
            _ => None,
        }
    }

    /// The tensors the op reads, `PyTorch`'s names and layouts.
    pub fn params(&self) -> Vec<ParamUse> {
        use Axis::{Fixed, Input, Output};
        use Role::{Counter, Learned, Statistic};
        let Some(prefix) = self.param() else { return Vec::new() };
        let tensor = |suffix: &str, role, axes, required| ParamUse {
            name: format!("{prefix}.{suffix}"),
            role,
            axes,
            required,
        };
        match self {
            Self::Linear { .. } => vec![
                tensor("weight", Learned, &[Output, Input], true),
                tensor("bias", Learned, &[Output], false),
            ],
            Self::Conv2d { groups, .. } => {
                let axes: &'static [Axis] = if *groups == 1 {
                    &[Output, Input, Fixed, Fixed]
                } else {
                    &[Output, Fixed, Fixed, Fixed]
                };
                vec![
                    tensor("weight", Learned, axes, true),
                    tensor("bias", Learned, &[Output], false),
                ]
            }
            Self::BatchNorm { .. } => vec![
                tensor("weight", Learned, &[Output], false),
                tensor("bias", Learned, &[Output], false),
                tensor("running_mean", Statistic, &[Output], true),
                tensor("running_var", Statistic, &[Output], true),
                tensor("num_batches_tracked", Counter, &[], false),
            ],
            _ => Vec::new(),
        }
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
        let mut names = Vec::new();
        for (_, param) in self.params().filter(|(_, p)| p.role == Role::Learned) {
            if !names.contains(&param.name) {
                names.push(param.name);
            }
        }
        names
    }

    /// Prefix of the output layer: the last node with parameters, if the output is its own.
    pub fn head(&self) -> Option<&str> {
        let last = self
            .nodes
            .iter()
            .rev()
            .find(|n| !matches!(n.op, Op::Dropout { .. } | Op::Flatten {}))?;
        last.op.param()
    }

    pub fn has_batch_norm(&self) -> bool {
        self.nodes.iter().any(|n| matches!(n.op, Op::BatchNorm { .. }))
    }
}
