//! The numerics: pure functions of tensors. No tokio, SQL, HTTP, object store, clock or global
//! randomness; device, seed and data come in as arguments.

// Parameters in host memory, and the arithmetic on them.
pub mod tensors;

// A model as data: its graph, the known families.
pub mod network;

// Forward pass and gradients, on the CPU and by burn.
pub mod execution;

// The permutation group of a graph, and the search for the permutation that aligns two models.
pub mod symmetry;

// Loss and gradient of a graph on a batch, evaluation, fine-tuning.
pub mod training;

// Seconds by kind of work, by a clock that comes in from outside.
pub mod profiler;

// Learning transfer: methods, schedules, the choice among candidates.
pub mod transfer;

// Networks for tests and benches alone.
pub mod testing;
