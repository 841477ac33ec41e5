//! Memory and time of transfers of models larger than they may hold in memory.
//!
//! ```text
//! cargo bench --bench streaming -- [identity|weight_matching|auto|fgmt] [--scale S] [--json FILE]
//! cargo bench --bench streaming -- fgmt --make DIR
//! ```
//!
//! The second form only writes models and `spec.json`, for runs by hand (and kills).
//!
//! `fgmt` is gradient matching of a Llama classifier of 125 M parameters in f32, 3 timesteps of 8
//! sequences of 64 tokens, its gradients on disk. The others:
//!
//! A synthetic Llama classifier of 2.2 GB in bf16 (`--scale 1`; a smaller scale has fewer blocks):
//! old base and tuned model in three shards, new base in one file, written to the temporary folder
//! and removed in the end. The transfer is `retune transfer` in a process of its own; the figure
//! is the most memory that this process was ever resident with, pages of files included.

use std::{error::Error, path::Path, process::Command, time::Instant};

use nix::sys::resource::{UsageWho, getrusage};
use retune::{
    artifacts::testing::{write_model, write_tensors},
    engine::{
        tensors::{DType, HostTensor},
        testing::{Change, Llama},
    },
};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let methods = ["weight_matching", "auto", "fgmt"];
    let method = methods.into_iter().find(|m| arguments.iter().any(|a| a == m));
    let method = method.unwrap_or("identity");
    let scale: f64 = value("--scale").map_or(Ok(1.0), |text| text.parse())?;
    if let Some(folder) = value("--make") {
        return make(method, scale, Path::new(&folder));
    }
    let record = measure(method, scale)?;
    println!("{record}");
    if let Some(file) = value("--json") {
        std::fs::write(file, record.to_string())?;
    }
    Ok(())
}

const TOKENS: usize = 64;
const SEQUENCES: usize = 8;

fn llama(method: &str, scale: f64) -> (Llama, DType) {
    let layers = |full: f64| ((full * scale).round() as usize).max(1);
    let large = Llama {
        hidden: 2048,
        intermediate: 5632,
        layers: layers(22.0),
        heads: 32,
        kv_heads: 4,
        vocabulary: 32000,
        positions: 128,
        classes: 4,
    };
    let medium =
        Llama { hidden: 768, intermediate: 2048, layers: layers(16.0), heads: 12, ..large };
    if method == "fgmt" { (medium, DType::F32) } else { (large, DType::BF16) }
}

/// Sentences of any words.
fn write_sentences(file: &Path, llama: &Llama) -> std::io::Result<()> {
    let count = 4 * SEQUENCES;
    let word = |i: usize| (i * 7919 % llama.vocabulary) as i64;
    let ids: Vec<i64> = (0..count * TOKENS).map(word).collect();
    let labels: Vec<i64> = (0..count).map(|i| (i % llama.classes) as i64).collect();
    let data = [
        ("input_ids".to_owned(), HostTensor::from_i64(vec![count, TOKENS], &ids)),
        ("labels".to_owned(), HostTensor::from_i64(vec![count], &labels)),
    ];
    write_tensors(file, &data.into_iter().collect())
}

/// Writes models, data and specification.
fn make(method: &str, scale: f64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (llama, dtype) = llama(method, scale);
    let old = llama.model(dtype, 1, None);
    let tuned = llama.model(dtype, 1, Some(Change { seed: 2, share: 0.02 }));
    let new = llama.model(dtype, 1, Some(Change { seed: 3, share: 0.05 }));
    for (name, model, shards) in [("old", &old, 3), ("tuned", &tuned, 3), ("new", &new, 1)] {
        write_model(&folder.join(name), &llama.config(), model, shards)?;
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let methods = if method == "auto" { json!("auto") } else { json!([method]) };
    let mut spec = json!({
        "source": {"base": path("old"), "trajectory": path("tuned")},
        "target": {"base": path("new")},
        "methods": methods,
        "output": path("out"),
    });
    if method == "fgmt" {
        let file = folder.join("train.safetensors");
        write_sentences(&file, &llama)?;
        // As its own validation: what is measured does not depend on what it shows.
        spec["data"] = json!({"train": file, "validation": file});
        spec["options"] =
            json!({"timesteps": 3, "batch_size": SEQUENCES, "step": "last", "alpha": 1.0});
    }
    std::fs::write(folder.join("spec.json"), spec.to_string())?;
    Ok(())
}

fn measure(method: &str, scale: f64) -> Result<Value, Box<dyn Error>> {
    let (llama, dtype) = llama(method, scale);
    let folder = tempfile::tempdir()?;
    make(method, scale, folder.path())?;
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
        "name": format!("{method}, llama {} M parameters, {}", llama.parameters() / 1_000_000, dtype.name()),
        "model_mb": dtype.size() * llama.parameters() / 1_000_000,
        "seconds": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        "peak_mb": peak,
    }))
}
