//! The permutation group of a graph, and the search for the permutation that aligns two models.

/// The linear assignment problem, with an optimality certificate.
pub mod assignment;
