//! What can be wrong with a graph or with the tensors offered for it.

use super::graph::Node;

/// A fault of a model: where and what. Its stable name is `FailureCode`'s.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("config.json: {detail}")]
    Malformed { detail: String },
    #[error("config.json: node {node}: unknown op {op:?}; known are {known}")]
    UnknownOp {
        node: usize,
        op: String,
        known: String,
    },
    #[error(
        "config.json: the architecture {name:?} (architectures, model_type) is not known; known are {known}. \
         Without its network only `identity` can be carried, and no data can be read. Any network can be spelt \
         out as data: \"model_type\": \"graph\" with its \"nodes\", which examples/graph_of.py writes from a PyTorch \
         model; a network that computes as a known one does, under the same names, may be called by that one's \
         name in a copy of config.json"
    )]
    UnknownArchitecture { name: String, known: String },
    #[error(
        "the network is a body without a head, so that nothing can be judged or trained by it: only `identity` \
         and `weight_matching` can be carried, without data"
    )]
    Body,
    #[error(
        "{what}: the weights are packed (quantised), and the difference of two packed numbers is none of \
         weights; give the model in f32, f16 or bf16"
    )]
    Packed { what: String },
    #[error("the tensor {tensor:?} that node {node:?} reads is missing")]
    MissingTensor { tensor: String, node: String },
    #[error(
        "the tensor {tensor:?} is not read by the network that config.json names. Where the model needs it, \
         config.json names another network than the model's (model_type, architectures); of a graph as \
         data, a node is missing that reads it. Remove it only if nothing needs it"
    )]
    UnexpectedTensor { tensor: String },
    #[error("the tensor {tensor:?} has shape {found:?}, but {expected} is needed")]
    WrongShape {
        tensor: String,
        expected: String,
        found: Vec<usize>,
    },
    #[error("the tensor {tensor:?} has dtype {found}, but a float (f32, f16, bf16) is needed")]
    WrongDType { tensor: String, found: String },
    #[error("node {node:?} ({op}): {detail}")]
    Wiring {
        node: String,
        op: &'static str,
        detail: String,
    },
}

impl GraphError {
    /// The kind in short; its stable name is `FailureCode`'s.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed_config",
            Self::UnknownOp { .. } => "unknown_op",
            Self::UnknownArchitecture { .. } => "unknown_architecture",
            Self::Body => "no_head",
            Self::MissingTensor { .. } => "missing_tensor",
            Self::UnexpectedTensor { .. } => "unexpected_tensor",
            Self::WrongShape { .. } => "wrong_shape",
            Self::Packed { .. } | Self::WrongDType { .. } => "wrong_dtype",
            Self::Wiring { .. } => "malformed_graph",
        }
    }

    pub(crate) fn wiring(node: &Node, detail: impl Into<String>) -> Self {
        Self::Wiring {
            node: node.id.clone(),
            op: node.op.name(),
            detail: detail.into(),
        }
    }
}
