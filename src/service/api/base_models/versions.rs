//! Versions of a base model: registered once, never changed.

pub mod create;
pub mod delete;
pub mod read;
