//! Counts of work, and what one solve over one pair takes.

use std::{collections::HashMap, ops::AddAssign};

use crate::{
    contract::plan::Speeds,
    engine::{
        network::Role,
        symmetry::{MATCHED_EXPERTS, Symmetry},
        tensors::Signature,
        training::Load,
    },
};

/// What one solve over one pair takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matching {
    /// FLOPs of building every `A_g` once.
    pub flops: f64,
    /// Elements laid out for that.
    pub elements: f64,
    /// The most of them at once.
    pub largest: f64,
    /// Σ units².
    pub units: f64,
    pub largest_units: f64,
    /// Σ units³.
    pub cubes: f64,
    pub separable: bool,
}

impl Matching {
    pub fn of(symmetry: &Symmetry, signature: &Signature) -> Self {
        let mut found = Self {
            flops: 0.0,
            elements: 0.0,
            largest: 0.0,
            units: 0.0,
            largest_units: 0.0,
            cubes: 0.0,
            separable: symmetry.is_separable(),
        };
        let experts = of_experts(symmetry);

        for (position, group) in symmetry.groups.iter().enumerate() {
            let learned = group
                .members
                .iter()
                .filter(|member| member.role == Role::Learned);
            let elements: f64 = learned
                .filter_map(|member| signature.get(&member.tensor))
                .map(|info| info.shape.iter().product::<usize>() as f64)
                .sum();
            let units = group.units as f64;
            // An expert's units are matched with those of some others.
            let times = experts.get(&position).copied().unwrap_or(1.0);
            found.flops += 2.0 * times * units * elements;
            found.elements += 2.0 * times * elements;
            found.largest = found.largest.max(elements);
            found.units += times * units * units;
            found.cubes += times * units * units * units;
            found.largest_units = found.largest_units.max(units * units);
        }
        found
    }
}

/// The groups of experts' hidden units, with how many of the source's experts each is matched with.
fn of_experts(symmetry: &Symmetry) -> HashMap<usize, f64> {
    let layers = symmetry.experts.iter().flat_map(|experts| {
        let times = experts.hidden.len().min(MATCHED_EXPERTS) as f64;
        experts.hidden.iter().map(move |&group| (group, times))
    });
    layers.collect()
}

/// Work of one phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    pub gradients: f64,
    pub forwards: f64,
    /// Times that a batch is run, and whether forward only.
    pub batches: f64,
    /// FLOPs of similarities.
    pub similarities: f64,
    /// FLOPs of other matrix products.
    pub products: f64,
    pub elements: f64,
    pub units: f64,
    pub bytes: f64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Self) {
        self.gradients += more.gradients;
        self.forwards += more.forwards;
        self.batches += more.batches;
        self.similarities += more.similarities;
        self.products += more.products;
        self.elements += more.elements;
        self.units += more.units;
        self.bytes += more.bytes;
    }
}

impl Work {
    /// At these speeds, of samples of this load.
    pub fn seconds(&self, load: &Load, speeds: &Speeds) -> f64 {
        let passes = self.gradients + self.forwards / 3.0;
        let sample = 3.0
            * (load.products * speeds.product + load.convolutions * speeds.convolution)
            + load.light * speeds.light
            + load.heavy * speeds.heavy;

        passes * sample
            + self.batches * load.nodes * speeds.node
            + self.similarities * speeds.similarity
            + self.products * speeds.product
            + self.elements * speeds.arithmetic
            + self.units * speeds.assignment
            + self.bytes * speeds.byte
    }

    pub fn flops(&self, load: &Load) -> f64 {
        (3.0 * self.gradients + self.forwards) * (load.products + load.convolutions)
            + self.similarities
            + self.products
    }
}
