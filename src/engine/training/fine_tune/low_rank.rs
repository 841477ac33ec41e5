//! An update of low rank of the linear layers: `W + B·A`, with W as it stood (LoRA, Hu et al., ICLR 2022).
//!
//! As peft begins and scales it: A is uniform in `±1/√columns` (Kaiming's with a = √5), B is 0, and
//! `lora_alpha` is the rank, so the scale is 1. The layer's whole gradient G is computed as ever; that of
//! the factors follows from it, `G·Aᵀ` and `Bᵀ·G`. What is saved is the memory of the optimiser, not the
//! gradient. The sum is what the training leaves: nothing has to be merged afterwards.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    execution::Weights,
    network::{Layer, Program},
};

/// The update of one matrix `[rows, columns]`.
struct Update {
    /// W at the start, flat.
    start: Tensor<1>,
    shape: [usize; 2],
    /// B `[rows, rank]`
    left: Tensor<2>,
    /// A `[rank, columns]`
    right: Tensor<2>,
}

/// The updates of all linear layers, by the name of the weight.
pub(super) struct LowRank {
    updates: BTreeMap<String, Update>,
}

/// The name of a factor beside its weight's.
const LEFT: &str = "lora_B";
const RIGHT: &str = "lora_A";

impl LowRank {
    /// B·A = 0 for every linear layer whose weight nothing else reads. A matrix that is smaller than the
    /// rank has its own.
    pub fn new(program: &Program, weights: &Weights, rank: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut updates = BTreeMap::new();
        for (name, shape) in matrices(program) {
            let Some(start) = weights.flat(name) else {
                continue;
            };
            let [rows, columns] = shape;
            let rank = rank.min(rows).min(columns);
            let bound = 1.0 / (columns as f32).sqrt();
            let right: Vec<f32> = (0..rank * columns)
                .map(|_| rng.random_range(-bound..bound))
                .collect();

            let device = start.device();
            let right = Tensor::from_data(TensorData::new(right, [rank, columns]), &device);
            let left = Tensor::zeros([rows, rank], &device);
            updates.insert(
                name.to_owned(),
                Update {
                    start,
                    shape,
                    left,
                    right,
                },
            );
        }
        Self { updates }
    }

    /// The gradients of the factors by their names; those of other tensors are left out.
    pub fn gradients(&self, mut all: HashMap<String, Tensor<1>>) -> BTreeMap<String, Tensor<1>> {
        let mut factors = BTreeMap::new();
        for (
            name,
            Update {
                shape, left, right, ..
            },
        ) in &self.updates
        {
            let Some(gradient) = all.remove(name) else {
                continue;
            };
            let gradient = gradient.reshape(*shape);
            let of_left = gradient.clone().matmul(right.clone().transpose());
            let of_right = left.clone().transpose().matmul(gradient);
            factors.insert(format!("{name}.{LEFT}"), of_left.flatten(0, 1));
            factors.insert(format!("{name}.{RIGHT}"), of_right.flatten(0, 1));
        }
        factors
    }

    /// The factors by their names, flat.
    pub fn factors(&self) -> HashMap<String, Tensor<1>> {
        let mut all = HashMap::new();
        for (name, Update { left, right, .. }) in &self.updates {
            all.insert(format!("{name}.{LEFT}"), left.clone().flatten(0, 1));
            all.insert(format!("{name}.{RIGHT}"), right.clone().flatten(0, 1));
        }
        all
    }

    /// Replaces a factor by what `step` makes of it.
    pub fn update(&mut self, factor: &str, step: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let Some((name, which)) = factor.rsplit_once('.') else {
            return;
        };
        let Some(update) = self.updates.get_mut(name) else {
            return;
        };

        let part = if which == LEFT {
            &mut update.left
        } else {
            &mut update.right
        };
        let shape = part.dims();
        *part = step(part.clone().flatten(0, 1)).reshape(shape);
    }

    /// Puts `W + B·A` in the place of every weight.
    pub fn apply(&self, weights: &mut Weights) {
        for (
            name,
            Update {
                start, left, right, ..
            },
        ) in &self.updates
        {
            let update: Tensor<1> = left.clone().matmul(right.clone()).flatten(0, 1);
            weights.update(name, |_| start.clone() + update);
        }
    }
}

/// The weights of linear layers that nothing else reads.
fn matrices(program: &Program) -> impl Iterator<Item = (&str, [usize; 2])> {
    program.instructions.iter().filter_map(|instruction| {
        let Layer::Linear(linear) = &instruction.layer else {
            return None;
        };
        let name = linear.weight.name.as_str();
        let readers = program.params().filter(|param| param.name == name).count();
        (readers == 1).then_some((name, linear.weight.shape))
    })
}
