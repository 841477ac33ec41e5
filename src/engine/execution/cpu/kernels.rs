//! One node forward: by its kernel here, or by burn.

use super::{activation::CpuActivation, burn_fallback, conv2d::Convolution, linear::Linear};
use crate::{
    execution::{executor::has_cpu_kernel, weights::Weights},
    network::Op,
};

/// Runs an op other than batch norm, which needs its moments.
pub(super) fn run(op: &Op, mut inputs: Vec<CpuActivation>, weights: &Weights) -> CpuActivation {
    if !has_cpu_kernel(op) {
        return burn_fallback::forward(op, &inputs, weights);
    }
    if matches!(op, Op::Add {}) {
        return inputs.into_iter().reduce(CpuActivation::plus).expect("add has inputs");
    }

    let x = inputs.remove(0);
    match op {
        Op::Linear { .. } => Linear::new(op, weights).forward(&x),
        Op::Conv2d { groups: 1, .. } => Convolution::new(op, &x, weights).forward(&x),
        Op::Relu {} => x.map(|v| v.max(0.0)),
        Op::GlobalAvgPool {} => x.mean_over_space(),
        Op::Flatten {} => x.flattened(),
        Op::Dropout { .. } => x,
        other => unreachable!("burn runs {}", other.name()),
    }
}
