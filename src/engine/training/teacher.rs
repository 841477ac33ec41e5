//! A model whose probabilities are learned instead of labels: knowledge distillation (Hinton, Vinyals and
//! Dean, 2015) at temperature 1.

use super::{Batch, Learner};
use crate::{
    execution::{BatchNormMode, Weights},
    tensors::Checkpoint,
};

/// The model that teaches, with the network that runs it. Its classes are those of the pupil, in order.
#[derive(Clone, Copy)]
pub struct Teacher<'a> {
    pub learner: &'a Learner<'a>,
    pub model: &'a Checkpoint,
    /// Of every class of the pupil, whether the teacher has it; empty: all of them.
    pub known: &'a [bool],
}

/// A teacher, uploaded once.
pub(super) struct Lesson<'a> {
    teacher: Teacher<'a>,
    weights: Weights,
}

impl<'a> Teacher<'a> {
    pub(super) fn prepare(self) -> Lesson<'a> {
        let Self { learner, model, .. } = self;
        Lesson {
            teacher: self,
            weights: Weights::upload(&learner.program, model, &learner.executor),
        }
    }
}

impl Lesson<'_> {
    pub fn known(&self) -> &[bool] {
        self.teacher.known
    }

    /// The teacher's logits for a batch, by its running statistics. They are computed for a part of a
    /// batch at a time, and never kept.
    pub fn logits(&self, batch: &Batch) -> Vec<f32> {
        self.teacher
            .learner
            .logits(&self.weights, batch.clone(), BatchNormMode::Running)
            .0
    }
}
