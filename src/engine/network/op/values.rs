//! The settings of ops that have fields of their own.

use serde::{Deserialize, Serialize};

use super::defaults;

/// Frequencies of rotary position embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotary {
    /// Base of the wavelengths: frequency of pair i is `theta^(−2i/d)`.
    #[serde(default = "defaults::theta")]
    pub theta: f64,
    /// Llama 3's stretching of long wavelengths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llama3: Option<Llama3Scaling>,
    /// Positions are divided by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_factor: Option<f64>,
}

impl Default for Rotary {
    fn default() -> Self {
        Self { theta: defaults::theta(), llama3: None, linear_factor: None }
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
