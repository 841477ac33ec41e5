//! A model in a race: made when it is first asked for, evaluated a block at a time.

use std::ops::ControlFlow;

use super::{Blocks, Record, Runner};
use crate::{
    profiler::{Profiler, Work},
    tensors::Checkpoint,
    training::Learner,
    transfer::error::TransferError,
};

/// Runs one model over the blocks.
pub struct Arm<'a> {
    learner: &'a Learner<'a>,
    profiler: &'a Profiler,
    blocks: &'a Blocks,
    make: Box<dyn Fn() -> Checkpoint + 'a>,
    made: Option<Checkpoint>,
    record: Record,
    go_on: &'a dyn Fn(usize) -> ControlFlow<()>,
}

/// Where arms run.
#[derive(Clone, Copy)]
pub struct Track<'a> {
    pub learner: &'a Learner<'a>,
    pub profiler: &'a Profiler,
    pub blocks: &'a Blocks,
    /// Asked before every block with its samples.
    pub go_on: &'a dyn Fn(usize) -> ControlFlow<()>,
}

impl<'a> Arm<'a> {
    /// A model that is made when its first block comes, and again where it was let go.
    pub fn new(track: Track<'a>, make: impl Fn() -> Checkpoint + 'a) -> Self {
        let Track {
            learner,
            profiler,
            blocks,
            go_on,
        } = track;
        let (make, record) = (Box::new(make), Record::default());

        Self {
            learner,
            profiler,
            blocks,
            make,
            made: None,
            record,
            go_on,
        }
    }

    /// With what the model did before.
    #[must_use]
    pub fn after(self, record: Record) -> Self {
        Self { record, ..self }
    }

    /// The model and what it did.
    pub fn into_parts(self) -> (Checkpoint, Record) {
        (self.made.unwrap_or_else(|| (self.make)()), self.record)
    }
}

impl Runner for Arm<'_> {
    fn record(&self) -> &Record {
        &self.record
    }

    fn advance(&mut self) -> Result<(), TransferError> {
        let Some(block) = self.blocks.after(self.record.samples()) else {
            return Ok(());
        };
        if (self.go_on)(block.len()).is_break() {
            return Err(TransferError::Interrupted);
        }

        let model = self.made.get_or_insert_with(&self.make);
        let evaluation = self
            .profiler
            .time(Work::Evaluation, || self.learner.evaluate(model, block));
        self.record.add(&evaluation, block);
        Ok(())
    }

    fn rest(&mut self) {
        self.made = None;
    }
}
