//! The permutation group of a graph, and the search for the permutation that aligns two models.
//!
//! Reordering the hidden units of a network, rows here and columns there, changes nothing it
//! computes. [`Symmetry::derive`] reads from a graph's wiring which axes of which tensors must be
//! reordered together; [`Permutation`] holds one order for each such group and applies it; a
//! [`Matcher`] finds the permutation that brings two sets of tensors closest together, one
//! [`assignment`] problem at a time.

pub mod assignment;
mod attention;
mod fit;
mod gather;
mod groups;
mod matching;
mod permutation;
mod permuted_tensor;
mod similarity;

pub use attention::{Attention, TiedHeads};
pub use fit::{Fit, Kind};
pub use groups::{Experts, Group, GroupedWeight, Member, Runs, Symmetry};
pub use matching::{MATCHED_EXPERTS, MATRIX_CACHE_BYTES, Matcher, Solution, Stage, Stages, Start};
pub use permutation::Permutation;
pub use similarity::MAX_BLOCK_ELEMENTS;
