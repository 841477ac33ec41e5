//! Parameters in host memory, and the arithmetic on them.
//!
//! A [`Checkpoint`] holds [`HostTensor`]s by name. A tensor is in memory or lazy ([`Elements`]); what
//! follows from lazy tensors is lazy again. Nothing here knows a graph or a device.

mod checkpoint;
mod dtype;
mod host_tensor;
mod lazy;
pub mod low_rank;
pub mod matmul;
mod merge;
pub mod solve;
mod stacked;
#[cfg(test)]
pub(crate) mod testing;
mod update;
mod vectorized;

pub use checkpoint::{Checkpoint, Signature};
pub use dtype::DType;
pub(crate) use host_tensor::CHUNK;
pub use host_tensor::{HostTensor, TensorInfo};
pub use lazy::Elements;
pub use merge::LowRankProduct;
#[cfg(test)]
pub(crate) use update::Deferred;
pub use update::{Projection, Update, UpdateMask};
pub(crate) use vectorized::vectorized;
