//! Runs a program: forward, and back to the gradients.
//!
//! An [`Executor`] is chosen once. On the CPU a program runs by [`cpu`], elsewhere by [`burn`], which
//! also runs the layers that [`cpu`] has no kernel for. `Graph::resolve` has checked the shapes and put
//! them into the program; nothing here checks them again.
//!
//! The files build upon one another in this order: `values`, `executor`, `statistics`, `weights`, `resampling`;
//! then `burn`; then `cpu`.

pub mod burn;
pub mod cpu;
mod executor;
mod resampling;
mod statistics;
mod values;
mod weights;

pub use executor::Executor;
pub use statistics::{BatchNormMode, BatchStatistics, Moments, Statistics};
pub use values::floats;
pub use weights::Weights;
