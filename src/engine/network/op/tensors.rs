//! The tensors that an op reads, along which axes.

use super::{HeadNorms, Op};

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

impl ParamUse {
    fn needed(name: String, axes: &'static [Axis]) -> Self {
        Self { name, role: Role::Learned, axes, required: true }
    }

    /// One value a channel of the output, which the model may lack.
    fn optional(name: String) -> Self {
        Self { name, role: Role::Learned, axes: &[Axis::Output], required: false }
    }

    fn statistic(name: String) -> Self {
        Self { name, role: Role::Statistic, axes: &[Axis::Output], required: true }
    }

    fn counter(name: String) -> Self {
        Self { name, role: Role::Counter, axes: &[], required: false }
    }
}

impl Op {
    /// The tensors the op reads, `PyTorch`'s names and layouts.
    pub fn params(&self) -> Vec<ParamUse> {
        use Axis::{Fixed, Input, Output};
        if let Self::Attention { head_norms: Some(HeadNorms { queries, keys, .. }), .. } = self {
            // All heads share the weight, one entry a dimension of a head.
            return [queries, keys]
                .map(|norm| ParamUse::needed(format!("{norm}.weight"), &[Fixed]))
                .into();
        }
        if let Self::Opaque { network } = self {
            return network.params();
        }
        let Some(prefix) = self.param() else { return Vec::new() };
        let bias = ParamUse::optional(format!("{prefix}.bias"));
        let weight = format!("{prefix}.weight");

        match self {
            Self::Linear { transposed: true, .. } => {
                vec![ParamUse::needed(weight, &[Input, Output]), bias]
            }
            Self::Linear { transposed: false, .. } => {
                vec![ParamUse::needed(weight, &[Output, Input]), bias]
            }
            Self::Conv2d { groups: 1, .. } | Self::PatchEmbed { .. } => {
                vec![ParamUse::needed(weight, &[Output, Input, Fixed, Fixed]), bias]
            }
            Self::Conv2d { .. } => {
                vec![ParamUse::needed(weight, &[Output, Fixed, Fixed, Fixed]), bias]
            }
            Self::BatchNorm { .. } => vec![
                ParamUse::optional(weight),
                bias,
                ParamUse::statistic(format!("{prefix}.running_mean")),
                ParamUse::statistic(format!("{prefix}.running_var")),
                ParamUse::counter(format!("{prefix}.num_batches_tracked")),
            ],
            Self::LayerNorm { .. } => vec![ParamUse::needed(weight, &[Output]), bias],
            Self::RmsNorm { .. } => vec![ParamUse::needed(weight, &[Output])],
            Self::Embedding { .. }
            | Self::TokenTypeEmbedding { .. }
            | Self::PositionEmbedding { bare: false, .. } => {
                vec![ParamUse::needed(weight, &[Fixed, Output])]
            }
            Self::PositionEmbedding { bare: true, .. } | Self::ClassToken { .. } => {
                vec![ParamUse::needed(prefix.to_owned(), &[Fixed, Fixed, Output])]
            }
            Self::LayerScale { .. } => {
                vec![ParamUse::needed(format!("{prefix}.gamma"), &[Output])]
            }
            _ => Vec::new(),
        }
    }
}
