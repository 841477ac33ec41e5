//! `methods: "auto"` on a case, as a user runs it: `retune transfer` on files.

use std::{error::Error, fs, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    bench::SAMPLES,
    case::{BATCH, Case},
};

/// A job that has ended.
pub struct Done {
    pub report: Value,
    /// What stands in the result beside the report.
    pub model: Option<std::path::PathBuf>,
    /// Removed with it.
    _folder: TempDir,
}

/// Runs `auto` with T, B and the seed of the contenders; `more` are further fields of the job.
///
/// # Errors
/// When the job fails.
pub fn run(case: &Case, more: &Value) -> Result<Done, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    case.store(folder.path())?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let mut spec = json!({
        "source": {"base": at("old"), "trajectory": at("tuned")},
        "target": {"base": at("new")},
        "data": {"train": at("train.safetensors"), "validation": at("validation.safetensors"),
                 "test": at("test.safetensors")},
        "options": {"seed": case.seed, "timesteps": case.budget.timesteps, "batch_size": SAMPLES},
        "output": at("out"),
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let file = folder.path().join("spec.json");
    fs::write(&file, spec.to_string())?;

    let output = Command::new(env!("CARGO_BIN_EXE_retune"))
        .args(["transfer", &file.display().to_string(), "--json"])
        .output()?;
    // 3: done, and rejected.
    if !matches!(output.status.code(), Some(0 | 3)) {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let result = fs::read_dir(folder.path().join("out"))?
        .next()
        .ok_or("there is a result")??;
    let report = serde_json::from_slice(&fs::read(result.path().join("report.json"))?)?;
    let model = result.path().join("model.safetensors");
    Ok(Done {
        report,
        model: model.exists().then_some(model),
        _folder: folder,
    })
}

/// What was decided and what came of it, before and after one epoch of training.
///
/// # Errors
/// When the job fails.
pub fn measure(case: &Case) -> Result<Value, Box<dyn Error>> {
    let fine_tune = json!({"epochs": 1, "optimizer": case.budget.optimizer,
        "learning_rate": case.budget.learning_rates[1], "batch_size": BATCH});
    let done = run(case, &json!({"fine_tune": fine_tune}))?;
    let (report, published) = (&done.report, done.model.is_some());
    let winner = report["winner"].clone();
    let candidates = report["candidates"].as_array().into_iter().flatten();
    let transferred = candidates.clone().find(|c| c["method"] == winner);
    // What it chose from, and by what.
    let choice = |c: &Value| {
        json!({"method": c["method"], "step": c["step"], "alpha": c["alpha"],
               "validation": c["validation"], "test": c["test"]})
    };
    Ok(json!({
        "published": published,
        "recommendation": report["recommendation"],
        "method": winner,
        "model": report["published_model"],
        "ladder": report["ladder"],
        "candidates": candidates.map(choice).collect::<Vec<_>>(),
        // Before any training, and what was judged.
        "transferred": transferred.map(|c| c["test"]["accuracy"].clone()),
        "accuracy": report["metrics"]["accuracy"],
        "few_shot": report["baselines"]["few_shot"]["accuracy"],
        "fine_tune_only": report["baselines"]["fine_tune_only"]["accuracy"],
        "negative_flips": report["negative_flips"]["share"],
        "sample_gradients": report["cost"]["total"]["sample_gradients"],
        "seconds": report["timing"]["cpu_seconds"],
    }))
}
