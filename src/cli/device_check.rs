//! `retune device-check`: whether the device that numerics run on gives known answers. Whoever is about
//! to use a device runs it first, as a process that a driver may crash.

use std::process::ExitCode;

use crate::{engine::training::known_answers, pipeline};

/// Compare the device that numerics run on with the CPU.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Exits with 0 where the device computes right.
///
/// # Errors
/// What it computes wrong.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let device = pipeline::device();
    known_answers::check(&device)
        .map_err(|wrong| anyhow::anyhow!("{device:?} computes wrong: {wrong}"))?;
    outln!("{device:?} gives the answers of the CPU");
    Ok(ExitCode::SUCCESS)
}
