//! What a computation cost: seconds by kind of work. The clock comes in from outside, so that the
//! engine stays a pure function of its arguments.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Kinds of work whose time is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Losses and gradients along the trajectory.
    Gradients,
    /// The matrices `A_g`.
    Similarity,
    /// Linear assignment problems.
    Assignment,
    /// Closed-form fits of layers, with the forward passes that they rest on.
    Fitting,
    /// Building candidates: permuting, adding, rounding.
    Arithmetic,
    /// Re-estimating batch-norm statistics.
    Statistics,
    /// Losses and metrics of candidates.
    Evaluation,
    /// Ordinary training.
    FineTuning,
}

impl Work {
    pub const ALL: [Self; 8] = [
        Self::Gradients,
        Self::Similarity,
        Self::Assignment,
        Self::Fitting,
        Self::Arithmetic,
        Self::Statistics,
        Self::Evaluation,
        Self::FineTuning,
    ];
}

/// Adds up seconds by kind of work.
#[derive(Debug)]
pub struct Profiler {
    now: fn() -> f64,
    seconds: Mutex<[f64; Work::ALL.len()]>,
}

impl Profiler {
    /// `now` gives seconds since any fixed moment.
    pub fn new(now: fn() -> f64) -> Self {
        Self {
            now,
            seconds: Mutex::default(),
        }
    }

    /// Runs `task` and adds its time.
    pub fn time<T>(&self, work: Work, task: impl FnOnce() -> T) -> T {
        let start = (self.now)();
        let result = task();
        let took = (self.now)() - start;
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)[work as usize] += took;
        result
    }

    /// [`Profiler::time`] by its old name, until every caller has moved.
    pub fn book<T>(&self, work: Work, task: impl FnOnce() -> T) -> T {
        self.time(work, task)
    }

    /// Seconds since the clock's fixed moment.
    pub fn now(&self) -> f64 {
        (self.now)()
    }

    /// Seconds so far.
    pub fn seconds(&self, work: Work) -> f64 {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)[work as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn time_is_added_under_its_kind() {
        static TICKS: AtomicU32 = AtomicU32::new(0);
        let profiler = Profiler::new(|| f64::from(TICKS.fetch_add(3, Ordering::Relaxed)));
        assert_eq!(profiler.time(Work::Similarity, || 7), 7);
        profiler.time(Work::Similarity, || ());
        assert!((profiler.seconds(Work::Similarity) - 6.0).abs() < 1e-12);
        assert!(profiler.seconds(Work::Assignment).abs() < 1e-12);
    }
}
