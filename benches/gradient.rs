//! Time and peak memory of one gradient:
//! `cargo bench --bench gradient [mlp|resnet18|bert|vit|llama]`. One network a run, so that the peak is its own.
//! With `RETUNE_BENCH_PYTHON` (a Python with `PyTorch`, timm and transformers) the same is run by
//! `benches/pytorch/gradient.py` right after, and the ratio comes first.

use std::{collections::HashMap, process::Command, time::Instant};

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    network::Graph,
    tensors::Signature,
    testing::{Llama, ResNet, Transformer, mlp, signature},
    training::{Batch, Learner},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A network, and the data of one step.
struct Case {
    graph: Graph,
    signature: Signature,
    samples: usize,
    /// Of one sample.
    shape: Vec<usize>,
    /// Ids are below it; 0 where a sample is numbers.
    vocabulary: usize,
    /// Labels of one sample.
    labels: usize,
    repeats: usize,
}

fn main() {
    let name = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let name = name.unwrap_or_else(|| "resnet18".to_owned());
    let case = Case::of(&name);
    let params = case.graph.initial(&case.signature, 0);
    let learner = Learner::new(&case.graph, &case.signature, Device::flex()).expect("a network");
    let batch = case.batch();

    let forward = case.time(|| drop(learner.predict(&params, &batch)));
    let gradient = case.time(|| drop(learner.gradient(&params, &batch)));
    let beside = by_pytorch(&name);
    for (what, own) in [("forward", forward), ("gradient", gradient)] {
        let Seconds { wall, cpu } = own;
        let ratio = beside.get(what).map(|theirs| {
            let rate = theirs / wall;
            format!("{rate:.2} × PyTorch's rate ({theirs:.3} s): ")
        });
        let ratio = ratio.unwrap_or_default();
        let repeats = case.repeats;
        println!("{name}: {what} {ratio}{wall:.3} s, {cpu:.3} CPU s (mean of {repeats})");
    }
    println!("{name}: peak {} MB", peak_megabytes());
}

impl Case {
    fn of(name: &str) -> Self {
        match name {
            "mlp" => Self::of_numbers(mlp(&[784, 4096, 10]), 128, 5),
            "bert" => Self {
                samples: 4,
                shape: vec![128],
                vocabulary: 30_522,
                ..Self::of_numbers(Transformer::BASE.bert(), 4, 3)
            },
            "vit" => Self::of_numbers(Transformer::BASE.vit(), 4, 3),
            "llama" => {
                let llama = Llama::HUNDRED_MILLION;
                let signature = signature(llama.shapes());
                let graph = Graph::from_config(&llama.config(), &signature).expect("a Llama");
                Self {
                    vocabulary: llama.vocabulary,
                    labels: llama.positions,
                    ..Self::of_numbers((graph, signature), 2, 3)
                }
            }
            _ => Self::of_numbers(ResNet::CIFAR.build(), 128, 5),
        }
    }

    fn of_numbers((graph, signature): (Graph, Signature), samples: usize, repeats: usize) -> Self {
        let shape = graph.input.shape().to_vec();
        Self {
            graph,
            signature,
            samples,
            shape,
            vocabulary: 0,
            labels: 1,
            repeats,
        }
    }

    fn batch(&self) -> Batch {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let size = self.samples * self.shape.iter().product::<usize>();
        let inputs = (0..size).map(|_| match self.vocabulary {
            0 => rng.random::<f32>() - 0.5,
            ids => rng.random_range(0..ids) as f32,
        });
        let inputs = inputs.collect();
        let labels = (0..self.samples * self.labels).map(|_| rng.random_range(0..10));
        Batch {
            inputs,
            sample_shape: self.shape.clone(),
            labels: labels.collect(),
        }
    }

    /// The mean of the repeats, after one that is not counted.
    fn time(&self, run: impl Fn()) -> Seconds {
        run();
        let (start, cpu) = (Instant::now(), cpu_seconds());
        (0..self.repeats).for_each(|_| run());
        let repeats = self.repeats as f64;
        Seconds {
            wall: start.elapsed().as_secs_f64() / repeats,
            cpu: (cpu_seconds() - cpu) / repeats,
        }
    }
}

/// Of one repeat.
struct Seconds {
    wall: f64,
    cpu: f64,
}

/// Seconds of the same work by `PyTorch`, where there is one: by what was done.
fn by_pytorch(name: &str) -> HashMap<String, f64> {
    let Ok(python) = std::env::var("RETUNE_BENCH_PYTHON") else {
        return HashMap::new();
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pytorch/gradient.py");
    let output = Command::new(python).args([script, name]).output();
    let output = output.expect("a Python to compare with");
    let text = String::from_utf8_lossy(&output.stdout);
    print!(
        "PyTorch: {}",
        text.replace('\n', "\nPyTorch: ")
            .trim_end_matches("PyTorch: ")
    );
    let lines = text.lines().filter_map(|line| {
        let (_, line) = line.split_once(": ")?;
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    lines.collect()
}

/// User and system time of this process, in seconds; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in hundredths; the second field may hold spaces and ends with ')'.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    fields
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

/// Largest resident set so far, where the system tells.
fn peak_megabytes() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line
        .and_then(|l| l.split_whitespace().nth(1))
        .and_then(|n| n.parse().ok());
    kilobytes.map_or("?".into(), |kb: u64| (kb / 1024).to_string())
}
