//! Where the layers of a fit are kept as they are made: in memory, or on a disk, so that a result is
//! never held whole and a later run goes on behind the last layer that an earlier one has made.

use std::fmt;

use super::LayerFit;
use crate::{tensors::Checkpoint, transfer::gradient_store::InMemory};

/// Which layer of which fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerKey {
    /// The trials are the first run, what is made in full is the next.
    pub run: usize,
    /// The variant's position within the run.
    pub variant: usize,
    /// The layer's position in the graph.
    pub layer: usize,
}

/// A layer as a fit leaves it; by default as it was.
#[derive(Clone, Debug, Default)]
pub struct FittedLayer {
    /// `None` where the inputs told nothing of what is missing.
    pub fit: Option<LayerFit>,
    /// What the fit has changed: the layer's own tensors, and those of a norm behind it.
    pub tensors: Checkpoint,
}

/// A place for fitted layers.
pub trait LayerStore: fmt::Debug + Sync {
    /// The layer that an earlier run with the same inputs has put here.
    fn get(&self, key: LayerKey) -> Option<FittedLayer>;

    /// Keeps a layer and gives it back, its tensors lazy where memory is short.
    fn put(&self, key: LayerKey, layer: FittedLayer) -> FittedLayer;

    /// Removes the layers of a run; what is open stays readable.
    fn remove_run(&self, run: usize);
}

impl LayerStore for InMemory {
    fn get(&self, _: LayerKey) -> Option<FittedLayer> {
        None
    }

    fn put(&self, _: LayerKey, layer: FittedLayer) -> FittedLayer {
        layer
    }

    fn remove_run(&self, _: usize) {}
}
