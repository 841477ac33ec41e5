//! Whether a job fits into this machine's memory, by its own plan: before anything large is read, so that a
//! small file that asks for much costs nothing.

use crate::contract::codes::FailureCode;
use std::fs;

use super::{failure::Failure, job::Job, plan};

/// A plan's memory is an estimate: a job is refused only where it is more than this many times the limit.
const LIMIT_TOLERANCE: f64 = 1.25;

/// Bytes that a job may be expected to hold: the setting, or what the machine or the control group of this
/// process has where it is 0. `None` where no system tells.
pub fn limit(setting: u64) -> Option<u64> {
    if setting > 0 {
        return Some(setting);
    }
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    [group, of_the_machine()].into_iter().flatten().min()
}

fn of_the_machine() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Refuses a job whose plan holds more than it may. A job that cannot be planned is not held to any limit,
/// so it is refused as well, for what stood in the way of its plan: a run reads the same headers.
///
/// # Errors
/// `needs_memory`; as [`plan::memory`].
pub(super) fn check(job: &Job) -> Result<(), Failure> {
    let Some(limit) = job.memory else {
        return Ok(());
    };
    check_planned(plan::memory(job.spec, job.storage)?, limit)
}

/// `planned` bytes, which are no number where the plan is none.
fn check_planned(planned: f64, limit: u64) -> Result<(), Failure> {
    if planned <= limit as f64 * LIMIT_TOLERANCE {
        return Ok(());
    }

    let (needed, given) = (planned / 1e9, limit as f64 / 1e9);
    let detail = format!(
        "by its plan the job holds {needed:.1} GB, and this worker may hold {given:.1} GB; run it where there \
         is more, raise worker.memory_bytes, or leave out the methods that solve for permutations of its \
         widest layers"
    );

    Err(Failure::Input {
        code: FailureCode::NeedsMemory,
        pointer: None,
        detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_comes_before_the_machine() {
        assert_eq!(limit(7), Some(7));
        assert!(limit(0).is_none_or(|bytes| bytes > 1 << 28));
    }

    #[test]
    fn a_plan_that_is_no_number_is_above_every_limit() {
        for planned in [1.3, f64::INFINITY, f64::NAN] {
            let refused = check_planned(planned, 1).unwrap_err();
            assert!(
                matches!(
                    refused,
                    Failure::Input {
                        code: FailureCode::NeedsMemory,
                        ..
                    }
                ),
                "{planned}"
            );
        }
        check_planned(1.2, 1).unwrap();
    }
}
