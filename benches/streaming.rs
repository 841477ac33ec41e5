//! Memory and time of transfers of models larger than they may hold in memory.
//!
//! ```text
//! cargo bench --bench streaming -- [identity|weight_matching|auto|fgmt|functional] [--scale S] [--kill SECONDS] [--json FILE]
//! cargo bench --bench streaming -- fgmt|functional --make DIR
//! ```
//!
//! The second form only writes models and `spec.json`, for runs by hand (and kills).
//!
//! `functional` is a language model of 1.1 B parameters in bf16 (the shape of `TinyLlama`), its layers fitted to
//! 16 sequences of 128 tokens. The new base is another model altogether. With `--kill` the process is
//! killed after so many seconds, and a second one takes up what it has left.
//!
//! `fgmt` is gradient matching of a Llama classifier of 125 M parameters in f32, 3 timesteps of 8
//! sequences of 64 tokens, its gradients on disk. The others:
//!
//! A synthetic Llama classifier of 2.2 GB in bf16 (`--scale 1`; a smaller scale has fewer blocks):
//! old base and tuned model in three shards, new base in one file, written to the temporary folder
//! and removed in the end. The transfer is `retune transfer` in a process of its own; the figure
//! is the most memory that this process was ever resident with, pages of files included.

use std::{
    error::Error,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

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
    let methods = ["weight_matching", "auto", "fgmt", "functional"];
    let method = methods
        .into_iter()
        .find(|m| arguments.iter().any(|a| a == m));
    let method = method.unwrap_or("identity");
    let scale: f64 = value("--scale").map_or(Ok(1.0), |text| text.parse())?;
    if let Some(folder) = value("--make") {
        return make(method, scale, Path::new(&folder));
    }
    let kill = value("--kill")
        .map(|text| text.parse().map(Duration::from_secs))
        .transpose()?;
    let record = measure(method, scale, kill)?;
    println!("{record}");
    if let Some(file) = value("--json") {
        std::fs::write(file, record.to_string())?;
    }
    Ok(())
}

/// Sequences, and tokens of one.
fn lengths(method: &str) -> [usize; 2] {
    if method == "functional" {
        [16, 128]
    } else {
        [8, 64]
    }
}

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
    let medium = Llama {
        hidden: 768,
        intermediate: 2048,
        layers: layers(16.0),
        heads: 12,
        ..large
    };
    match method {
        "fgmt" => (medium, DType::F32),
        "functional" => (
            Llama {
                classes: 0,
                ..large
            },
            DType::BF16,
        ),
        _ => (large, DType::BF16),
    }
}

/// The word at a position. A language model's are few, so that what one says of them holds for the rest.
fn word(llama: &Llama, position: usize) -> i64 {
    let word = if llama.classes == 0 {
        position * position % 257 * 97
    } else {
        position * 7919
    };
    (word % llama.vocabulary) as i64
}

/// Sentences of any words.
fn write_sentences(file: &Path, llama: &Llama, [count, tokens]: [usize; 2]) -> std::io::Result<()> {
    let ids: Vec<i64> = (0..count * tokens).map(|i| word(llama, i)).collect();
    let labels = if llama.classes == 0 {
        HostTensor::from_i64(vec![count, tokens], &ids)
    } else {
        let labels: Vec<i64> = (0..count).map(|i| (i % llama.classes) as i64).collect();
        HostTensor::from_i64(vec![count], &labels)
    };
    let data = [
        (
            "input_ids".to_owned(),
            HostTensor::from_i64(vec![count, tokens], &ids),
        ),
        ("labels".to_owned(), labels),
    ];
    write_tensors(file, &data.into_iter().collect())
}

/// Writes models, data and specification.
fn make(method: &str, scale: f64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (llama, dtype) = llama(method, scale);
    let old = llama.model(dtype, 1, None);
    let tuned = llama.model(
        dtype,
        1,
        Some(Change {
            seed: 2,
            share: 0.02,
        }),
    );
    let (seed, share) = if method == "functional" {
        (4, 0.0)
    } else {
        (1, 0.05)
    };
    let new = llama.model(dtype, seed, Some(Change { seed: 3, share }));
    for (name, model, shards) in [("old", &old, 3), ("tuned", &tuned, 3), ("new", &new, 1)] {
        write_model(&folder.join(name), &llama.config(), model, shards)?;
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let methods = if method == "auto" {
        json!("auto")
    } else {
        json!([method])
    };
    let mut spec = json!({
        "source": {"base": path("old"), "trajectory": path("tuned")},
        "target": {"base": path("new")},
        "methods": methods,
        "output": path("out"),
    });
    if ["fgmt", "functional"].contains(&method) {
        let file = folder.join("train.safetensors");
        let [sequences, tokens] = lengths(method);
        let count = if method == "fgmt" {
            4 * sequences
        } else {
            sequences
        };
        write_sentences(&file, &llama, [count, tokens])?;
        // As its own validation: what is measured does not depend on what it shows.
        spec["data"] = json!({"train": file, "validation": file});
        let timesteps = if method == "fgmt" { 3 } else { 1 };
        spec["options"] = json!({
            "timesteps": timesteps, "batch_size": sequences, "step": "last", "alpha": 1.0,
        });
    }
    std::fs::write(folder.join("spec.json"), spec.to_string())?;
    Ok(())
}

fn measure(method: &str, scale: f64, kill: Option<Duration>) -> Result<Value, Box<dyn Error>> {
    let (llama, dtype) = llama(method, scale);
    let folder = tempfile::tempdir()?;
    make(method, scale, folder.path())?;
    let start = Instant::now();
    if let Some(after) = kill {
        let mut killed = transfer(folder.path()).spawn()?;
        thread::sleep(after);
        killed.kill()?;
        killed.wait()?;
    }
    let done = transfer(folder.path()).output()?;
    // 3: done, and not published.
    if !matches!(done.status.code(), Some(0 | 3)) {
        return Err(String::from_utf8_lossy(&done.stderr).into());
    }

    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let processor = (used.user_time().tv_sec() + used.system_time().tv_sec()) as f64;
    Ok(json!({
        "name": format!("{method}, llama {} M parameters, {}", llama.parameters() / 1_000_000, dtype.name()),
        "model_mb": dtype.size() * llama.parameters() / 1_000_000,
        "seconds": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        "processor_seconds": processor,
        "killed_after_seconds": kill.map(|after| after.as_secs()),
        "peak_mb": used.max_rss() / 1024,
    }))
}

/// `retune transfer` of what lies in a folder.
fn transfer(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retune"));
    command
        .args(["transfer", "--json"])
        .arg(folder.join("spec.json"))
        .env("RETUNE_WORKER_SCRATCH_DIR", folder.join("scratch"))
        .env("RETUNE_DATA_DIR", folder.join("state"));
    command
}
