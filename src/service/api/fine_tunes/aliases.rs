//! Aliases of fine-tunes: look, protect.

pub mod put;
pub mod read;
