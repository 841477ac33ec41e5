//! A model as data: a [`Graph`] says how it computes, a `Checkpoint` holds its parameters.
//!
//! One graph gives both the forward pass (`crate::execution`) and the permutation symmetry
//! (`crate::symmetry`), so the two cannot disagree. [`Graph::resolve`] checks it against the headers of
//! the tensors and gives the [`Program`] that both read. Nothing here knows a file or a store.

mod by_names;
pub mod document;
pub mod error;
mod families;
pub mod graph;
mod initial;
pub mod op;
pub mod program;
mod resolve;
pub mod token;

pub use error::GraphError;
pub use families::{
    ClassOf, Entry, Naming, OUTPUT, as_classifier, body_prefix, copies_of, entries,
    is_bare_below_its_head, is_copy_of, is_of_a_task, is_transposed, missing_classifier,
    module_of_tensor, tensor_of_module, tied_embedding, vocabulary_of, wrapper_of,
};
pub use graph::{Graph, Input, Node, Operand, SampleSize, Task};
pub use op::{Axis, ByNames, Op, ParamUse, Role, RowsOf};
pub use program::{Inputs, Instruction, Layer, Param, Program, Sequence};
pub use token::Token;
