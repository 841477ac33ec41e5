//! The tensors that an op reads, along which axes.

use super::{ExpertLayers, HeadNorms, Op};

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
    /// The hidden units inside an expert.
    Hidden,
    /// The same, two entries of each.
    HiddenPairs,
    /// The heads of an attention's queries.
    Heads,
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
    /// Which of the node's experts has it, where it is one's.
    pub expert: Option<usize>,
}

impl ParamUse {
    fn needed(name: String, axes: &'static [Axis]) -> Self {
        Self {
            name,
            role: Role::Learned,
            axes,
            required: true,
            expert: None,
        }
    }

    /// One value a channel of the output, which the model may lack.
    fn optional(name: String) -> Self {
        Self {
            name,
            role: Role::Learned,
            axes: &[Axis::Output],
            required: false,
            expert: None,
        }
    }

    fn statistic(name: String) -> Self {
        Self {
            name,
            role: Role::Statistic,
            axes: &[Axis::Output],
            required: true,
            expert: None,
        }
    }

    fn counter(name: String) -> Self {
        Self {
            name,
            role: Role::Counter,
            axes: &[],
            required: false,
            expert: None,
        }
    }

    /// Weight and bias of an expert's layer.
    fn of_expert(layer: &str, expert: usize, weight: Axes, bias: Axes) -> [Self; 2] {
        let weight = Self::needed(format!("{layer}.weight"), weight);
        let bias = Self {
            axes: bias,
            ..Self::optional(format!("{layer}.bias"))
        };
        [weight, bias].map(|param| Self {
            expert: Some(expert),
            ..param
        })
    }
}

type Axes = &'static [Axis];

impl Op {
    /// The tensors the op reads, `PyTorch`'s names and layouts.
    #[expect(clippy::too_many_lines, reason = "an arm for every operation")]
    pub fn params(&self) -> Vec<ParamUse> {
        use Axis::{Fixed, Input, Output};
        if let Self::Attention {
            head_norms,
            sinks,
            position_bias,
            windows,
            ..
        } = self
        {
            // All heads share the weight, one entry a dimension of a head.
            let norms = head_norms
                .iter()
                .flat_map(|HeadNorms { queries, keys, .. }| {
                    [queries, keys].map(|norm| ParamUse::needed(format!("{norm}.weight"), &[Fixed]))
                });
            let sinks = sinks
                .iter()
                .map(|name| ParamUse::needed(name.clone(), &[Axis::Heads]));
            let tables = position_bias.iter().map(|bias| {
                ParamUse::needed(format!("{}.weight", bias.param), &[Fixed, Axis::Heads])
            });
            let of_windows = windows
                .iter()
                .map(|windows| ParamUse::needed(windows.bias.clone(), &[Fixed, Axis::Heads]));
            return norms.chain(sinks).chain(tables).chain(of_windows).collect();
        }
        if let Self::Opaque { network } = self {
            return network.params();
        }
        let Some(prefix) = self.param() else {
            return Vec::new();
        };
        if let Self::Experts {
            count,
            layers,
            interleaved,
            ..
        } = self
        {
            let of = if *interleaved {
                ExpertLayers::fused_params
            } else {
                ExpertLayers::params
            };
            return (0..*count)
                .flat_map(|expert| of(layers, prefix, expert))
                .collect();
        }
        let bias = self.bias().unwrap_or_else(|| format!("{prefix}.bias"));
        let bias = ParamUse::optional(bias);
        let weight = format!("{prefix}.weight");

        match self {
            Self::Linear {
                transposed: true, ..
            } => {
                vec![ParamUse::needed(weight, &[Input, Output]), bias]
            }
            Self::Linear {
                transposed: false, ..
            } => {
                vec![ParamUse::needed(weight, &[Output, Input]), bias]
            }
            Self::Conv2d { groups: 1, .. } | Self::PatchEmbed { .. } => {
                vec![
                    ParamUse::needed(weight, &[Output, Input, Fixed, Fixed]),
                    bias,
                ]
            }
            Self::Conv1d { .. } => {
                vec![ParamUse::needed(weight, &[Output, Input, Fixed]), bias]
            }
            Self::Offset { .. } => vec![ParamUse::statistic(format!("{prefix}.bias"))],
            Self::PositionEmbedding { frozen: true, .. } => vec![ParamUse {
                role: Role::Statistic,
                ..ParamUse::needed(weight, &[Fixed, Output])
            }],
            Self::Conv2d { .. } => {
                vec![
                    ParamUse::needed(weight, &[Output, Fixed, Fixed, Fixed]),
                    bias,
                ]
            }
            Self::BatchNorm { .. } => vec![
                ParamUse::optional(weight),
                bias,
                ParamUse::statistic(format!("{prefix}.running_mean")),
                ParamUse::statistic(format!("{prefix}.running_var")),
                ParamUse::counter(format!("{prefix}.num_batches_tracked")),
            ],
            Self::LayerNorm { .. } | Self::GroupNorm { .. } => {
                vec![ParamUse::needed(weight, &[Output]), bias]
            }
            Self::GlobalResponseNorm { of_rank_four, .. } => {
                let axes: Axes = if *of_rank_four {
                    &[Fixed, Fixed, Fixed, Output]
                } else {
                    &[Output]
                };
                let bias = format!("{prefix}.bias");
                vec![ParamUse::needed(weight, axes), ParamUse::needed(bias, axes)]
            }
            Self::RmsNorm { .. } => vec![ParamUse::needed(weight, &[Output])],
            Self::Embedding { .. }
            | Self::TokenTypeEmbedding { .. }
            | Self::Table { bare: false, .. }
            | Self::PositionEmbedding { bare: false, .. } => {
                vec![ParamUse::needed(weight, &[Fixed, Output])]
            }
            Self::ClassToken { flat: true, .. } => {
                vec![ParamUse::needed(prefix.to_owned(), &[Output])]
            }
            Self::PositionEmbedding { bare: true, .. }
            | Self::ClassToken { .. }
            | Self::Table { bare: true, .. } => {
                vec![ParamUse::needed(prefix.to_owned(), &[Fixed, Fixed, Output])]
            }
            Self::LayerScale { tensor, .. } => {
                vec![ParamUse::needed(format!("{prefix}.{tensor}"), &[Output])]
            }
            _ => Vec::new(),
        }
    }
}

impl ExpertLayers {
    /// The tensors of one expert, in the same order for each.
    fn params(&self, prefix: &str, expert: usize) -> Vec<ParamUse> {
        use Axis::{Hidden, Input, Output};
        let Self { gate, up, down } = self;
        let [gate, up, down] = [gate, up, down].map(|layer| format!("{prefix}.{expert}.{layer}"));

        [
            ParamUse::of_expert(&gate, expert, &[Hidden, Input], &[Hidden]),
            ParamUse::of_expert(&up, expert, &[Hidden, Input], &[Hidden]),
            ParamUse::of_expert(&down, expert, &[Output, Hidden], &[Output]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The same where gate and up are one layer.
    fn fused_params(&self, prefix: &str, expert: usize) -> Vec<ParamUse> {
        use Axis::{Hidden, HiddenPairs, Input, Output};
        let [fused, down] =
            [&self.gate, &self.down].map(|layer| format!("{prefix}.{expert}.{layer}"));
        [
            ParamUse::of_expert(&fused, expert, &[Input, HiddenPairs], &[HiddenPairs]),
            ParamUse::of_expert(&down, expert, &[Hidden, Output], &[Output]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
