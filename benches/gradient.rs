//! Time and peak memory of one gradient, to be read beside `benches/pytorch/gradient.py`:
//! `cargo bench --bench gradient [mlp|resnet18]`. One network a run, so that the peak is its own.

use std::time::Instant;

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    network::Graph,
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
    training::{Batch, Learner},
};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;
const REPEATS: usize = 5;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let (name, graph, params) = match chosen.first().map_or("resnet18", String::as_str) {
        "mlp" => mlp(),
        _ => resnet18(),
    };
    let learner = Learner::new(&graph, &params.signature(), Device::flex()).expect("a network");
    let batch = batch(graph.input.shape());
    let time = |what: &str, run: &dyn Fn()| {
        run();
        let (start, cpu) = (Instant::now(), cpu_seconds());
        (0..REPEATS).for_each(|_| run());
        let mean = |total: f64| total / REPEATS as f64;
        let (wall, cpu) = (mean(start.elapsed().as_secs_f64()), mean(cpu_seconds() - cpu));
        println!("{name}: {what} {wall:.3} s, {cpu:.3} CPU s (mean of {REPEATS})");
    };
    time("forward", &|| drop(learner.predict(&params, &batch)));
    time("gradient", &|| drop(learner.gradient(&params, &batch)));
    println!("{name}: peak {} MB", peak_megabytes());
}

fn mlp() -> (&'static str, Graph, Checkpoint) {
    let config = json!({"model_type":"graph","input":{"kind":"features","shape":[784]},"nodes":[
        {"op":"linear","param":"a"},{"op":"relu"},{"op":"linear","param":"b"}]});
    let shapes: [(&str, &[usize]); 4] = [
        ("a.weight", &[4096, 784]),
        ("a.bias", &[4096]),
        ("b.weight", &[10, 4096]),
        ("b.bias", &[10]),
    ];
    let tensors: Vec<(String, Vec<usize>)> =
        shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
    network("784-4096-10", &config, &tensors)
}

/// ResNet-18 with the CIFAR stem on 3 × 32 × 32.
fn resnet18() -> (&'static str, Graph, Checkpoint) {
    let mut tensors = vec![("conv1.weight".to_owned(), vec![64, 3, 3, 3])];
    let mut norms = vec![("bn1".to_owned(), 64)];
    let mut from = 64;
    for stage in 0..4 {
        let to = 64 << stage;
        for block in 0..2 {
            let prefix = format!("layer{}.{block}", stage + 1);
            tensors.push((format!("{prefix}.conv1.weight"), vec![to, from, 3, 3]));
            tensors.push((format!("{prefix}.conv2.weight"), vec![to, to, 3, 3]));
            norms.extend([(format!("{prefix}.bn1"), to), (format!("{prefix}.bn2"), to)]);
            if from != to {
                tensors.push((format!("{prefix}.downsample.0.weight"), vec![to, from, 1, 1]));
                norms.push((format!("{prefix}.downsample.1"), to));
            }
            from = to;
        }
    }
    for (norm, channels) in norms {
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{norm}.{suffix}"), vec![channels]));
        }
    }
    tensors.extend([("fc.weight".into(), vec![10, 512]), ("fc.bias".into(), vec![10])]);
    network("resnet18", &json!({"architecture":"resnet18","input_size":[3,32,32]}), &tensors)
}

fn network(
    name: &'static str,
    config: &serde_json::Value,
    tensors: &[(String, Vec<usize>)],
) -> (&'static str, Graph, Checkpoint) {
    let info = |shape: &Vec<usize>| TensorInfo { dtype: DType::F32, shape: shape.clone() };
    let signature: Signature = tensors.iter().map(|(n, s)| (n.clone(), info(s))).collect();
    let graph = Graph::from_config(config, &signature).expect("a network");
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let params = tensors.iter().map(|(tensor, shape)| {
        let fan_in: usize = shape[1..].iter().product();
        let spread = (3.0 / fan_in as f32).sqrt();
        let values = (0..shape.iter().product::<usize>()).map(|_| match tensor.as_str() {
            one if shape.len() == 1 && !one.ends_with("bias") && !one.ends_with("mean") => 1.0,
            _ => spread * (2.0 * rng.random::<f32>() - 1.0),
        });
        (tensor.clone(), HostTensor::from_f32(shape.clone(), values.collect()))
    });
    (name, graph, params.collect())
}

fn batch(sample_shape: &[usize]) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let size = BATCH * sample_shape.iter().product::<usize>();
    let inputs = (0..size).map(|_| rng.random::<f32>() - 0.5).collect();
    let labels = (0..BATCH).map(|_| rng.random_range(0..10)).collect();
    Batch { inputs, sample_shape: sample_shape.to_vec(), labels }
}

/// User and system time of this process, in seconds; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in hundredths; the second field may hold spaces and ends with ')'.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Largest resident set so far, where the system tells.
fn peak_megabytes() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok());
    kilobytes.map_or("?".into(), |kb: u64| (kb / 1024).to_string())
}
