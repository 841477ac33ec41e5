//! Aliases of a base model: names that move from version to version.

pub mod get;
pub mod moves;
pub mod put;
