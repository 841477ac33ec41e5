//! Whether a job fits into this machine's memory, by its own plan: before anything large is read, so that a
//! small file that asks for much costs nothing.

use std::fs;

use super::{
    device::{device_memory, device_name, is_gpu_open},
    failure::Failure,
    job::Job,
    plan::{self, DeviceMemoryPlan},
};

use crate::{contract::codes::FailureCode, engine::training::DeviceMemory};

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
    if job.memory.is_none() && !is_gpu_open() {
        return Ok(());
    }

    let planned = plan::memory(job.spec, job.storage)?;
    if is_gpu_open() {
        check_on_device(planned.device, device_memory(), &device_name())?;
    }
    job.memory
        .map_or(Ok(()), |limit| check_planned(planned.host, limit))
}

/// Refuses a model that a GPU cannot hold, with one sample at a time.
fn check_on_device(
    planned: DeviceMemoryPlan,
    memory: DeviceMemory,
    name: &str,
) -> Result<(), Failure> {
    let detail = if planned.bytes > memory.bytes {
        format!(
            "by its plan the job holds {:.1} GB at least in the memory of {name}, and it may hold {:.1} GB; raise \
             worker.device_memory_bytes where the GPU has more, or set worker.device = \"cpu\"",
            planned.bytes as f64 / 1e9,
            memory.bytes as f64 / 1e9,
        )
    } else if planned.largest > memory.tensor_bytes {
        format!(
            "the job's largest tensor has {:.3} GB, and {name} takes at most {:.3} GB in one piece; set \
             worker.device = \"cpu\"",
            planned.largest as f64 / 1e9,
            memory.tensor_bytes as f64 / 1e9,
        )
    } else {
        return Ok(());
    };

    Err(Failure::Input {
        code: FailureCode::NeedsMemory,
        pointer: None,
        detail,
    })
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
    fn a_model_that_a_gpu_cannot_hold_is_refused() {
        let memory = DeviceMemory {
            bytes: 8_000_000_000,
            tensor_bytes: 2_000_000_000,
        };
        let fits = DeviceMemoryPlan {
            bytes: 8_000_000_000,
            largest: 2_000_000_000,
        };
        check_on_device(fits, memory, "a GPU").unwrap();

        let large = DeviceMemoryPlan {
            bytes: 9_000_000_000,
            ..fits
        };
        let refused = check_on_device(large, memory, "a GPU").unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.contains("9.0 GB") && refused.contains("8.0 GB"),
            "{refused}"
        );

        let wide = DeviceMemoryPlan {
            largest: 2_100_000_000,
            ..fits
        };
        let refused = check_on_device(wide, memory, "a GPU").unwrap_err();
        assert!(refused.to_string().contains("2.100 GB"), "{refused}");
    }

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
