//! The settings of ops that have fields of their own.

use serde::{Deserialize, Serialize};

use super::defaults;

/// Rotary position embeddings: which channels of a head are turned, and how fast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotary {
    /// Base of the wavelengths: frequency of pair i is `theta^(−2i/d)`.
    #[serde(default = "defaults::theta")]
    pub theta: f64,
    /// Only the first so many channels of a head are turned, and d is their number; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dims: Option<usize>,
    /// Channel 2i is paired with 2i + 1, not i with i + d/2.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub interleaved: bool,
    /// Llama 3's stretching of long wavelengths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llama3: Option<Box<Llama3Scaling>>,
    /// Positions are divided by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yarn: Option<Box<Yarn>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longrope: Option<Box<LongRope>>,
    /// Cosines and sines are multiplied by this; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
}

impl Default for Rotary {
    fn default() -> Self {
        Self {
            theta: defaults::theta(),
            dims: None,
            interleaved: false,
            llama3: None,
            linear_factor: None,
            yarn: None,
            longrope: None,
            attention_factor: None,
        }
    }
}

impl Rotary {
    /// The same channels turned at other speeds.
    #[must_use]
    pub fn at_default_speed(&self) -> Self {
        Self {
            dims: self.dims,
            interleaved: self.interleaved,
            ..Self::default()
        }
    }
}

/// Long wavelengths are divided by `factor`, short ones are kept, with a ramp between (Peng et al. 2023,
/// section 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yarn {
    pub factor: f64,
    pub original_max_position_embeddings: f64,
    /// A pair that turns so often within the original length is kept.
    #[serde(default = "defaults::beta_fast")]
    pub beta_fast: f64,
    /// A pair that turns only so often is divided by the whole factor.
    #[serde(default = "defaults::beta_slow")]
    pub beta_slow: f64,
    /// The ramp begins and ends at whole pairs.
    #[serde(default = "defaults::yes")]
    pub truncate: bool,
}

/// The frequency of each pair is divided by a number of its own (Ding et al. 2024).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongRope {
    /// For sentences of at most `original_max_position_embeddings` tokens, padding counted.
    pub short_factor: Vec<f64>,
    /// For longer ones.
    pub long_factor: Vec<f64>,
    pub original_max_position_embeddings: usize,
}

/// Root-mean-square norms over the channels of each head, before rotary positions. All heads share the
/// weights `queries.weight` and `keys.weight`, `[d]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadNorms {
    pub queries: String,
    pub keys: String,
    #[serde(default = "defaults::rms_eps")]
    pub eps: f64,
    /// The weights are counted from one.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub unit_offset: bool,
}

/// What is added to a head's scores by how far a key stands from its query: a row of the table `param.weight`,
/// `[buckets, heads]`, for each bucket of distances (Raffel et al. 2020, section 2.1).
///
/// Half of the buckets are for keys behind the query. Of each half, the first half are one distance each; the
/// others hold more and more distances, and the last all from `max_distance` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionBias {
    pub param: String,
    #[serde(default = "defaults::buckets")]
    pub buckets: usize,
    #[serde(default = "defaults::max_distance")]
    pub max_distance: usize,
    /// All buckets are for keys before the query, and those behind it are at no distance.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub one_sided: bool,
}

/// Windows of an image's tokens, which lie in a grid row by row (Liu et al. 2021, section 3.2).
///
/// The rows and columns are shifted cyclically before they are cut into windows; what lay on two sides of an edge
/// does not see each other then, by a score of −100.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Rows and columns of the tokens.
    pub grid: Pair,
    /// Rows and columns of a window; they divide those of the grid.
    pub size: Pair,
    /// Rows and columns that come to the end: fewer than a window has.
    #[serde(default)]
    pub shift: Pair,
    /// The parameter `[(2 rows − 1)(2 columns − 1), heads]` itself: what is added to a score, by how many rows and
    /// columns the query stands behind the key.
    pub bias: String,
}

/// Scores of distances beside those of tokens (He et al. 2021, section 3.1). Behind the values stand what the
/// queries meet and then what the keys meet, where there are both: `[2 s, heads · d]`, of which row `s + b` is
/// of bucket `b` of the distance from a key to its query, `|b| < s`. All three products are scaled alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distances {
    /// Queries meet keys of distances.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub keys: bool,
    /// Keys meet queries of distances.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub queries: bool,
    /// A distance of at most half as many is its own bucket; those beyond share the other half, more and more
    /// of them, up to `max_distance`. Where absent every distance is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<usize>,
    #[serde(default = "defaults::max_position")]
    pub max_distance: usize,
}

/// How queries, keys and values lie in one fused input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusedOrder {
    /// All queries, all keys, all values.
    #[default]
    Parts,
    /// Query, key and value of the first head, then of the second, as GPT-NeoX has them.
    Heads,
}

impl FusedOrder {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) fn is_parts(&self) -> bool {
        *self == Self::Parts
    }
}

/// What attention gives a position all of whose keys are masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullyMasked {
    /// 0, as `PyTorch`'s `scaled_dot_product_attention` (since 2.5).
    #[default]
    Zero,
    /// The mean of all values, masked or not, as a softmax over equal scores: transformers' eager attention,
    /// which is the only one that Gemma 2 has.
    Mean,
}

impl FullyMasked {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) fn is_zero(&self) -> bool {
        *self == Self::Zero
    }
}

/// Experts of a layer, at most. Each has names of its own: a number in a small file must not ask for memory.
pub const MAX_EXPERTS: usize = 4096;

/// The function of a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    #[default]
    Silu,
    /// The exact form, `x Φ(x)`.
    Gelu,
    /// `x Φ(x)` by tanh.
    GeluTanh,
    Relu,
}

/// gpt-oss's gate: `(up + 1) · gate · sigmoid(alpha · gate)`, of a gate of at most `limit` and an up of at most
/// that size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clamp {
    pub alpha: f64,
    pub limit: f64,
}

/// What the three layers of an expert are called, behind its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertLayers {
    pub gate: String,
    pub up: String,
    pub down: String,
}

impl Default for ExpertLayers {
    fn default() -> Self {
        Self::named(["gate_proj", "up_proj", "down_proj"])
    }
}

impl ExpertLayers {
    /// Gate, up and down of these names.
    pub fn named([gate, up, down]: [&str; 3]) -> Self {
        let [gate, up, down] = [gate, up, down].map(str::to_owned);
        Self { gate, up, down }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Llama3Scaling {
    pub factor: f64,
    pub low_freq_factor: f64,
    pub high_freq_factor: f64,
    pub original_max_position_embeddings: f64,
}

/// Rows of a grid of positions for an image that has another: the row of each new position is made of those around
/// it by bicubic interpolation (`PyTorch`'s, without aligned corners).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resampled {
    /// Rows and columns that the table was made for.
    pub from: Pair,
    /// Those of the image.
    pub to: Pair,
    /// Rows in front of the grid's, which are taken as they are.
    #[serde(default, skip_serializing_if = "defaults::is_zero")]
    pub prefix: usize,
    /// A smaller grid is made of all rows that its places cover.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub antialias: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    #[default]
    First,
    /// The last that the mask does not hide.
    Last,
    /// The last that there is, masked or not.
    End,
}

/// Height and width; written as one number or as two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PairForm", into = "[usize; 2]")]
pub struct Pair(pub usize, pub usize);

impl Pair {
    pub(super) fn one() -> Self {
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
