//! Networks and threads for tests and benches: nothing else uses this module.
//!
//! It stands in the engine because a test and a bench cannot share a file otherwise, and because it computes every
//! element: elsewhere a model of gigabytes takes minutes to draw in an unoptimised build.

mod llama;
mod networks;
mod threads;
mod transformers;

pub use llama::{Change, Llama};
pub use networks::{ResNet, mlp, signature};
pub use threads::with_threads;
pub use transformers::Transformer;
