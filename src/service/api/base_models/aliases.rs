//! Aliases of a base model: names that move from version to version.

pub mod put;
pub mod read;
