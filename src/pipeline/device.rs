//! Where numerics run, and whether it may be trusted.
//!
//! A process chooses a device once, by its settings ([`choose_device`]). Before a GPU computes anything it answers
//! known cases ([`checked_device`]), in a process of its own, which its driver may crash; then it is opened here.
//! Until then, and where no GPU is chosen, the CPU computes.

#[cfg(any(test, feature = "wgpu", feature = "cuda"))]
mod apart;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod gpu;

use std::sync::OnceLock;

use burn::tensor::Device;

use super::failure::Failure;
use crate::{
    contract::{codes::FailureCode, device::DeviceChoice},
    engine::{
        network::{Graph, GraphError},
        tensors::Signature,
        training::{DeviceMemory, Learner},
    },
};

/// Whether this program can use a GPU at all.
const HAS_GPU: bool = cfg!(any(feature = "wgpu", feature = "cuda"));

/// What the report calls the CPU.
const CPU: &str = "cpu";

static CHOSEN: OnceLock<DeviceSettings> = OnceLock::new();
static OPENED: OnceLock<Result<OpenedGpu, String>> = OnceLock::new();

/// What the settings say of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceSettings {
    pub choice: DeviceChoice,
    /// What a job may hold in a GPU's memory, in bytes; 0: the default.
    pub memory_bytes: u64,
}

/// A GPU that computes.
#[derive(Clone, Debug)]
struct OpenedGpu {
    device: Device,
    /// Of the adapter and its driver, for people.
    name: String,
    /// The largest tensor that a kernel can be given, in bytes.
    tensor_bytes: usize,
}

/// Says which device this process computes on. The first choice stays.
pub fn choose_device(settings: DeviceSettings) {
    let _ = CHOSEN.set(settings);
}

fn chosen() -> DeviceSettings {
    CHOSEN.get().copied().unwrap_or_default()
}

/// Whether a GPU is to compute.
pub(super) fn is_gpu_chosen() -> bool {
    is_gpu(chosen().choice)
}

fn is_gpu(choice: DeviceChoice) -> bool {
    match choice {
        DeviceChoice::ByBuild => HAS_GPU,
        DeviceChoice::Cpu => false,
        DeviceChoice::Gpu(_) | DeviceChoice::Software => true,
    }
}

/// The chosen device, before it has been opened.
pub(super) fn planned_device() -> String {
    match chosen().choice {
        choice if !is_gpu(choice) => CPU.to_owned(),
        DeviceChoice::ByBuild => DeviceChoice::Gpu(None).to_string(),
        choice => choice.to_string(),
    }
}

/// Opens the chosen device, once it has given known answers: asked once a process. The CPU is what the answers are
/// known from.
///
/// # Errors
/// `device_refused`: there is no such device, it computes wrong, or its driver does not come through.
pub fn checked_device() -> Result<(), Failure> {
    let choice = chosen().choice;
    if !is_gpu(choice) {
        return Ok(());
    }

    match OPENED.get_or_init(|| checked(choice)) {
        Ok(_) => Ok(()),
        Err(why) => Err(Failure::Internal {
            code: FailureCode::DeviceRefused,
            detail: format!(
                "no GPU is used: {why}; set worker.device = \"cpu\", or give this machine another driver"
            ),
        }),
    }
}

/// What a GPU gives as the CPU does: its name.
///
/// # Errors
/// What it computes wrong, or that there is none.
pub fn check_device(choice: DeviceChoice) -> Result<String, String> {
    if !is_gpu(choice) {
        return Ok(CPU.to_owned());
    }
    answering(choice).map(|gpu| gpu.name)
}

/// The GPU that has computed here, if any.
fn opened() -> Option<&'static OpenedGpu> {
    OPENED.get().and_then(|opened| opened.as_ref().ok())
}

/// A learner on the device of this process.
///
/// # Errors
/// As [`Learner::new`].
pub fn learner<'a>(graph: &'a Graph, signature: &Signature) -> Result<Learner<'a>, GraphError> {
    let learner = Learner::new(graph, signature, device())?;
    Ok(learner.within(device_memory()))
}

/// Where a learner of this process runs.
pub(super) fn device() -> Device {
    opened().map_or_else(Device::flex, |gpu| gpu.device.clone())
}

/// What the device of this process may hold.
pub(super) fn device_memory() -> DeviceMemory {
    let default = DeviceMemory::default();
    DeviceMemory {
        bytes: match chosen().memory_bytes {
            0 => default.bytes,
            set => usize::try_from(set).unwrap_or(usize::MAX),
        },
        tensor_bytes: opened().map_or(default.tensor_bytes, |gpu| gpu.tensor_bytes),
    }
}

/// Whether a GPU computes here.
pub(super) fn is_gpu_open() -> bool {
    opened().is_some()
}

/// What computes in this process, for people: `cpu`, or the GPU with its driver.
pub fn device_name() -> String {
    opened().map_or_else(|| CPU.to_owned(), |gpu| gpu.name.clone())
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn checked(choice: DeviceChoice) -> Result<OpenedGpu, String> {
    answering(choice)
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn answering(choice: DeviceChoice) -> Result<OpenedGpu, String> {
    Err(format!(
        "worker.device is {choice}, and this program was built without a GPU (its feature wgpu)"
    ))
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use gpu::{answering, checked};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_computes_where_nobody_chose_a_gpu() {
        assert!(!is_gpu(DeviceChoice::Cpu));
        assert!(is_gpu(DeviceChoice::Gpu(Some(1))) && is_gpu(DeviceChoice::Software));
        assert_eq!(is_gpu(DeviceChoice::ByBuild), HAS_GPU);
        assert_eq!(check_device(DeviceChoice::Cpu), Ok("cpu".to_owned()));
    }

    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    #[test]
    fn a_program_without_a_gpu_says_so() {
        for choice in [DeviceChoice::Gpu(None), DeviceChoice::Software] {
            let refused = check_device(choice).unwrap_err();
            assert!(refused.contains("built without a GPU"), "{refused}");
        }
    }
}
