//! A GPU beside the CPU: every operation, every family, every method, memory, and whole jobs.
//!
//! Built with the feature `wgpu` alone. `make test-gpu` runs these tests on a software driver of Vulkan; where
//! `RETUNE_TEST_DEVICE` is `gpu` they run on a real one.

mod families;
mod jobs;
mod memory;
mod methods;

use burn::tensor::{Device, DeviceKind};
use retune::engine::tensors::{Checkpoint, HostTensor};

/// What `worker.device` says in these tests.
fn choice() -> String {
    std::env::var("RETUNE_TEST_DEVICE").unwrap_or_else(|_| "software".to_owned())
}

/// The device that is compared with the CPU.
fn device() -> Device {
    Device::wgpu(if choice() == "software" {
        DeviceKind::Cpu
    } else {
        DeviceKind::DefaultDevice
    })
}

/// Standard deviation of values around their mean.
fn spread(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}

/// The largest difference; infinite where one is no number or the lengths differ.
fn largest_difference(one: &[f32], other: &[f32]) -> f64 {
    if one.len() != other.len() {
        return f64::INFINITY;
    }
    let differences = one.iter().zip(other).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |most, difference| {
        if difference.is_nan() {
            f64::INFINITY
        } else {
            most.max(difference)
        }
    })
}

/// How far the tensors of two models lie apart at most, over the spread of each; a tensor whose values are small beside
/// the others' is measured by a hundredth of the largest spread.
fn apart(one: &Checkpoint, other: &Checkpoint) -> (f64, String) {
    let names: Vec<&str> = one.iter().map(|(name, _)| name).collect();
    let others: Vec<&str> = other.iter().map(|(name, _)| name).collect();
    assert_eq!(names, others);

    let spreads = one.iter().map(|(_, tensor)| spread(&tensor.f32()));
    let least = 1e-2 * spreads.fold(0.0, f64::max);
    let mut worst = (0.0, String::new());
    for (name, tensor) in one.iter().filter(|(_, tensor)| is_float(tensor)) {
        let values = tensor.f32();
        let difference = largest_difference(&values, &other[name].f32());
        let relative = difference / spread(&values).max(least).max(f64::MIN_POSITIVE);
        if relative > worst.0 {
            worst = (relative, name.to_owned());
        }
    }
    worst
}

fn is_float(tensor: &HostTensor) -> bool {
    tensor.dtype().is_float()
}
