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
    tensors::{Checkpoint, HostTensor, Signature},
    testing::{self, ResNet},
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
        resnet18().measure("fgmt resnet18, 3 x 128", 3)?
    } else {
        mlp()?.measure("fgmt 784-4096-10, 10 x 128", 10)?
    };
    println!("{record}");
    if let Some(at) = arguments.iter().position(|a| a == "--json") {
        std::fs::write(
            arguments.get(at + 1).ok_or("--json FILE")?,
            record.to_string(),
        )?;
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
    let (graph, signature) = testing::mlp(&[784, 4096, 10]);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let prototypes: Vec<f32> = (0..7840)
        .map(|_| {
            if rng.random_bool(0.2) {
                rng.random_range(0.0..1.0)
            } else {
                0.0
            }
        })
        .collect();
    let mut images = |turn: i64| {
        let labels: Vec<i64> = (0..BATCH * 30).map(|_| rng.random_range(0..10)).collect();
        let values = labels
            .iter()
            .flat_map(|&label| prototypes[label as usize * 784..][..784].to_vec())
            .map(|v| (v + rng.random_range(0.0..0.3)).clamp(0.0, 1.0))
            .collect();
        let turned = labels.iter().map(|label| (label + turn) % 10).collect();
        Dataset::from_floats(
            HostTensor::from_f32(vec![labels.len(), 784], values),
            turned,
        )
    };
    let (plain, turned) = (images(0), images(1));
    let learner = Learner::new(&graph, &signature, Device::flex())?;
    let fit = |start: &Checkpoint, data: &Dataset| {
        let plan = FineTunePlan {
            batch_size: BATCH,
            ..FineTunePlan::new(Optimizer::Sgd, 1, 0.05)
        };
        learner
            .fine_tune(start, data, &plan, &mut |_| ControlFlow::Continue(()))
            .checkpoint
    };
    let old = fit(&graph.initial(&signature, 1), &plain);
    let tuned = fit(&old, &turned);
    let new = fit(&graph.initial(&signature, 2), &plain);
    drop(learner);
    Ok(Case {
        graph,
        signature,
        old,
        tuned,
        new,
        data: turned,
    })
}

fn resnet18() -> Case {
    let (graph, signature) = ResNet::CIFAR.build();
    let (old, new) = (graph.initial(&signature, 1), graph.initial(&signature, 2));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let tuned = old
        .iter()
        .map(|(name, tensor)| (name.to_owned(), perturbed(tensor, &mut rng)))
        .collect();
    let samples = 3 * BATCH;
    let values = (0..samples * 3072)
        .map(|_| rng.random_range(-1.7f32..1.7))
        .collect();
    let labels = (0..samples).map(|_| rng.random_range(0..10)).collect();
    let data = Dataset::from_floats(
        HostTensor::from_f32(vec![samples, 3, 32, 32], values),
        labels,
    );
    Case {
        graph,
        signature,
        old,
        tuned,
        new,
        data,
    }
}

/// Matrices with a hundredth or so added or taken away; norms and biases as they are.
fn perturbed(tensor: &HostTensor, rng: &mut ChaCha8Rng) -> HostTensor {
    if tensor.shape().len() < 2 {
        return tensor.clone();
    }
    let scale = 0.02 * tensor.f32()[0].abs().max(1e-3);
    let values = tensor
        .f32()
        .iter()
        .map(|v| v + rng.random_range(-scale..scale))
        .collect();
    HostTensor::from_f32(tensor.shape().to_vec(), values)
}
