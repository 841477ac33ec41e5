//! Where the layers of a fit are kept as they are made: in memory, or on a disk, so that a result is
//! never held whole and a later run goes on behind the last layer that an earlier one has made.

use std::fmt;

use super::{FunctionalTrial, LayerFit};
use crate::tensors::Checkpoint;

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
pub trait FitStore: fmt::Debug + Sync {
    /// The layer that an earlier run with the same inputs has kept.
    fn find_layer(&self, _key: LayerKey) -> Option<FittedLayer> {
        None
    }

    /// Keeps a layer and gives it back, its tensors lazy where memory is short.
    fn keep_layer(&self, _key: LayerKey, layer: FittedLayer) -> FittedLayer {
        layer
    }

    /// How an earlier run with the same inputs has judged its trials.
    fn find_trials(&self) -> Option<Vec<FunctionalTrial>> {
        None
    }

    /// Keeps the judgement of the trials.
    fn keep_trials(&self, _trials: &[FunctionalTrial]) {}

    /// Removes the layers of a run; what is open stays readable.
    fn forget_layers(&self, _run: usize) {}
}

/// Holds every layer in memory, for this run alone.
#[derive(Clone, Copy, Debug)]
pub struct Unkept;

impl FitStore for Unkept {}
