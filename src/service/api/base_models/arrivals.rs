//! What was announced as a version of a base model, and what became of it.

pub mod list;
