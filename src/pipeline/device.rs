//! Where numerics run, and whether it may be trusted.

use crate::contract::codes::FailureCode;
use std::sync::OnceLock;

use burn::tensor::Device;

use super::failure::Failure;

#[cfg(any(test, feature = "wgpu", feature = "cuda"))]
mod apart;

/// What `retune device-check` runs under: a driver's compilation of shaders takes seconds.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(5);

/// Where numerics run.
pub fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(burn::tensor::DeviceIndex::Default);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    Device::flex()
}

/// The device, once it has given known answers: asked once a process, and by a process of its own, which
/// a driver may crash. The CPU is what the answers are known from.
///
/// # Errors
/// `device_refused`: the device computes wrong, or its driver does not come through.
pub fn checked_device() -> Result<Device, Failure> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let device = device();
    if device == Device::flex() {
        return Ok(device);
    }

    match FOUND.get_or_init(asked_apart) {
        Ok(()) => Ok(device),
        Err(why) => {
            let detail = format!(
                "the device {device:?} is not used: {why}; use another driver, or the program built \
                 without its feature"
            );
            Err(Failure::Internal {
                code: FailureCode::DeviceRefused,
                detail,
            })
        }
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "there is nothing to ask where the CPU alone computes"
)]
fn asked_apart() -> Result<(), String> {
    Ok(())
}

/// Runs `retune device-check` and says what it said.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn asked_apart() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    if program.file_stem().is_none_or(|stem| stem != "retune") {
        // A test or a benchmark: there is no such command.
        return crate::engine::training::known_answers::check(&device())
            .map_err(|wrong| wrong.to_string());
    }

    apart::ends_well(
        std::process::Command::new(program).arg("device-check"),
        ANSWER_TIMEOUT,
    )
}
