//! Finds a GPU, asks it known answers, and opens it.

use std::{process::Command, time::Duration};

use super::{OpenedGpu, apart};
use crate::{contract::device::DeviceChoice, engine::training::known_answers};

/// What `retune device-check` runs under: a driver's compilation of shaders takes seconds, in software minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(15);

/// The GPU, after a process of its own has found that it computes right.
///
/// # Errors
/// What that process said, or that this one cannot open the GPU.
pub(super) fn checked(choice: DeviceChoice) -> Result<OpenedGpu, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    if program.file_stem().is_none_or(|stem| stem != "retune") {
        // A test or a benchmark: there is no such command.
        return answering(choice);
    }

    let mut check = Command::new(program);
    check.arg("device-check").arg("--device");
    check.arg(choice.to_string());
    apart::ends_well(&mut check, ANSWER_TIMEOUT)?;
    open(choice)
}

/// The GPU, after it has given this process the answers of the CPU.
///
/// # Errors
/// What it computes wrong, or that there is none.
pub(super) fn answering(choice: DeviceChoice) -> Result<OpenedGpu, String> {
    let gpu = open(choice)?;
    match known_answers::check(&gpu.device) {
        Ok(()) => Ok(gpu),
        Err(wrong) => Err(format!("{} computes wrong: {wrong}", gpu.name)),
    }
}

#[cfg(feature = "cuda")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the other builds find out here that there is none"
)]
fn open(choice: DeviceChoice) -> Result<OpenedGpu, String> {
    use burn::tensor::{Device, DeviceIndex};

    let index = match choice {
        DeviceChoice::Gpu(Some(number)) => DeviceIndex::from(number),
        _ => DeviceIndex::Default,
    };
    Ok(OpenedGpu {
        device: Device::cuda(index),
        name: format!("{choice} (CUDA)"),
        tensor_bytes: usize::MAX,
    })
}

#[cfg(all(feature = "wgpu", not(feature = "cuda")))]
fn open(choice: DeviceChoice) -> Result<OpenedGpu, String> {
    use burn::tensor::{Device, DeviceKind, wgpu::wgpu::DeviceType};

    let kind = match choice {
        DeviceChoice::Software => DeviceKind::Cpu,
        DeviceChoice::Gpu(Some(number)) => DeviceKind::DiscreteGpu(number),
        _ => DeviceKind::DefaultDevice,
    };
    let opened = Device::wgpu_options().device_kind(kind).init_with_setup();
    let (device, setup) = opened.map_err(|error| format!("none is found: {error}"))?;

    let adapter = setup.adapter.get_info();
    let name = format!(
        "{} ({:?}, {} {})",
        adapter.name, adapter.backend, adapter.driver, adapter.driver_info
    );
    if adapter.device_type == DeviceType::Cpu && choice != DeviceChoice::Software {
        return Err(format!(
            "the only one found is {name}, which computes on the CPU and is slower than the CPU alone; \
             worker.device = \"software\" takes it all the same"
        ));
    }

    let limits = setup.device.limits();
    let tensor_bytes = limits
        .max_storage_buffer_binding_size
        .min(limits.max_buffer_size);
    Ok(OpenedGpu {
        device,
        name: name.trim().to_owned(),
        tensor_bytes: usize::try_from(tensor_bytes).unwrap_or(usize::MAX),
    })
}
