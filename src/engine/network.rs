//! A model as data: a [`Graph`] says how it computes, a [`Checkpoint`] holds its parameters.
//!
//! One graph gives both the forward pass (`forward`) and the permutation symmetry
//! (`crate::engine::symmetry`), so the two cannot disagree. Nothing here knows a file or a store.

pub mod checkpoint;
pub mod document;
mod dtype;
pub mod error;
mod families;
pub mod forward;
pub mod graph;
pub mod host;
mod initial;
mod lazy;
pub mod op;
mod ops;
pub mod shapes;
pub mod token;

pub(crate) use checkpoint::CHUNK;
pub use checkpoint::{Checkpoint, HostTensor, Signature, TensorInfo};
pub use dtype::DType;
pub use error::GraphError;
pub use families::{
    Naming, OUTPUT, as_classifier, is_of_a_task, is_transposed, module_of_tensor, tensor_of_module,
    tied_embedding, vocabulary_of, wrapper_of,
};
pub use graph::{Graph, Input, Node, Operand, Task};
#[cfg(test)]
pub(crate) use lazy::Again;
pub use lazy::{Elements, HeldBack};
pub use op::{Axis, Op, ParamUse, Role};
pub use token::Token;
