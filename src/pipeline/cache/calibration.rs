//! How fast this machine is, measured in about a second on small cases of its own, and remembered in
//! the cache for whoever runs with the same program and as many threads.

use std::{fs, io, path::Path, sync::OnceLock};

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::{
    artifacts::tensors,
    contract::plan::Speeds,
    engine::{
        network::Graph,
        symmetry::{Permutation, Symmetry, assignment},
        tensors::{
            Checkpoint, DType, HostTensor, Signature, TensorInfo,
            matmul::{accumulate, matrix},
        },
        training::{Dataset, Learner, Load},
    },
    pipeline::meter,
    storage::sha256_of,
};

/// Changes with what is measured.
const VERSION: u32 = 2;

impl Speeds {
    /// This machine's, measured where nobody has yet.
    pub fn of_this_machine(cache: Option<&Path>) -> Self {
        static KNOWN: OnceLock<Speeds> = OnceLock::new();
        *KNOWN.get_or_init(|| {
            let file = cache.map(|cache| cache.join("speed.json"));
            if let Some(speeds) = file.as_deref().and_then(Self::read) {
                return speeds;
            }
            let speeds = Self::measure();
            if let Some(file) = file
                && let Err(error) = speeds.write(&file)
            {
                tracing::warn!(%error, file = %file.display(), "not written");
            }
            speeds
        })
    }

    fn read(file: &Path) -> Option<Self> {
        let speeds: Self = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        let numbers = [
            speeds.product,
            speeds.similarity,
            speeds.convolution,
            speeds.light,
            speeds.heavy,
            speeds.node,
            speeds.arithmetic,
            speeds.assignment,
            speeds.byte,
        ];
        let sound = numbers
            .iter()
            .all(|seconds| seconds.is_finite() && *seconds >= 0.0);
        let ours = (speeds.version, speeds.threads) == (VERSION, rayon::current_num_threads());
        (sound && ours).then_some(speeds)
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let incoming = file.with_extension(format!("{}.incoming", std::process::id()));
        fs::write(&incoming, serde_json::to_string_pretty(self)?)?;
        fs::rename(&incoming, file)
    }

    fn measure() -> Self {
        let node = Sample::small().gradient() / 20.0;
        let (linear, convolutions) = (Sample::linear(), Sample::convolutions());
        let product = (linear.gradient() - node * linear.load.nodes).max(0.0)
            / (3.0 * linear.samples * linear.load.products);
        let convolution = (convolutions.gradient() - node * convolutions.load.nodes).max(0.0)
            / (3.0 * convolutions.samples * convolutions.load.convolutions);
        let (light, heavy) = (Sample::light(), Sample::heavy());

        Self {
            version: VERSION,
            threads: rayon::current_num_threads(),
            product,
            similarity: similarities(),
            convolution,
            light: light.rest(light.load.light, product, node),
            heavy: heavy.rest(heavy.load.heavy, product, node),
            node,
            arithmetic: arithmetic(),
            assignment: assignments(),
            byte: bytes(),
        }
    }
}

/// The least of a few runs: what disturbs only adds.
fn least(mut run: impl FnMut()) -> f64 {
    run();
    let mut least = f64::INFINITY;
    for _ in 0..4 {
        let start = meter::now();
        run();
        least = least.min(meter::now() - start);
    }
    least
}

/// A network with samples, whose gradient is timed.
struct Sample {
    graph: Graph,
    signature: Signature,
    load: Load,
    samples: f64,
}

impl Sample {
    fn new(shape: &[usize], samples: usize, nodes: &Value, tensors: &[(&str, &[usize])]) -> Self {
        let kind = ["features", "tokens", "image"][shape.len() - 1];
        let document = json!({"input": {"kind": kind, "shape": shape}, "nodes": nodes});
        let tensors = tensors.iter().map(|(name, shape)| {
            (
                (*name).to_owned(),
                TensorInfo {
                    dtype: DType::F32,
                    shape: shape.to_vec(),
                },
            )
        });

        let signature: Signature = tensors.collect();
        let graph = Graph::from_document(&document).expect("our own graph");
        let load = Load::of(&graph.resolve(&signature).expect("our own shapes"));
        Self {
            graph,
            signature,
            load,
            samples: samples as f64,
        }
    }

    /// Twenty nodes for a handful of values.
    fn small() -> Self {
        let mut nodes = vec![json!({"op": "relu"}); 19];
        nodes.push(json!({"op": "linear", "param": "fc"}));
        Self::new(&[4], 1, &nodes.into(), &[("fc.weight", &[2, 4])])
    }

    fn linear() -> Self {
        let nodes = json!([{"op": "linear", "param": "a"}, {"op": "linear", "param": "b"}]);
        let shapes: [(&str, &[usize]); 2] = [("a.weight", &[2048, 768]), ("b.weight", &[64, 2048])];
        Self::new(&[768], 128, &nodes, &shapes)
    }

    fn convolutions() -> Self {
        let nodes = json!([{"op": "conv2d", "param": "a", "padding": 1},
            {"op": "conv2d", "param": "b", "padding": 1}, {"op": "global_avg_pool"}]);
        let shapes: [(&str, &[usize]); 2] =
            [("a.weight", &[32, 16, 3, 3]), ("b.weight", &[32, 32, 3, 3])];
        Self::new(&[16, 16, 16], 32, &nodes, &shapes)
    }

    fn light() -> Self {
        let nodes = json!([{"op": "batch_norm", "param": "n", "id": "n"}, {"op": "relu"},
            {"op": "add", "inputs": ["n", "input"]}, {"op": "relu"}, {"op": "global_avg_pool"}]);
        let of_norm = ["weight", "bias", "running_mean", "running_var"].map(|s| format!("n.{s}"));
        let shapes = of_norm.each_ref().map(|name| (name.as_str(), &[16][..]));
        Self::new(&[16, 16, 16], 64, &nodes, &shapes)
    }

    fn heavy() -> Self {
        let nodes = json!([{"op": "linear", "param": "a"}, {"op": "gelu"}, {"op": "silu", "id": "s"},
            {"op": "tanh", "id": "t"}, {"op": "gate", "inputs": ["s", "t"]},
            {"op": "linear", "param": "b"}]);
        Self::new(
            &[16],
            128,
            &nodes,
            &[("a.weight", &[2048, 16]), ("b.weight", &[4, 2048])],
        )
    }

    /// Seconds an element, beyond what products (seconds a FLOP) and nodes (seconds each) take.
    fn rest(&self, elements: f64, product: f64, node: f64) -> f64 {
        let known = 3.0 * self.samples * self.load.products * product + node * self.load.nodes;
        (self.gradient() - known).max(0.0) / (self.samples * elements)
    }

    /// Seconds of one gradient.
    fn gradient(&self) -> f64 {
        let learner =
            Learner::new(&self.graph, &self.signature, Device::flex()).expect("our own graph");
        let params = self.graph.initial(&self.signature, 1);
        let shape = [&[self.samples as usize], self.graph.input.shape()].concat();
        let inputs = HostTensor::from_f32(shape.clone(), random(shape.iter().product()));
        let labels = vec![0; self.samples as usize];
        let data = Dataset::from_floats(inputs, labels);
        let batch = data.batch(&(0..data.len()).collect::<Vec<_>>());
        least(|| drop(learner.gradient(&params, &batch)))
    }
}

fn random(count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..count).map(|_| rng.random_range(-1f32..1.0)).collect()
}

/// Seconds an element that is permuted on both axes and shifted.
fn arithmetic() -> f64 {
    let shapes: [(&str, &[usize]); 3] = [
        ("a.weight", &[512, 4]),
        ("b.weight", &[512, 512]),
        ("c.weight", &[4, 512]),
    ];
    let nodes = json!([{"op": "linear", "param": "a"}, {"op": "linear", "param": "b"},
        {"op": "linear", "param": "c"}]);
    let Sample {
        graph, signature, ..
    } = Sample::new(&[4], 1, &nodes, &shapes);

    let symmetry = Symmetry::derive(&graph, &signature).expect("our own graph");
    let permutation = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(2));
    let tensor = HostTensor::from_f32(vec![512, 512], random(512 * 512));
    let moved = || permutation.apply_to(&symmetry, "b.weight", &tensor);
    least(|| drop(tensor.shifted(&moved(), &moved(), 1.0))) / (512.0 * 512.0)
}

/// Seconds a FLOP of a product of 512 target and source units, added to what is known.
fn similarities() -> f64 {
    const UNITS: usize = 512;
    const WIDTH: usize = 2048;
    let (target, source) = (random(UNITS * WIDTH), random(UNITS * WIDTH));
    let mut sum = vec![0.0; UNITS * UNITS];
    let (target, source) = (matrix(&target, WIDTH), matrix(&source, WIDTH));
    let seconds = least(|| accumulate(&mut sum, target, source.transpose()));
    seconds / (2 * UNITS * UNITS * WIDTH) as f64
}

/// Seconds of an assignment by n², for a matrix as noisy as gradients give.
fn assignments() -> f64 {
    const N: usize = 512;
    let noise = random(2 * N * 64);
    let units: Vec<&[f32]> = noise.chunks(64).collect();
    let similarities = (0..N * N).map(|at| {
        let (j, i) = (at / N, at % N);
        let product: f32 = units[j].iter().zip(units[i]).map(|(a, b)| a * b).sum();
        product + units[N + j][i % 64]
    });
    let matrix: Vec<f32> = similarities.collect();
    least(|| drop(assignment::solve(&matrix, N, None, None))) / (N * N) as f64
}

/// Seconds a byte that is digested and checked.
fn bytes() -> f64 {
    let tensor = HostTensor::from_f32(vec![1 << 20], random(1 << 20));
    let model: Checkpoint = [("a".to_owned(), tensor.clone())].into_iter().collect();
    let seconds = least(|| {
        let _ = tensors::first_not_finite(&model);
        let _ = sha256_of(&tensor.bytes());
    });
    seconds / f64::from(4 << 20)
}
