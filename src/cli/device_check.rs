//! `retune device-check`: whether a device gives known answers. Whoever is about to use a GPU runs it first, as a
//! process that a driver may crash.

use std::process::ExitCode;

use crate::{config::Settings, contract::device::DeviceChoice, pipeline};

/// Compare the device that numerics run on with the CPU.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// cpu, gpu, gpu:0 or software. By default what worker.device says.
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,
}

/// Exits with 0 where the device computes right.
///
/// # Errors
/// What it computes wrong, or that there is none.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let choice = args.device.unwrap_or(settings.worker.device);
    let name = pipeline::check_device(choice).map_err(anyhow::Error::msg)?;
    outln!("{name} gives the answers of the CPU");
    Ok(ExitCode::SUCCESS)
}
