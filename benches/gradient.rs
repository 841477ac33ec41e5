//! Time and peak memory of one gradient, to be read beside `benches/pytorch/gradient.py`:
//! `cargo bench --bench gradient [mlp|resnet18]`. One network a run, so that the peak is its own.

use std::time::Instant;

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    testing::{ResNet, mlp},
    training::{Batch, Learner},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;
const REPEATS: usize = 5;

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let (name, (graph, signature)) = match chosen.first().map_or("resnet18", String::as_str) {
        "mlp" => ("784-4096-10", mlp(&[784, 4096, 10])),
        _ => ("resnet18", ResNet::CIFAR.build()),
    };
    let params = graph.initial(&signature, 0);
    let learner = Learner::new(&graph, &signature, Device::flex()).expect("a network");
    let batch = batch(graph.input.shape());
    let time = |what: &str, run: &dyn Fn()| {
        run();
        let (start, cpu) = (Instant::now(), cpu_seconds());
        (0..REPEATS).for_each(|_| run());
        let mean = |total: f64| total / REPEATS as f64;
        let (wall, cpu) = (
            mean(start.elapsed().as_secs_f64()),
            mean(cpu_seconds() - cpu),
        );
        println!("{name}: {what} {wall:.3} s, {cpu:.3} CPU s (mean of {REPEATS})");
    };
    time("forward", &|| drop(learner.predict(&params, &batch)));
    time("gradient", &|| drop(learner.gradient(&params, &batch)));
    println!("{name}: peak {} MB", peak_megabytes());
}

fn batch(sample_shape: &[usize]) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let size = BATCH * sample_shape.iter().product::<usize>();
    let inputs = (0..size).map(|_| rng.random::<f32>() - 0.5).collect();
    let labels = (0..BATCH).map(|_| rng.random_range(0..10)).collect();
    Batch {
        inputs,
        sample_shape: sample_shape.to_vec(),
        labels,
    }
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
