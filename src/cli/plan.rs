//! `retune plan`: the check and the estimate alone.

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;

use super::local::{Local, failed, read_spec, refused};
use crate::{config::Settings, pipeline};

/// Check a job specification against its artifacts' headers and estimate its cost.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job specification; `-` reads stdin.
    #[arg(value_name = "SPEC.json")]
    spec: PathBuf,
    /// Print on one line.
    #[arg(long)]
    json: bool,
}

/// # Errors
/// A specification that cannot be read.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let spec = match read_spec(&args.spec) {
        Ok(spec) => spec,
        Err(error) => return refused(error, args.json),
    };
    let local = Local::open(settings)?;

    match pipeline::plan(&spec, &local.storage, local.cache.as_deref()) {
        Ok(plan) if args.json => outln!("{}", json!(plan)),
        Ok(plan) => outln!("{:#}", json!(plan)),
        Err(failure) => return Ok(failed(&failure, args.json)),
    }
    Ok(ExitCode::SUCCESS)
}
