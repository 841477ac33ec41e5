//! Where the matrices of groups are multiplied.

use crate::{
    execution::Executor,
    symmetry::{MATRIX_CACHE_BYTES, MAX_BLOCK_ELEMENTS, Symmetry},
    training::{DeviceMemory, Learner},
};

const BYTES_PER_FLOAT: usize = 4;
/// A group's matrix, a product that is added to it, and their sum.
const MATRICES_AT_ONCE: usize = 3;

/// The learner's device where it holds the matrices `[units, units]` of every group, else the CPU.
pub fn executor_of_products(learner: &Learner, symmetry: &Symmetry) -> Executor {
    let units = symmetry.groups.iter().map(|group| group.units);
    match learner.executor() {
        Executor::Burn(_) if !fits(units.max().unwrap_or(0), learner.device_memory()) => {
            Executor::Cpu
        }
        executor => executor.clone(),
    }
}

fn fits(units: usize, memory: DeviceMemory) -> bool {
    let matrix = BYTES_PER_FLOAT.saturating_mul(units).saturating_mul(units);
    // A side of a block has so many elements, or a thousand columns of a wide group.
    let side = BYTES_PER_FLOAT * MAX_BLOCK_ELEMENTS.max(units.saturating_mul(1024));
    let kept = MATRIX_CACHE_BYTES + MATRIX_CACHE_BYTES / 2;

    let held = MATRICES_AT_ONCE.saturating_mul(matrix) + 2 * side + kept;
    matrix.max(side) <= memory.tensor_bytes && held <= memory.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_groups_are_multiplied_on_the_cpu() {
        let memory = DeviceMemory {
            bytes: 4 << 30,
            tensor_bytes: 128 << 20,
        };
        assert!(fits(4096, memory));
        // A matrix of 256 MiB is none that a kernel can be given.
        assert!(!fits(8192, memory));
        let large = DeviceMemory {
            tensor_bytes: 1 << 30,
            ..memory
        };
        assert!(fits(8192, large));
        let little = DeviceMemory {
            bytes: 512 << 20,
            ..large
        };
        assert!(!fits(8192, little));
    }
}
