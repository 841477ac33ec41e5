//! What `retune plan` predicts beside what `retune transfer` takes.
//!
//! ```text
//! cargo bench --bench plan -- [--json FILE] [NAME…]
//! ```
//!
//! Five jobs that the calibration (`src/pipeline/cache/calibration.rs`) knows nothing of: perceptrons of two
//! widths, a plain convolutional network, a narrow ResNet-18 and a small BERT, with data, validation
//! and FGMT. Each is planned and run by the program itself, in processes of their own; the seconds
//! are those of the whole process, the memory the most it was resident with.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use retune::{
    artifacts::tensors,
    engine::{
        network::Graph,
        tensors::{Checkpoint, HostTensor, Signature},
        testing::{self, ResNet},
    },
};
use serde_json::{Value, json};

type Shapes = Vec<(String, Vec<usize>)>;

/// A network, its samples and what is asked of it.
struct Case {
    name: &'static str,
    config: Value,
    signature: Signature,
    /// Of one sample; ids below 1000 where it has one axis and the model reads tokens.
    sample: Vec<usize>,
    samples: usize,
    options: Value,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let file = arguments
        .iter()
        .position(|a| a == "--json")
        .map(|at| at + 1);
    let (named, others): (Vec<Case>, Vec<Case>) = cases()
        .into_iter()
        .partition(|case| arguments.iter().any(|a| a == case.name));
    let wanted = if named.is_empty() { others } else { named };
    let folder = tempfile::tempdir()?;
    let mut records = Vec::new();
    println!(
        "| job | seconds predicted | taken | memory predicted, MB | taken |\n|---|---|---|---|---|"
    );
    for case in &wanted {
        let record = case.measure(folder.path())?;
        println!(
            "| {} | {} | {} | {} | {} |",
            case.name,
            record["predicted_seconds"],
            record["seconds"],
            record["predicted_mb"],
            record["mb"]
        );
        records.push(record);
    }
    if let Some(file) = file.and_then(|at| arguments.get(at)) {
        fs::write(file, format!("{:#}\n", Value::from(records)))?;
    }
    Ok(())
}

fn cases() -> Vec<Case> {
    let (nodes, shapes) = convolutions(&[3, 32, 32, 64, 64], 10);
    let conv = Case {
        name: "conv4",
        config: json!({"model_type": "graph", "input": {"kind": "image", "shape": [3, 16, 16]},
            "task": "classification", "nodes": nodes}),
        signature: testing::signature(shapes),
        sample: vec![3, 16, 16],
        samples: 1000,
        options: json!({"timesteps": 5, "batch_size": 64}),
    };
    let resnet = Case {
        name: "resnet18-quarter",
        config: json!({"architecture": "resnet18", "num_classes": 10, "input_size": [3, 32, 32]}),
        signature: ResNet {
            width: 16,
            ..ResNet::CIFAR
        }
        .build()
        .1,
        sample: vec![3, 32, 32],
        samples: 500,
        options: json!({"timesteps": 3, "batch_size": 64, "alpha": 1.0}),
    };
    let bert = Case {
        name: "bert-small",
        config: json!({"model_type": "bert", "architectures": ["BertForSequenceClassification"],
            "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 512, "vocab_size": 1000, "max_position_embeddings": 128,
            "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_labels": 4}),
        signature: testing::signature(bert(4, 128, 512)),
        sample: vec![32],
        samples: 400,
        options: json!({"timesteps": 4, "batch_size": 64, "alpha": 1.0}),
    };
    vec![
        perceptron("mlp-784-512-512", &[784, 512, 512, 10], 5000),
        perceptron("mlp-784-2048", &[784, 2048, 10], 2000),
        conv,
        resnet,
        bert,
    ]
}

/// A perceptron of these widths, the first of which are the features.
fn perceptron(name: &'static str, widths: &[usize], samples: usize) -> Case {
    let (graph, signature) = testing::mlp(widths);
    Case {
        name,
        config: graph.to_document(),
        signature,
        sample: widths[..1].to_vec(),
        samples,
        options: json!({"timesteps": 10, "batch_size": 128}),
    }
}

impl Case {
    fn measure(&self, parent: &Path) -> Result<Value, Box<dyn Error>> {
        let folder = parent.join(self.name);
        let signature = &self.signature;
        let graph = Graph::from_config(&self.config, signature)?;
        let (old, new) = (graph.initial(signature, 1), graph.initial(signature, 2));
        let tuned = old.shifted(&old, &new, 0.02);
        for (name, model) in [("old", &old), ("tuned", &tuned), ("new", &new)] {
            let place = folder.join(name);
            fs::create_dir_all(&place)?;
            fs::write(place.join("config.json"), self.config.to_string())?;
            fs::write(place.join("model.safetensors"), tensors::to_bytes(model))?;
        }
        for (name, samples) in [("train", self.samples), ("validation", self.samples / 5)] {
            self.write_data(&folder.join(format!("{name}.safetensors")), samples)?;
        }
        let text = |name: &str| folder.join(name).display().to_string();
        let spec = json!({
            "source": {"base": text("old"), "trajectory": text("tuned")},
            "target": {"base": text("new")},
            "data": {"train": text("train.safetensors"), "validation": text("validation.safetensors")},
            "methods": ["weight_matching", "fgmt"],
            "options": self.options,
            "output": text("out"),
        });
        let file = folder.join("spec.json");
        fs::write(&file, spec.to_string())?;
        let (plan, ..) = run("plan", &file, parent)?;
        let (_, seconds, peak) = run("transfer", &file, parent)?;
        let estimate = &plan["estimate"];
        let [predicted, memory] =
            ["seconds", "memory_bytes"].map(|key| estimate[key].as_f64().unwrap_or(f64::NAN));
        let memory = memory / 1e6;
        let report = newest_report(&folder.join("out"))?;
        Ok(json!({
            "name": self.name,
            "predicted_seconds": rounded(predicted),
            "seconds": rounded(seconds),
            "predicted_mb": memory.round(),
            "mb": peak,
            "seconds_ratio": rounded(predicted / seconds),
            "memory_ratio": rounded(memory / peak as f64),
            "threads": plan["speeds"]["threads"],
            "phases": {"predicted": estimate["phases"], "taken": report["timing"]["phases"]},
        }))
    }

    fn write_data(&self, file: &Path, samples: usize) -> std::io::Result<()> {
        let size: usize = samples * self.sample.iter().product::<usize>();
        let shape = [&[samples], &self.sample[..]].concat();
        let inputs = if self.config["vocab_size"].is_null() {
            let values = (0..size)
                .map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 600.0)
                .collect();
            ("inputs".to_owned(), HostTensor::from_f32(shape, values))
        } else {
            let ids: Vec<i64> = (0..size).map(|i| (i * 7919 % 997) as i64).collect();
            ("input_ids".to_owned(), HostTensor::from_i64(shape, &ids))
        };
        let labels: Vec<i64> = (0..samples as i64).map(|i| i % 4).collect();
        let labels = (
            "labels".to_owned(),
            HostTensor::from_i64(vec![samples], &labels),
        );
        let data: Checkpoint = [inputs, labels].into_iter().collect();
        fs::write(file, tensors::to_bytes(&data))
    }
}

/// To a hundredth.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Runs the program; what it said, how long it took and the most memory it had, in MB.
fn run(command: &str, spec: &Path, state: &Path) -> Result<(Value, f64, u64), Box<dyn Error>> {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_retune"))
        .args([command, "--json"])
        .arg(spec)
        .env("RETUNE_DATA_DIR", state.join("state"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        peak = resident_peak(child.id()).unwrap_or(peak);
        thread::sleep(Duration::from_millis(2));
    }
    let seconds = start.elapsed().as_secs_f64();
    let done = child.wait_with_output()?;
    Ok((serde_json::from_slice(&done.stdout)?, seconds, peak))
}

fn resident_peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024 / 1_000_000)
}

fn newest_report(out: &Path) -> Result<Value, Box<dyn Error>> {
    let mut results: Vec<PathBuf> = fs::read_dir(out)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    results.sort();
    let result = results.pop().ok_or("no result")?;
    Ok(serde_json::from_slice(&fs::read(
        result.join("report.json"),
    )?)?)
}

fn convolutions(channels: &[usize], classes: usize) -> (Vec<Value>, Shapes) {
    let (mut nodes, mut shapes) = (Vec::new(), Shapes::new());
    for (i, pair) in channels.windows(2).enumerate() {
        nodes.push(json!({"op": "conv2d", "param": format!("conv{i}"), "padding": 1}));
        nodes.push(json!({"op": "relu"}));
        if i % 2 == 1 {
            nodes.push(json!({"op": "max_pool", "kernel": 2}));
        }
        shapes.push((format!("conv{i}.weight"), vec![pair[1], pair[0], 3, 3]));
        shapes.push((format!("conv{i}.bias"), vec![pair[1]]));
    }
    nodes.push(json!({"op": "flatten"}));
    nodes.push(json!({"op": "linear", "param": "fc"}));
    let last = channels[channels.len() - 1];
    shapes.push(("fc.weight".into(), vec![classes, last * 16]));
    shapes.push(("fc.bias".into(), vec![classes]));
    (nodes, shapes)
}

/// Hugging Face's names.
fn bert(layers: usize, width: usize, inner: usize) -> Shapes {
    let mut shapes = Shapes::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    for (table, rows) in [
        ("word_embeddings", 1000),
        ("position_embeddings", 128),
        ("token_type_embeddings", 2),
    ] {
        add(format!("bert.embeddings.{table}.weight"), &[rows, width]);
    }
    let mut both = |name: &str, out: usize, input: Option<usize>| {
        let weight: Vec<usize> = std::iter::once(out).chain(input).collect();
        add(format!("{name}.weight"), &weight);
        add(format!("{name}.bias"), &[out]);
    };
    both("bert.embeddings.LayerNorm", width, None);
    for layer in 0..layers {
        let name = |part: &str| format!("bert.encoder.layer.{layer}.{part}");
        for part in ["query", "key", "value"] {
            both(&name(&format!("attention.self.{part}")), width, Some(width));
        }
        both(&name("attention.output.dense"), width, Some(width));
        both(&name("attention.output.LayerNorm"), width, None);
        both(&name("intermediate.dense"), inner, Some(width));
        both(&name("output.dense"), width, Some(inner));
        both(&name("output.LayerNorm"), width, None);
    }
    both("bert.pooler.dense", width, Some(width));
    both("classifier", 4, Some(width));
    shapes
}
