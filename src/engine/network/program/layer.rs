//! What an instruction computes: an [`Op`](crate::network::Op) with its tensors and sizes.
//!
//! Shapes are of one sample: `[F]`, `[C, H, W]` or tokens `[S, D]`.

mod attention;

use super::Param;
use crate::network::op::{Clamp, Pair, Position, Resampled};
pub use attention::{Attention, HeadNorms, PositionBias, Windows};

/// What an instruction computes.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a program has some hundred layers, and each is read where it lies"
)]
pub enum Layer {
    Linear(Linear),
    Conv2d(Conv2d),
    BatchNorm(BatchNorm),
    /// A function of every value by itself.
    Nonlinear(Nonlinearity),
    Pool(Pool),
    /// `[C, H, W]` to `[C, h, w]`.
    AdaptiveAvgPool {
        input: [usize; 3],
        output: Pair,
    },
    /// `[C, H, W]` to `[C]`.
    GlobalAvgPool {
        input: [usize; 3],
    },
    /// To `[F]`, channel-major.
    Flatten,
    /// The sum of its inputs.
    Add,
    /// The product of its inputs.
    Gate,
    /// `[C, H, W]` times a value for each channel, `[C]` or `[C, 1, 1]`, which is the second input.
    ChannelGate {
        input: [usize; 3],
    },
    /// The channels of its inputs, one behind the other.
    Concat,
    /// Dropout: training noise is no part of a transfer.
    Identity,
    Norm(Norm),
    GroupNorm(GroupNorm),
    ResponseNorm(ResponseNorm),
    /// Every value times one number.
    Scale {
        factor: f64,
    },
    /// `cap · tanh(x / cap)`.
    SoftCap {
        cap: f64,
    },
    /// One of several equal parts of the channels of `[F]` or `[S, D]`.
    Split {
        parts: usize,
        part: usize,
    },
    /// One value more for each channel of tokens.
    Offset {
        bias: Param<1>,
    },
    /// Of tokens or an image: one factor a channel.
    LayerScale {
        gamma: Param<1>,
    },
    Embedding(Embedding),
    /// `[S]` ids to `[S, D]`, by the types that stand beside the ids; `[types, D]`.
    TokenTypeEmbedding {
        table: Param<2>,
    },
    PositionEmbedding(PositionEmbedding),
    /// One row per position, `[S, D]`, as [`sinusoids`] computes it.
    Sinusoids,
    /// The rows of a grid `[1, P, D]`, interpolated for the grid of the image.
    ResampledPositions {
        table: Param<3>,
        grid: Resampled,
    },
    /// `[S, D]` to `[S + R, D]`: the tokens `[1, R, D]` behind the first `at`.
    ClassToken {
        token: Param<3>,
        at: usize,
    },
    PatchEmbed(PatchEmbed),
    /// `[C, H, W]` to `[H · W, C]`.
    ToTokens {
        input: [usize; 3],
    },
    /// `[S, D]` of a grid to `[S', 4 D]`: two by two neighbours become one.
    MergeTokens {
        grid: Pair,
    },
    /// The rows of `[R, D]`, the same for every sample.
    Table {
        table: Param<2>,
    },
    ShiftTokens(ShiftTokens),
    /// Tokens, 0 where they are padded; the ids are the second input.
    MaskTokens,
    Attention(Attention),
    /// `[S, D]` to `[D]`; the ids are the second input.
    SelectToken(SelectToken),
    /// `[S, D]` to `[D]`, over the positions that are not padded if the ids are the second input; the first
    /// `skip` do not count.
    MeanTokens {
        skip: usize,
    },
    Experts(Experts),
}

impl Layer {
    /// The largest id that it puts out whatever the samples have.
    pub fn own_id(&self) -> Option<u32> {
        match self {
            Self::ShiftTokens(ShiftTokens { first, padding }) => (*first).max(*padding),
            _ => None,
        }
    }
}

/// `x Wᵀ + b`, of every token where there are tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[out, in]`, or `[in, out]` where it is transposed.
    pub weight: Param<2>,
    pub bias: Option<Param<1>>,
    pub transposed: bool,
}

impl Linear {
    pub fn outputs(&self) -> usize {
        self.weight.shape[usize::from(self.transposed)]
    }

    pub fn inputs(&self) -> usize {
        self.weight.shape[usize::from(!self.transposed)]
    }
}

/// `[in, H, W]` to `[out, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// `[out, in / groups, kh, kw]`
    pub weight: Param<4>,
    pub bias: Option<Param<1>>,
    pub stride: Pair,
    /// Zeros before the first row and column.
    pub padding: Pair,
    /// Zeros behind the last.
    pub padding_end: Pair,
    pub dilation: Pair,
    pub groups: usize,
    pub input: [usize; 3],
    pub output: [usize; 3],
}

/// Per channel of `[F]` or `[C, H, W]`, over batch and space; every tensor is `[C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    pub gamma: Option<Param<1>>,
    pub beta: Option<Param<1>>,
    pub running_mean: Param<1>,
    pub running_var: Param<1>,
    pub eps: f64,
}

impl BatchNorm {
    pub fn channels(&self) -> usize {
        self.running_mean.shape[0]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonlinearity {
    Relu,
    /// The exact form, `x Φ(x)`.
    Gelu,
    /// `x Φ(x)` by tanh.
    GeluTanh,
    Silu,
    Tanh,
    Sigmoid,
    /// `min(max(x / 6 + 1/2, 0), 1)`
    HardSigmoid,
    /// `x · hard_sigmoid(x)`
    HardSwish,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x σ(1.702 x)`
    QuickGelu,
}

/// `[C, H, W]` to `[C, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub kind: PoolKind,
    pub kernel: Pair,
    pub stride: Pair,
    pub padding: Pair,
    pub ceil_mode: bool,
    pub input: [usize; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    Max,
    Average { count_include_pad: bool },
}

/// Over consecutive channels of an image and their pixels; the tensors are `[C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    pub weight: Param<1>,
    pub bias: Option<Param<1>>,
    pub groups: usize,
    pub eps: f64,
    pub input: [usize; 3],
}

/// `x + γ x n + β`: n is the norm of a channel over the pixels, over the mean of all channels' norms plus eps.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseNorm {
    pub weight: Param<1>,
    pub bias: Param<1>,
    pub eps: f64,
    pub input: [usize; 3],
}

/// Over the channels of each token or pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    pub kind: NormKind,
    pub weight: Param<1>,
    pub bias: Option<Param<1>>,
    pub eps: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Of the values less their mean.
    Layer,
    /// Of the values as they are; with `unit_offset` the weight is counted from one.
    RootMeanSquare { unit_offset: bool },
}

/// Which token of `[S, D]` is read; the ids are the second input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectToken {
    pub position: Position,
    /// The last of another id than this.
    pub padding: Option<u32>,
    /// The last of this id.
    pub token: Option<u32>,
}

/// `[S]` ids to `[S, D]`, by rows of `[vocabulary, D]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    pub table: Param<2>,
    /// The id whose row is never trained by being looked up.
    pub padding: Option<u32>,
}

/// Rows `[length, width]` of positions: sines of `position / 10000^(2i/width)`, then the cosines.
pub fn sinusoids(length: usize, width: usize) -> Vec<f32> {
    let sines = width.div_ceil(2);

    (0..length * width)
        .map(|at| {
            let (position, channel) = ((at / width) as f64, at % width);
            let pair = if channel < sines {
                channel
            } else {
                channel - sines
            };
            let angle = position / 10_000f64.powf((2 * pair) as f64 / width as f64);
            (if channel < sines {
                angle.sin()
            } else {
                angle.cos()
            }) as f32
        })
        .collect()
}

/// `[S]` ids, each that of the position before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShiftTokens {
    /// The first id; where absent the last of the sequence that is not `padding`.
    pub first: Option<u32>,
    /// The id that stands where there is no token.
    pub padding: Option<u32>,
}

/// One row per position, `[S, D]`.
#[derive(Clone, Debug, PartialEq)]
pub enum PositionEmbedding {
    /// The rows from `offset` on, or that row alone for all positions; the table is `[1, P, D]`.
    Rows {
        table: Param<3>,
        offset: usize,
        constant: bool,
        /// It is never trained.
        frozen: bool,
    },
    /// Counted over the ids other than `padding`, from the row after its own.
    Counted { table: Param<2>, padding: u32 },
}

/// `[C, H, W]` to `[S, D]`: a convolution whose stride is its kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchEmbed {
    /// `[D, C, kh, kw]`
    pub weight: Param<4>,
    pub bias: Option<Param<1>>,
    pub input: [usize; 3],
}

/// Gated hidden layers of which each token `[D]` passes through some, by its router logits `[experts]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// All of the same shapes.
    pub experts: Vec<Expert>,
    /// Experts of each token.
    pub top_k: usize,
    /// The shares of a token's experts sum to one.
    pub normalised: bool,
    pub activation: Nonlinearity,
    /// In the place of the activation.
    pub clamp: Option<Clamp>,
}

/// `down(activation(gate x) · up x)`
#[derive(Clone, Debug, PartialEq)]
pub struct Expert {
    pub gate: Linear,
    /// Where there is none the gate puts out both, in turns.
    pub up: Option<Linear>,
    pub down: Linear,
}

impl Experts {
    /// Hidden units of each expert.
    pub fn hidden(&self) -> usize {
        self.experts
            .first()
            .map_or(0, |expert| expert.down.inputs())
    }

    /// Values of one expert's weights.
    pub fn weights(&self) -> usize {
        let first = self.experts.first();
        first.map_or(0, |Expert { gate, up, down }| {
            [Some(gate), up.as_ref(), Some(down)]
                .iter()
                .flatten()
                .map(|layer| layer.weight.len())
                .sum()
        })
    }
}
