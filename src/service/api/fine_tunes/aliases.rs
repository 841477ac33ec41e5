//! Aliases of a fine-tune: what consumers read.

pub mod read;
