//! Attention with its tensors and sizes.

use super::Norm;
use crate::network::{
    op::{Distances, FullyMasked, FusedOrder, Pair, Rotary},
    program::Param,
};

/// Softmax attention of tokens, of `[q, k, v]` or one fused `[q|k|v]`; with `mask` the ids come last.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    pub heads: usize,
    /// Each serves `heads / kv_heads` consecutive query heads.
    pub kv_heads: usize,
    /// Channels of one head.
    pub head_size: usize,
    pub causal: bool,
    pub mask: bool,
    pub rotary: Option<Rotary>,
    /// How one fused input is laid out.
    pub fused: FusedOrder,
    /// Over the channels of each head, before rotary positions.
    pub head_norms: Option<HeadNorms>,
    /// A position attends to those that are less than this many positions away.
    pub window: Option<usize>,
    /// Of the products of queries and keys.
    pub scale: f64,
    pub soft_cap: Option<f64>,
    /// What a position gets all of whose keys are masked.
    pub fully_masked: FullyMasked,
    /// A score more for each head, of a key without a value.
    pub sinks: Option<Param<1>>,
    /// Added to the scaled scores.
    pub position_bias: Option<PositionBias>,
    /// Scores of distances; what they are is read behind the values.
    pub distances: Option<Distances>,
    /// Padded positions see nothing either.
    pub mask_queries: bool,
    /// Tokens of the longest other sequence that keys, values and ids are of, where they are of another.
    pub cross: Option<usize>,
    /// Tokens of one window of an image attend to each other alone.
    pub windows: Option<Windows>,
}

impl Attention {
    /// Whether it is left to burn: its scores depend on more than queries, keys and what is masked, or its keys
    /// are of another sequence. The CPU has no kernel for either.
    pub fn is_left_to_burn(&self) -> bool {
        self.position_bias.is_some()
            || self.distances.is_some()
            || self.mask_queries
            || self.cross.is_some()
            || self.windows.is_some()
    }

    /// Keys that each query meets, of an attention over so many positions.
    pub fn keys(&self, positions: usize) -> usize {
        let of_a_window = self.windows.as_ref().map(Windows::positions);
        self.cross.or(of_a_window).unwrap_or(positions)
    }

    /// Channels of all queries, all keys and all values.
    pub fn widths(&self) -> [usize; 3] {
        [self.heads, self.kv_heads, self.kv_heads].map(|heads| heads * self.head_size)
    }

    /// Leading dimensions of each head's queries and keys that are not like any other: those that rotary
    /// positions turn, and all where the heads share the weights of a norm.
    pub fn fixed_dimensions(&self) -> usize {
        let turned = self
            .rotary
            .as_ref()
            .map_or(0, |rotary| rotary.dims.unwrap_or(self.head_size));
        if self.head_norms.is_some() {
            self.head_size
        } else {
            turned
        }
    }
}

/// A row of `[rows, heads]` for each bucket of distances between a query and a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionBias {
    pub table: Param<2>,
    pub buckets: usize,
    pub max_distance: usize,
    /// All buckets are for keys before the query.
    pub one_sided: bool,
}

/// Windows of tokens that lie in a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    pub grid: Pair,
    /// Rows and columns of a window, which divide those of the grid.
    pub size: Pair,
    pub shift: Pair,
    /// `[(2 rows − 1)(2 columns − 1), heads]`
    pub bias: Param<2>,
}

impl Windows {
    /// Tokens of one window.
    pub fn positions(&self) -> usize {
        self.size.0 * self.size.1
    }
}

/// The weights are `[d]`, shared by all heads.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadNorms {
    pub queries: Norm,
    pub keys: Norm,
}
