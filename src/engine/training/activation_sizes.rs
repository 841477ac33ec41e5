//! How many values the layers of a program put out for samples of a size.

use crate::network::{
    Input, Instruction, Operand, Program, SampleSize, Sequence, program::layer::Attention,
};

/// A program with the size of its samples: sequences may be shorter than the network's own.
#[derive(Clone, Copy)]
pub(super) struct ActivationSizes<'a> {
    pub program: &'a Program,
    pub size: SampleSize<'a>,
}

impl ActivationSizes<'_> {
    fn reads_tokens(self) -> bool {
        matches!(self.program.input, Input::Tokens { .. })
    }

    /// Positions of what a layer puts out. Tokens count as many as the sample has.
    pub(super) fn positions(self, instruction: &Instruction) -> usize {
        let output = &instruction.output;
        match (output.len(), instruction.sequence) {
            (2, Sequence::Target) => self.size.labels,
            (2, Sequence::Input) if self.reads_tokens() => self.size.shape[0],
            _ => output[0],
        }
    }

    /// Values that a layer puts out.
    pub(super) fn output(self, instruction: &Instruction) -> usize {
        let others = instruction.output.iter().skip(1);
        others.product::<usize>() * self.positions(instruction)
    }

    /// Values of what a node reads.
    pub(super) fn operand(self, operand: Operand) -> usize {
        match operand {
            Operand::Input => self.size.shape.iter().product(),
            Operand::Target => self.size.labels,
            Operand::Node(position) => self.output(&self.program.instructions[position]),
        }
    }

    /// Scores of all heads: every query with every key.
    pub(super) fn scores(self, attention: &Attention, positions: usize) -> usize {
        let keys = match attention.cross {
            Some(_) if self.reads_tokens() => self.size.shape[0],
            Some(longest) => longest,
            None => attention.keys(positions),
        };
        attention.heads * positions * keys
    }
}
