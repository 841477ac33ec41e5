//! FGMT by phase, to be read beside `benches/reference/fgmt_{mlp,resnet18}.py`.
//!
//! ```text
//! cargo bench --bench fgmt -- [mlp|resnet18] [--json FILE]
//! ```
//!
//! One network a run, so that the peak of memory is its own. MLP 784-4096-10, 10 timesteps of 128
//! samples: two bases of a few steps of training and a tuning of the first. ResNet-18 of CIFAR size,
//! 3 timesteps of 128: fresh bases and a perturbed copy. The time does not depend on what the
//! samples show.

use std::{error::Error, ops::ControlFlow, sync::OnceLock, time::Instant};

use burn::tensor::Device;
use nix::sys::resource::{UsageWho, getrusage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    network::Graph,
    profiler::{Profiler, Work},
    symmetry::Symmetry,
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
    training::{Dataset, FineTunePlan, Learner, Optimizer},
    transfer::{Method, Problem, Schedule, Trajectory, methods::align},
};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let resnet = arguments.iter().any(|a| a == "resnet18");
    let record = if resnet {
        resnet18()?.measure("fgmt resnet18, 3 x 128", 3)?
    } else {
        mlp()?.measure("fgmt 784-4096-10, 10 x 128", 10)?
    };
    println!("{record}");
    if let Some(at) = arguments.iter().position(|a| a == "--json") {
        std::fs::write(arguments.get(at + 1).ok_or("--json FILE")?, record.to_string())?;
    }
    Ok(())
}

struct Case {
    graph: Graph,
    signature: Signature,
    old: Checkpoint,
    tuned: Checkpoint,
    new: Checkpoint,
    data: Dataset,
}

impl Case {
    fn measure(self, name: &str, timesteps: usize) -> Result<Value, Box<dyn Error>> {
        let learner = Learner::new(&self.graph, &self.signature, Device::flex())?;
        let symmetry = Symmetry::derive(&self.graph, &self.signature)?;
        let trajectory = Trajectory::linear(self.old, self.tuned, Schedule::Uniform, timesteps);
        let ledger = Profiler::new(seconds);
        let problem = Problem {
            weight_anchor: 0.0,
            train: Some(&self.data),
            batch_size: BATCH,
            ..Problem::new(&learner, &symmetry, &trajectory, &self.new, &ledger)
        };
        let start = seconds();
        align(Method::Fgmt, &problem, None, None)?;
        let total = seconds() - start;
        let spent = |work: Work| (ledger.seconds(work) * 1000.0).round() / 1000.0;
        Ok(
            json!({"name": name, "total": (total * 1000.0).round() / 1000.0, "gradients": spent(Work::Gradients),
            "similarity": spent(Work::Similarity), "assignment": spent(Work::Assignment),
            "arithmetic": spent(Work::Arithmetic), "peak_mb": getrusage(UsageWho::RUSAGE_SELF)?.max_rss() / 1024,
            "threads": rayon::current_num_threads()}),
        )
    }
}

fn seconds() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

fn mlp() -> Result<Case, Box<dyn Error>> {
    let graph =
        Graph::from_document(&json!({"input": {"kind": "features", "shape": [784]}, "nodes": [
        {"op": "linear", "param": "fc1"}, {"op": "relu"}, {"op": "linear", "param": "fc2"}]}))?;
    let shapes: [(&str, &[usize]); 4] = [
        ("fc1.weight", &[4096, 784]),
        ("fc1.bias", &[4096]),
        ("fc2.weight", &[10, 4096]),
        ("fc2.bias", &[10]),
    ];
    let signature: Signature = shapes
        .into_iter()
        .map(|(name, shape)| {
            (name.to_owned(), TensorInfo { dtype: DType::F32, shape: shape.to_vec() })
        })
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let prototypes: Vec<f32> = (0..7840)
        .map(|_| if rng.random_bool(0.2) { rng.random_range(0.0..1.0) } else { 0.0 })
        .collect();
    let mut images = |turn: i64| {
        let labels: Vec<i64> = (0..BATCH * 30).map(|_| rng.random_range(0..10)).collect();
        let values = labels
            .iter()
            .flat_map(|&label| prototypes[label as usize * 784..][..784].to_vec())
            .map(|v| (v + rng.random_range(0.0..0.3)).clamp(0.0, 1.0))
            .collect();
        let turned = labels.iter().map(|label| (label + turn) % 10).collect();
        Dataset::from_floats(HostTensor::from_f32(vec![labels.len(), 784], values), turned)
    };
    let (plain, turned) = (images(0), images(1));
    let learner = Learner::new(&graph, &signature, Device::flex())?;
    let fit = |start: &Checkpoint, data: &Dataset| {
        let plan = FineTunePlan { batch_size: BATCH, ..FineTunePlan::new(Optimizer::Sgd, 1, 0.05) };
        learner.fine_tune(start, data, &plan, &mut |_| ControlFlow::Continue(())).checkpoint
    };
    let old = fit(&graph.initial(&signature, 1), &plain);
    let tuned = fit(&old, &turned);
    let new = fit(&graph.initial(&signature, 2), &plain);
    drop(learner);
    Ok(Case { graph, signature, old, tuned, new, data: turned })
}

fn resnet18() -> Result<Case, Box<dyn Error>> {
    let signature = resnet18_signature();
    let config = json!({"architecture": "resnet18", "num_classes": 10, "input_size": [3, 32, 32]});
    let graph = Graph::from_config(&config, &signature)?;
    let (old, new) = (graph.initial(&signature, 1), graph.initial(&signature, 2));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let noisy = |(name, tensor): (&str, &HostTensor)| {
        let perturbed = if tensor.shape().len() < 2 {
            tensor.clone()
        } else {
            let scale = 0.02 * tensor.f32()[0].abs().max(1e-3);
            let values = tensor.f32().iter().map(|v| v + rng.random_range(-scale..scale)).collect();
            HostTensor::from_f32(tensor.shape().to_vec(), values)
        };
        (name.to_owned(), perturbed)
    };
    let tuned = old.iter().map(noisy).collect();
    let samples = 3 * BATCH;
    let values = (0..samples * 3072).map(|_| rng.random_range(-1.7f32..1.7)).collect();
    let labels = (0..samples).map(|_| rng.random_range(0..10)).collect();
    let data = Dataset::from_floats(HostTensor::from_f32(vec![samples, 3, 32, 32], values), labels);
    Ok(Case { graph, signature, old, tuned, new, data })
}

/// Names and shapes of torchvision's ResNet-18 with a 3×3 stem.
fn resnet18_signature() -> Signature {
    let mut signature = Signature::new();
    let mut add = |name: String, shape: Vec<usize>| {
        signature.insert(name, TensorInfo { dtype: DType::F32, shape });
    };
    let norm = |add: &mut dyn FnMut(String, Vec<usize>), name: &str, width: usize| {
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            add(format!("{name}.{suffix}"), vec![width]);
        }
    };
    add("conv1.weight".into(), vec![64, 3, 3, 3]);
    norm(&mut add, "bn1", 64);
    let mut input = 64;
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let name = format!("layer{}.{block}", stage + 1);
            add(format!("{name}.conv1.weight"), vec![width, input, 3, 3]);
            add(format!("{name}.conv2.weight"), vec![width, width, 3, 3]);
            norm(&mut add, &format!("{name}.bn1"), width);
            norm(&mut add, &format!("{name}.bn2"), width);
            if input != width {
                add(format!("{name}.downsample.0.weight"), vec![width, input, 1, 1]);
                norm(&mut add, &format!("{name}.downsample.1"), width);
            }
            input = width;
        }
    }
    add("fc.weight".into(), vec![10, 512]);
    add("fc.bias".into(), vec![10]);
    signature
}
