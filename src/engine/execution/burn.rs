//! Forward on a burn device.
//!
//! [`forward()`] walks the nodes in order, gives each what it reads, and lets an activation go after
//! its last reader.

mod activation;
mod attention;
mod batch_norm;
mod distances;
mod experts;
mod forward;
mod image_norms;
mod layers;
mod packed_tokens;
mod position_bias;
mod rotary;
mod sight;
mod tokens;
mod windows;

pub use activation::BurnActivation;
pub use forward::forward;
pub(super) use forward::run;
pub(super) use rotary::Rotations;
