//! `retune evaluate`: a model on a data set.

use std::process::ExitCode;

use serde_json::Value;

use super::local::{Local, failed};
use crate::{config::Settings, contract::spec::Preprocess, pipeline};

/// Print accuracy and loss of a model on a data set; of a regression R².
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A model folder, as URI or path.
    #[arg(value_name = "MODEL_URI")]
    model: String,
    /// A safetensors file with `inputs` and `labels`.
    #[arg(long, value_name = "URI")]
    data: String,
    /// Re-estimate batch-norm statistics on this data set first.
    #[arg(long, value_name = "URI")]
    statistics: Option<String>,
    /// Per-channel means to subtract, comma-separated.
    #[arg(long, value_delimiter = ',', requires = "std")]
    mean: Vec<f64>,
    /// Per-channel deviations to divide by, comma-separated.
    #[arg(long, value_delimiter = ',', requires = "mean")]
    std: Vec<f64>,
    #[arg(long)]
    json: bool,
}

/// # Errors
/// When no scratch folder can be made.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let local = Local::open(settings)?;
    let preprocess = (!args.mean.is_empty()).then(|| Preprocess {
        mean: args.mean.clone(),
        std: args.std.clone(),
    });
    let found = local.with_access(|access| {
        let statistics = args.statistics.as_deref();
        pipeline::evaluate(
            access,
            &args.model,
            &args.data,
            preprocess.as_ref(),
            statistics,
        )
    })?;

    match found {
        Ok(found) if args.json => outln!("{found}"),
        Ok(found) => outln!(
            "{}  loss {:.4}  samples {}",
            measured(&found),
            found["loss"].as_f64().unwrap_or(f64::NAN),
            found["samples"],
        ),
        Err(failure) => return Ok(failed(&failure, args.json)),
    }

    Ok(ExitCode::SUCCESS)
}

fn measured(found: &Value) -> String {
    match found["r2"].as_f64() {
        Some(r2) => format!("R² {r2:.4}"),
        None => format!(
            "accuracy {}",
            super::table::percent(found["accuracy"].as_f64())
        ),
    }
}
