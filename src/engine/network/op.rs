//! What a node computes, and the tensors it reads along which axes.

mod defaults;
mod named;
mod names;
mod tensors;
mod values;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use named::{ByNames, Named, RowsOf};
pub use tensors::{Axis, ParamUse, Role};
pub use values::{
    Activation, Clamp, Distances, ExpertLayers, FullyMasked, FusedOrder, HeadNorms, Llama3Scaling,
    LongRope, MAX_EXPERTS, Pair, Position, PositionBias, Resampled, Rotary, Windows, Yarn,
};

/// What a node computes. Kernel sizes and widths are read from the tensors.
///
/// Samples are `[F]`, `[C, H, W]` or tokens `[S, D]`: channels come first in an image and last in
/// tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// `x Wᵀ + b`, weight `[out, in]`; of every token where there are tokens, of every pixel of an image.
    Linear {
        param: String,
        /// The weight is `[in, out]`, as GPT-2's `Conv1D` has it.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        transposed: bool,
        /// The parameter `b` itself, where it is not `param.bias`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<String>,
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
        #[serde(default = "defaults::one")]
        groups: usize,
        /// Zeros behind the last row and column; as many as before the first where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        padding_end: Option<Pair>,
        /// In the place of both paddings `TensorFlow`'s SAME: as many zeros as make one output for every
        /// `stride` pixels that have begun, the odd one behind.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        same: bool,
    },
    /// Of `[C, 1, L]`, weight `[out, in, kernel]`.
    Conv1d {
        param: String,
        #[serde(default = "defaults::one")]
        stride: usize,
        #[serde(default)]
        padding: usize,
    },
    /// Per channel, over batch and space.
    BatchNorm {
        param: String,
        #[serde(default = "defaults::eps")]
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
        #[serde(default = "defaults::yes")]
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
    /// Over the channels of each token or pixel: `γ (x − mean) / √(variance + eps) + β`.
    LayerNorm {
        param: String,
        #[serde(default = "defaults::eps")]
        eps: f64,
    },
    /// The same over consecutive channels of an image and all their pixels, in `groups` equal groups (Wu & He
    /// 2018).
    GroupNorm {
        param: String,
        groups: usize,
        #[serde(default = "defaults::eps")]
        eps: f64,
    },
    /// `x + γ x n + β`, where n is the Euclidean norm of the channel over its pixels, over the mean of the
    /// channels' norms plus eps (Woo et al. 2023, section 3.2).
    GlobalResponseNorm {
        param: String,
        #[serde(default = "defaults::rms_eps")]
        eps: f64,
        /// The tensors are `[1, 1, 1, C]`.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        of_rank_four: bool,
    },
    /// Over the channels of each token: `γ x / √(mean x² + eps)`.
    RmsNorm {
        param: String,
        #[serde(default = "defaults::rms_eps")]
        eps: f64,
        /// The weight is counted from one, as Gemma has it: `1 + γ` in the place of `γ`.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        unit_offset: bool,
    },
    /// `[S]` ids to `[S, D]`, weight `[vocabulary, D]`.
    Embedding {
        param: String,
        /// The id whose row is never trained by being looked up, as `PyTorch`'s `padding_idx`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        padding: Option<u32>,
    },
    /// One row per position, `[S, D]`, for the positions of its input (ids `[S]` or tokens `[S, D]`).
    PositionEmbedding {
        param: String,
        /// The tensor is the parameter `param` itself, `[1, S, D]`, not `param.weight`, `[P, D]`.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        bare: bool,
        /// The row of the first position.
        #[serde(default, skip_serializing_if = "defaults::is_zero")]
        offset: usize,
        /// All positions read the first row (`offset`).
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        constant: bool,
        /// The id that is no token: it reads its own row, and only the others are counted, from the row
        /// after it, as `RoBERTa` does. The node then reads the ids.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        padding: Option<u32>,
        /// The table is never trained: it follows its channels, as statistics do.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        frozen: bool,
        /// The rows are those of a grid, and the image has another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resampled: Option<Resampled>,
    },
    /// One row per position, `[S, D]`, of a table that is computed: with i from 0 to below ⌈D/2⌉ the sines of
    /// `position / 10000^(2i/D)`, then as many cosines (Vaswani et al. 2017, section 3.5, the two not mixed).
    Sinusoids {
        width: usize,
    },
    /// One row a token type, `[S, D]`, by the types that stand beside the ids; weight `[types, D]`.
    TokenTypeEmbedding {
        param: String,
    },
    /// `[S, D]` to `[S + R, D]`: the parameter `param`, `[1, R, D]`, before the first token.
    ClassToken {
        param: String,
        /// The parameter is `[D]`: one token.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        flat: bool,
        /// So many tokens stay before it.
        #[serde(default, skip_serializing_if = "defaults::is_zero")]
        at: usize,
    },
    /// `[C, H, W]` to `[S, D]`: a convolution whose stride is its kernel, row by row.
    PatchEmbed {
        param: String,
    },
    /// `[C, H, W]` to `[H · W, C]`, row by row.
    ToTokens {},
    /// `[S, D]` of a grid, row by row, to `[S', 4 D]`: the channels of each two by two neighbours, those of the
    /// first column before those of the second (Liu et al. 2021, section 3.1). Behind an odd row or column stand
    /// zeros.
    MergeTokens {
        /// Rows and columns of the tokens.
        grid: Pair,
    },
    /// `[R, D]`, the rows of the table `param.weight`, the same for every sample. It reads the input, and
    /// nothing of it.
    Table {
        param: String,
        /// The rows are the parameter `param` itself, `[1, R, D]`.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        bare: bool,
    },
    /// `[S]` ids to `[S]` ids: every position reads the one before it, the first the id `first`.
    ShiftTokens {
        /// Where absent, the first position reads the last id that is not `padding`, as mBART does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u32>,
        /// The id that is read where there is no token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        padding: Option<u32>,
    },
    /// Tokens `[S, D]`, 0 at the positions that are padded; the ids are the second input.
    MaskTokens {},
    /// Softmax attention of tokens. Reads `[q, k, v]` or one fused `[q|k|v]`, heads side by side,
    /// and with `mask` the ids last, whose padded positions are not attended to.
    ///
    /// In this order: `head_norms`, `rotary`, scores times `scale`, `position_bias` or that of `windows`,
    /// `soft_cap`, masks, softmax.
    Attention {
        heads: usize,
        /// Key and value heads; each serves `heads / kv_heads` consecutive query heads.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kv_heads: Option<usize>,
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        causal: bool,
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        mask: bool,
        /// Rotary position embedding of queries and keys, dimension i paired with i + d/2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rotary: Option<Rotary>,
        /// How one fused input is laid out.
        #[serde(default, skip_serializing_if = "FusedOrder::is_parts")]
        fused: FusedOrder,
        /// Norms over the channels of each head of queries and of keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head_norms: Option<HeadNorms>,
        /// A position attends to those that are less than this many positions away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<usize>,
        /// What products of queries and keys are multiplied by; `1 / √d` where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale: Option<f64>,
        /// Scores `s` become `soft_cap · tanh(s / soft_cap)`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        soft_cap: Option<f64>,
        /// What a position gets all of whose keys are masked.
        #[serde(default, skip_serializing_if = "FullyMasked::is_zero")]
        fully_masked: FullyMasked,
        /// The parameter `[heads]` itself, a score more for each head, of a key without a value (Xiao et al.
        /// 2023).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sinks: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position_bias: Option<PositionBias>,
        /// What distances are is read behind the values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        distances: Option<Box<Distances>>,
        /// Padded positions see nothing either.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        mask_queries: bool,
        /// Keys, values and the ids of the mask are of another sequence than the queries; in a network of images, of
        /// other tokens.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        cross: bool,
        /// A token attends to those of its window of an image alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        windows: Option<Box<Windows>>,
    },
    /// `x Φ(x)` by tanh, as GPT-2.
    GeluTanh {},
    Silu {},
    Tanh {},
    Sigmoid {},
    /// `min(max(x / 6 + 1/2, 0), 1)`
    HardSigmoid {},
    /// `x · hard_sigmoid(x)`
    HardSwish {},
    /// `min(max(x, 0), 6)`
    Relu6 {},
    /// `x σ(1.702 x)`
    QuickGelu {},
    /// The product of its two inputs. The second may have one value for each channel of an image, `[C]` or
    /// `[C, 1, 1]`, as squeeze and excitation has it (Hu et al. 2018).
    Gate {},
    /// The channels of all its inputs, one behind the other.
    Concat {},
    /// `[S, D]` to `[D]`; the ids are the second input, without which `last` and `end` are the last
    /// position of all.
    SelectToken {
        #[serde(default)]
        position: Position,
        /// With `end`: the last token of another id than this, whatever the mask says; the first position
        /// where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        padding: Option<u32>,
        /// With `end`: the last token of this id, whatever the mask says. Samples without it are refused, and those
        /// that have it more or less often than others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<u32>,
    },
    /// `[S, D]` to `[D]`, over the positions that are not padded if the ids are the second input.
    MeanTokens {
        /// The first so many tokens do not count: those of a class, and registers.
        #[serde(default, skip_serializing_if = "defaults::is_zero")]
        skip: usize,
    },
    /// `param.gamma`, one factor a channel, of tokens or of an image.
    LayerScale {
        param: String,
        /// What stands in the place of `gamma`.
        #[serde(
            default = "defaults::gamma",
            skip_serializing_if = "defaults::is_gamma"
        )]
        tensor: String,
    },
    /// `param.bias` more for each channel. It is never trained, and follows its channels, as statistics do.
    Offset {
        param: String,
    },
    /// Every value times one number.
    Scale {
        factor: f64,
    },
    /// `cap · tanh(x / cap)`.
    SoftCap {
        cap: f64,
    },
    /// One of `parts` equal parts of the channels of `[F]` or `[S, D]`, the first by 0.
    Split {
        parts: usize,
        part: usize,
    },
    /// Gated hidden layers of which each token passes through `top_k` (Shazeer et al. 2017, section 2): those
    /// of its largest router logits. Reads the tokens `[S, D]` and the logits `[S, count]`; puts out
    /// `Σ share · down(activation(gate x) · up x)`. The tensors are `param.0.…` to those of the last expert.
    Experts {
        param: String,
        count: usize,
        top_k: usize,
        /// The shares of a token's experts are a softmax over their logits alone; otherwise over those of all
        /// experts, so that they sum to less than one.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        normalised: bool,
        #[serde(default)]
        activation: Activation,
        /// What the three layers of an expert are called.
        #[serde(default, skip_serializing_if = "ExpertLayers::is_default")]
        layers: ExpertLayers,
        /// Gate and up are one layer, called `layers.gate`, which puts them out in turns; weights are
        /// `[in, out]`, as gpt-oss has them.
        #[serde(default, skip_serializing_if = "defaults::is_false")]
        interleaved: bool,
        /// In the place of `activation`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clamp: Option<Clamp>,
    },
    /// A whole network of which the tensors are known and nothing else. It stands alone in its graph, and no
    /// document spells it out.
    #[serde(skip)]
    Opaque {
        network: Arc<ByNames>,
    },
}
