//! Where a transfer keeps what is too large for memory, and what a later run may go on from.

use super::{
    functional::{FunctionalTrial, LayerStore},
    gradient_store::{GradientStore, InMemory},
    resume_point::{NoResume, ResumePoint, StepKey, StepState},
};
use crate::symmetry::Stage;

/// The places that the caller gives a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Stores<'a> {
    /// Gradient pairs.
    pub gradients: &'a dyn GradientStore,
    /// Ends of steps of gradient matching, whose pairs are drawn anew at every step.
    pub steps: &'a dyn ResumePoint<StepState, StepKey>,
    /// The descent that weight matching is.
    pub descent: &'a dyn ResumePoint<Stage>,
    /// Layers of a functional fit.
    pub layers: &'a dyn LayerStore,
    /// The trials by which a functional fit is chosen, once they are judged.
    pub trials: &'a dyn ResumePoint<Vec<FunctionalTrial>>,
}

impl Stores<'static> {
    /// In memory; no later run finds anything.
    pub const IN_MEMORY: Self = Self {
        gradients: &InMemory,
        steps: &NoResume,
        descent: &NoResume,
        layers: &InMemory,
        trials: &NoResume,
    };
}
