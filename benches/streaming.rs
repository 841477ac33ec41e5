//! Memory and time of transfers of models larger than they may hold in memory.
//!
//! ```text
//! cargo bench --bench streaming -- [identity|weight_matching|auto] [--scale S] [--json FILE]
//! ```
//!
//! A synthetic Llama classifier of 2.2 GB in bf16 (`--scale 1`; a smaller scale has fewer blocks):
//! old base and tuned model in three shards, new base in one file, written to the temporary folder
//! and removed in the end. The transfer is `retune transfer` in a process of its own; the figure
//! is the most memory that this process was ever resident with, pages of files included.

#[path = "synthetic.rs"]
mod synthetic;

use std::{error::Error, process::Command, time::Instant};

use nix::sys::resource::{UsageWho, getrusage};
use retune::engine::network::DType;
use serde_json::{Value, json};
use synthetic::Llama;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let methods = ["weight_matching", "auto"];
    let method = methods.into_iter().find(|m| arguments.iter().any(|a| a == m));
    let method = method.unwrap_or("identity");
    let scale: f64 = value("--scale").map_or(Ok(1.0), |text| text.parse())?;
    let record = measure(method, scale)?;
    println!("{record}");
    if let Some(file) = value("--json") {
        std::fs::write(file, record.to_string())?;
    }
    Ok(())
}

fn measure(method: &str, scale: f64) -> Result<Value, Box<dyn Error>> {
    let llama = Llama {
        hidden: 2048,
        intermediate: 5632,
        layers: ((22.0 * scale).round() as usize).max(1),
        heads: 32,
        kv_heads: 4,
        vocabulary: 32000,
        positions: 128,
        classes: 4,
    };
    let folder = tempfile::tempdir()?;
    let old = llama.model(DType::BF16, 1, None);
    let tuned = llama.model(DType::BF16, 1, Some((2, 0.02)));
    let new = llama.model(DType::BF16, 1, Some((3, 0.05)));
    for (name, model, shards) in [("old", &old, 3), ("tuned", &tuned, 3), ("new", &new, 1)] {
        llama.write(&folder.path().join(name), model, shards)?;
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let methods = if method == "auto" { json!("auto") } else { json!([method]) };
    let spec = json!({
        "source": {"base": path("old"), "trajectory": path("tuned")},
        "target": {"base": path("new")},
        "methods": methods,
        "output": path("out"),
    });
    std::fs::write(folder.path().join("spec.json"), spec.to_string())?;
    let start = Instant::now();
    let done = Command::new(env!("CARGO_BIN_EXE_retune"))
        .args(["transfer", "--json"])
        .arg(folder.path().join("spec.json"))
        .env("RETUNE_WORKER_SCRATCH_DIR", folder.path().join("scratch"))
        .env("RETUNE_DATA_DIR", folder.path().join("state"))
        .output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into());
    }
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss() / 1024;
    Ok(json!({
        "name": format!("{method}, llama {} M parameters, bf16", llama.parameters() / 1_000_000),
        "model_mb": 2 * llama.parameters() / 1_000_000,
        "seconds": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        "peak_mb": peak,
    }))
}
