//! What a program is given.

use std::collections::HashMap;

use crate::network::Operand;

/// Samples, and their target sequences where the network reads these.
#[derive(Clone, Debug)]
pub struct Samples<A> {
    pub input: A,
    /// Packed ids `[B, T]`.
    pub target: Option<A>,
}

impl<A> From<A> for Samples<A> {
    fn from(input: A) -> Self {
        Self {
            input,
            target: None,
        }
    }
}

impl<A> Samples<A> {
    /// The same by the operands that nodes read them as.
    pub fn operands(self) -> HashMap<Operand, A> {
        let target = self.target.map(|target| (Operand::Target, target));
        [(Operand::Input, self.input)]
            .into_iter()
            .chain(target)
            .collect()
    }
}
