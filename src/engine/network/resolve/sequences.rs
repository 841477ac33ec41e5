//! The sequences that a network reads: their positions are never mixed.

use super::Resolver;
use crate::network::{error::GraphError, op::Op, program::Sequence};

impl Resolver<'_> {
    /// The sequence of what it puts out: that of its first input. Sequences differ in length, so that only an
    /// attention across them reads two.
    pub(super) fn sequence(&self) -> Result<Sequence, GraphError> {
        let Some((&own, others)) = self.sequences.split_first() else {
            return Ok(Sequence::Input);
        };
        let is_cross = matches!(self.node.op, Op::Attention { cross: true, .. });
        // Tokens of an image are of no sequence.
        if is_cross && self.of_images {
            return Ok(own);
        }
        if others.iter().any(|other| (*other == own) == is_cross) {
            return Err(self.fault(if is_cross {
                "cross needs keys, values and ids of another sequence than the queries"
            } else {
                "reads two sequences, the input and the target"
            }));
        }

        let sets_in_a_row = matches!(self.node.op, Op::Flatten {});
        if sets_in_a_row && own == Sequence::Target && self.inputs[0].len() == 2 {
            return Err(self.fault("sets target tokens in a row, of which any number may be"));
        }

        Ok(own)
    }

    /// Refuses options of an attention across sequences that need places of keys and queries in one.
    pub(super) fn check_cross(&self) -> Result<(), GraphError> {
        let Op::Attention {
            cross: true,
            causal,
            window,
            rotary,
            position_bias,
            distances,
            mask_queries,
            ..
        } = &self.node.op
        else {
            return Ok(());
        };
        let of_one_sequence = *causal
            || window.is_some()
            || rotary.is_some()
            || position_bias.is_some()
            || distances.is_some()
            || *mask_queries;
        if of_one_sequence {
            let detail = "cross goes without causal, window, rotary, position_bias, distances and mask_queries";
            return Err(self.fault(detail));
        }

        Ok(())
    }
}
