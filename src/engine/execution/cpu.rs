//! Forward and backward on the CPU, in plain slices.
//!
//! burn's CPU backend is fast at matrix products and slow around them: convolutions change layouts,
//! batch norm makes a dozen passes, and its tape keeps every activation. So a graph runs here by
//! matrix products (`tensors::matmul`) and single passes over the samples. We store only activations
//! that the backward pass reads and that are expensive; batch norm, ReLU and residual sums are
//! recomputed (`recompute`). Attention goes by blocks of its scores (`attention`). Ops without a kernel here
//! (pooling, grouped convolutions, experts) are run and differentiated by burn, one at a time
//! (`burn_fallback`).
//!
//! Order of events: [`forward()`] walks the nodes and returns a [`Trace`]; [`Trace::backward`] walks
//! them in reverse. Every sum over samples is taken in the order of the samples, so results do not
//! depend on how threads are scheduled.

mod activation;
mod attention;
mod backward;
mod batch_norm;
mod burn_fallback;
mod channels;
mod conv2d;
mod embedding;
mod forward;
mod functions;
mod gradients;
mod kernels;
mod linear;
mod loops;
mod norm;
mod patches;
mod planes;
mod pooling;
mod recompute;
mod softmax;
mod streamed;
mod transformer;

pub use activation::CpuActivation;
pub use forward::{Stored, Trace, forward, moments, run_instruction};
pub use gradients::Gradients;
pub use loops::TASK_ELEMENTS;
pub use recompute::stored_for_backward;
pub use softmax::{exponentials, normaliser};
pub use streamed::forward_streamed;
