//! First-order optimisers on flat tensors, and the learning rate over time.

mod one_pass;

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use serde::Serialize;

use one_pass::{AdamStep, Stepped, Tensors};

/// How a gradient becomes a step. Both as `PyTorch` computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum 0.9; weight decay is added to the gradient.
    Sgd,
    /// Adam (0.9, 0.999, 1e-8) with decoupled weight decay.
    AdamW,
}

const MOMENTUM: f64 = 0.9;
const SQUARE_MOMENTUM: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// What the optimiser remembers of each tensor between steps.
pub(super) struct Memory {
    optimizer: Optimizer,
    weight_decay: f64,
    tensors: HashMap<String, Moments>,
}

#[derive(Default)]
struct Moments {
    first: Option<Tensor<1>>,
    second: Option<Tensor<1>>,
    steps: i32,
}

impl Memory {
    pub fn new(optimizer: Optimizer, weight_decay: f64) -> Self {
        Self {
            optimizer,
            weight_decay,
            tensors: HashMap::new(),
        }
    }

    /// The tensor after one step.
    ///
    /// The pull acts as the optimiser's weight decay does: SGD adds its gradient to that of the data,
    /// `AdamW` takes the step beside its own. Adam divides a gradient by its size, which would make every
    /// pull equally strong.
    pub fn step(
        &mut self,
        name: &str,
        value: Tensor<1>,
        gradient: Tensor<1>,
        step: Step,
    ) -> Tensor<1> {
        let Step { rate, pull } = step;
        let moments = self.tensors.entry(name.to_owned()).or_default();
        moments.steps += 1;
        let pull = pull.map(|pull| pull.gradient(value.clone()));

        match self.optimizer {
            Optimizer::Sgd => {
                let gradient = pull.into_iter().fold(gradient, |sum, pull| sum + pull);
                moments.sgd(value, gradient, rate, self.weight_decay)
            }
            Optimizer::AdamW => {
                let next = moments.adamw(value, gradient, rate, self.weight_decay);
                pull.into_iter().fold(next, |next, pull| next - pull * rate)
            }
        }
    }
}

/// What one step takes beside the gradient.
pub(super) struct Step {
    pub rate: f64,
    pub pull: Option<Pull>,
}

/// `λ‖θ − start‖²`
pub(super) struct Pull {
    pub start: Tensor<1>,
    pub strength: f64,
}

impl Pull {
    /// `2λ(θ − start)`
    fn gradient(self, value: Tensor<1>) -> Tensor<1> {
        (value - self.start) * (2.0 * self.strength)
    }
}

impl Moments {
    /// `v ← 0.9 v + g`, `θ ← θ − rate · v`.
    fn sgd(&mut self, value: Tensor<1>, gradient: Tensor<1>, rate: f64, decay: f64) -> Tensor<1> {
        let gradient = if decay > 0.0 {
            gradient + value.clone() * decay
        } else {
            gradient
        };
        let velocity = match self.first.take() {
            Some(velocity) => velocity * MOMENTUM + gradient,
            None => gradient,
        };
        self.first = Some(velocity.clone());
        value - velocity * rate
    }

    /// `θ ← (1 − rate · decay) θ − rate · m̂ / (√v̂ + ε)` with bias-corrected moments.
    fn adamw(&mut self, value: Tensor<1>, gradient: Tensor<1>, rate: f64, decay: f64) -> Tensor<1> {
        if value.device() == Device::flex() {
            self.adamw_in_one_pass(value, gradient, rate, decay)
        } else {
            self.adamw_by_tensors(value, gradient, rate, decay)
        }
    }

    fn adamw_by_tensors(
        &mut self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        rate: f64,
        decay: f64,
    ) -> Tensor<1> {
        let square = gradient.clone() * gradient.clone() * (1.0 - SQUARE_MOMENTUM);
        let fresh = gradient * (1.0 - MOMENTUM);
        let first = match self.first.take() {
            Some(first) => first * MOMENTUM + fresh,
            None => fresh,
        };
        let second = match self.second.take() {
            Some(second) => second * SQUARE_MOMENTUM + square,
            None => square,
        };
        self.first = Some(first.clone());
        self.second = Some(second.clone());

        let first_bias = 1.0 - MOMENTUM.powi(self.steps);
        let second_bias = 1.0 - SQUARE_MOMENTUM.powi(self.steps);
        let denominator = (second / second_bias).sqrt() + EPSILON;
        let decayed = if decay > 0.0 {
            value * (1.0 - rate * decay)
        } else {
            value
        };
        decayed - first * (rate / first_bias) / denominator
    }

    fn adamw_in_one_pass(
        &mut self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        rate: f64,
        decay: f64,
    ) -> Tensor<1> {
        let step = AdamStep {
            kept: 1.0 - rate * decay,
            rate: rate / (1.0 - MOMENTUM.powi(self.steps)),
            second_bias: 1.0 - SQUARE_MOMENTUM.powi(self.steps),
        };
        let Stepped {
            value,
            first,
            second,
        } = step.apply(Tensors {
            value,
            gradient,
            first: self.first.take(),
            second: self.second.take(),
        });
        self.first = Some(first);
        self.second = Some(second);
        value
    }
}

/// The learning rate at every step, and how much of the pull is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub rate: f64,
    /// Steps in all.
    pub steps: usize,
    /// Steps over which the rate rises.
    pub warmup: usize,
}

impl Schedule {
    /// `warmup` is a share of the steps, rounded up.
    pub fn new(rate: f64, steps: usize, warmup: f64) -> Self {
        let warmup = (warmup * steps as f64).ceil() as usize;
        Self {
            rate,
            steps,
            warmup: warmup.min(steps.saturating_sub(1)),
        }
    }

    /// Rises evenly to `rate` at the end of the warm-up (the first step has a part of it, not nothing),
    /// then falls along half a cosine.
    pub fn rate_at(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.rate * (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        cosine(self.rate, step - self.warmup, self.steps - self.warmup)
    }

    /// Half a cosine from 1 at the first step towards 0 after the last.
    pub fn pull_left(&self, step: usize) -> f64 {
        cosine(1.0, step, self.steps)
    }
}

/// Half a cosine from `rate` at the first step towards 0 after the last.
fn cosine(rate: f64, step: usize, steps: usize) -> f64 {
    let progress = step as f64 / steps as f64;
    rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::execution::floats;

    fn tenth() -> Step {
        Step {
            rate: 0.1,
            pull: None,
        }
    }

    /// Two steps from 1 with the gradients 0.5 and 0.25.
    fn two_steps(optimizer: Optimizer, decay: f64) -> f32 {
        let mut memory = Memory::new(optimizer, decay);
        let tensor = |v: f32| Tensor::<1>::from_data([v], &Device::flex());
        let value = memory.step("w", tensor(1.0), tensor(0.5), tenth());
        floats(memory.step("w", value, tensor(0.25), tenth()))[0]
    }

    #[test]
    fn steps_by_hand() {
        // 1 − 0.1·0.5 = 0.95; v = 0.45 + 0.25; 0.95 − 0.07.
        assert!((two_steps(Optimizer::Sgd, 0.0) - 0.88).abs() < 1e-6);
        // g = 0.6, θ = 0.94; g = 0.25 + 0.094, v = 0.54 + 0.344; θ = 0.94 − 0.0884.
        assert!((two_steps(Optimizer::Sgd, 0.1) - 0.8516).abs() < 1e-6);
        // First step is the rate itself; then m̂ = 0.07/0.19, v̂ = 0.00031225/0.001999.
        let second = 0.1 * (0.07 / 0.19) / (0.000_312_25f64 / 0.001_999).sqrt();
        assert!((f64::from(two_steps(Optimizer::AdamW, 0.0)) - (0.9 - second)).abs() < 1e-5);
        let decayed = (0.99 - 0.1) * 0.99 - second;
        assert!((f64::from(two_steps(Optimizer::AdamW, 0.1)) - decayed).abs() < 1e-5);
    }

    #[test]
    fn one_pass_has_the_bits_of_many() {
        let tensor = |salt: f32| {
            let values: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37 + salt).sin()).collect();
            Tensor::<1>::from_data(&values[..], &Device::flex())
        };
        for decay in [0.0, 0.1] {
            let (mut one, mut many) = (Moments::default(), Moments::default());
            let (mut by_one, mut by_many) = (tensor(0.0), tensor(0.0));
            for step in 1..4 {
                (one.steps, many.steps) = (step, step);
                let gradient = tensor(step as f32);
                by_one = one.adamw_in_one_pass(by_one, gradient.clone(), 0.01, decay);
                by_many = many.adamw_by_tensors(by_many, gradient, 0.01, decay);
                assert_eq!(floats(by_one.clone()), floats(by_many.clone()));
            }
            for (one, many) in [(one.first, many.first), (one.second, many.second)] {
                assert_eq!(one.map(floats), many.map(floats));
            }
        }
    }

    /// One step from 1 with the gradient 0.25, pulled to 0.5.
    fn pulled_step(optimizer: Optimizer) -> f32 {
        let [value, gradient, start] =
            [1.0, 0.25, 0.5].map(|v: f32| Tensor::<1>::from_data([v], &Device::flex()));
        let pull = Some(Pull {
            start,
            strength: 2.0,
        });
        let mut memory = Memory::new(optimizer, 0.0);
        floats(memory.step("w", value, gradient, Step { rate: 0.1, pull }))[0]
    }

    #[test]
    fn the_pull_leads_back_to_the_start() {
        // 2 · 2 · (1 − 0.5) = 2 beside the data's 0.25.
        assert!((pulled_step(Optimizer::Sgd) - (1.0 - 0.1 * 2.25)).abs() < 1e-6);
        // Adam's first step is the rate whatever the gradient; the pull is beside it.
        assert!((pulled_step(Optimizer::AdamW) - (1.0 - 0.1 - 0.1 * 2.0)).abs() < 1e-6);
    }

    #[test]
    fn the_rate_falls_by_half_a_cosine() {
        assert!((cosine(0.2, 0, 10) - 0.2).abs() < 1e-12);
        assert!((cosine(0.2, 5, 10) - 0.1).abs() < 1e-12);
        assert!(cosine(0.2, 9, 10) > 0.0);
    }

    #[test]
    fn the_rate_rises_first_and_the_pull_only_falls() {
        // 0.15 of 20 steps are three, and the fourth has it all.
        let schedule = Schedule::new(0.4, 20, 0.15);
        let rates: Vec<f64> = (0..4).map(|step| schedule.rate_at(step)).collect();
        for (rate, expected) in rates.iter().zip([0.1, 0.2, 0.3, 0.4]) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
        assert!(
            (schedule.rate_at(3 + 17 / 2) - 0.2).abs() < 0.02,
            "half of the rest is half of it"
        );
        assert!((schedule.pull_left(0) - 1.0).abs() < 1e-12);
        assert!((schedule.pull_left(10) - 0.5).abs() < 1e-12);
        // Without a warm-up it is the cosine, bit for bit.
        let plain = Schedule::new(0.3, 7, 0.0);
        assert!((0..7).all(|step| plain.rate_at(step).to_bits() == cosine(0.3, step, 7).to_bits()));
        // One step is trained at the full rate, whatever the share.
        assert!((Schedule::new(0.3, 1, 1.0).rate_at(0) - 0.3).abs() < 1e-12);
    }
}
