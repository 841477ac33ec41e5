//! All models of a fit, in step. Results that no fit has told apart yet are one walk: from the new base
//! they are the new base itself, until their first layer is fitted.

use super::{
    Functions, Variant,
    walk::{Lifetimes, Walk},
};
use crate::execution::{Samples, cpu::CpuActivation};

/// The new base's position among the walks: behind those of the old base and the old tuned model.
const NEW_BASE: usize = 2;

pub struct Walks<'m> {
    /// The three models that stay as they are, then the results.
    all: Vec<Walk<'m>>,
    /// Which walk each variant is on.
    of: Vec<usize>,
}

impl<'m> Walks<'m> {
    pub fn of(
        functions: &Functions<'m>,
        variants: &[Variant],
        samples: &Samples<CpuActivation>,
    ) -> Self {
        let Functions {
            program,
            source_program,
            old_base,
            old_tuned,
            new_base,
            ..
        } = *functions;
        let unchanged = [
            (source_program, old_base),
            (source_program, old_tuned),
            (program, new_base),
        ];
        let mut all: Vec<Walk> = unchanged
            .into_iter()
            .map(|(program, model)| Walk::new(program, model.clone(), samples.clone()))
            .collect();

        // A batch norm normalises a result by what it sees, but the new base by what it has seen.
        let can_share_base = !functions.graph.has_batch_norm();
        let mut of = Vec::with_capacity(variants.len());
        for (position, variant) in variants.iter().enumerate() {
            let same = variants[..position]
                .iter()
                .position(|other| std::ptr::eq(other.start, variant.start))
                .map(|other| of[other]);
            let is_base = can_share_base && std::ptr::eq(variant.start, new_base);
            let walk = same.or(is_base.then_some(NEW_BASE)).unwrap_or_else(|| {
                let mut walk = Walk::new(program, variant.start.clone(), samples.clone());
                walk.is_changed = true;
                all.push(walk);
                all.len() - 1
            });
            of.push(walk);
        }

        Self { all, of }
    }

    /// Runs a node of every model.
    pub fn step(&mut self, position: usize) {
        self.all.iter_mut().for_each(|walk| walk.step(position));
    }

    /// Lets go of what nobody reads after this node.
    pub fn release(&mut self, position: usize, lifetimes: &Lifetimes) {
        self.all
            .iter_mut()
            .for_each(|walk| walk.release(position, lifetimes));
    }

    pub fn old_base(&self) -> &Walk<'m> {
        &self.all[0]
    }

    pub fn old_tuned(&self) -> &Walk<'m> {
        &self.all[1]
    }

    pub fn new_base(&self) -> &Walk<'m> {
        &self.all[NEW_BASE]
    }

    /// A variant's walk as it is.
    pub fn result(&self, variant: usize) -> &Walk<'m> {
        &self.all[self.of[variant]]
    }

    /// A variant's walk, to be changed: from here on nobody else is on it.
    pub fn own(&mut self, variant: usize) -> &mut Walk<'m> {
        let at = self.of[variant];
        if at <= NEW_BASE || self.of.iter().filter(|other| **other == at).count() > 1 {
            let mut own = self.all[at].clone();
            own.is_changed = true;
            self.of[variant] = self.all.len();
            self.all.push(own);
        }
        &mut self.all[self.of[variant]]
    }
}
