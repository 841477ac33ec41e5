//! Loops over slices that are compiled once per instruction set and chosen at run time.

use pulp::Arch;

/// Runs a loop with the widest vectors that the processor has. What it calls must be inlined.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}
