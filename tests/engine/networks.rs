//! Networks and data for the tests of the engine.

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    network::{Graph, Input, Op, Task},
    symmetry::Symmetry,
    tensors::{Checkpoint, HostTensor, Signature, TensorInfo},
    testing::{self, ResNet},
    training::{Dataset, Learner},
};
use serde_json::{Value, json};

/// A network: what it computes, and the shapes of its tensors.
pub struct Network {
    pub graph: Graph,
    pub signature: Signature,
}

/// Tokens of a sample at most: a family may read thousands, and scores are as many squared.
const MAX_TOKENS: usize = 32;
/// Tokens of a target sequence, of another length.
const MAX_TARGETS: usize = 24;

impl Network {
    pub fn of(config: &Value, shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        let signature = testing::signature(shapes);
        Self {
            graph: Graph::from_config(config, &signature).expect("a network"),
            signature,
        }
    }

    pub fn learner(&self) -> Learner<'_> {
        Learner::new(&self.graph, &self.signature, Device::flex()).expect("a classifier")
    }

    pub fn symmetry(&self) -> Symmetry {
        Symmetry::derive(&self.graph, &self.signature).expect("a symmetry")
    }

    /// The names of the learned tensors that there are.
    pub fn learned(&self) -> impl Iterator<Item = &str> {
        let learned = self.graph.learned();
        let names = self
            .signature
            .keys()
            .filter(move |name| learned.contains(name));
        names.map(String::as_str)
    }

    /// Parameters with every unit alive: rows of weights have mean zero, so that no unit is
    /// silenced by inputs that are positive; norms and biases are away from one and zero.
    pub fn parameters(&self, seed: u64) -> Checkpoint {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |shape: &[usize], centre: f32, spread: f32| {
            let size = shape.iter().product::<usize>();
            let value = |_| centre + spread * rng.random_range(-1f32..1.0);
            HostTensor::from_f32(shape.to_vec(), (0..size).map(value).collect())
        };
        let tensor = |(name, info): (&String, &TensorInfo)| {
            let shape = &info.shape;
            let tensor = match name.rsplit('.').next() {
                Some("num_batches_tracked") => HostTensor::from_i64(shape.clone(), &[seed as i64]),
                Some("running_var") => draw(shape, 1.0, 0.5),
                Some("weight") if shape.len() == 1 => draw(shape, 1.0, 0.5),
                Some("weight") => {
                    let fan_in = shape[1..].iter().product::<usize>();
                    centred(&draw(shape, 0.0, (6.0 / fan_in as f32).sqrt()))
                }
                _ => draw(shape, 0.0, 0.1),
            };
            (name.clone(), tensor)
        };
        self.signature.iter().map(tensor).collect()
    }

    /// Ids that its embeddings know.
    fn vocabulary(&self) -> usize {
        let tables = self.graph.nodes.iter().filter_map(|node| match &node.op {
            Op::Embedding { param, .. } => {
                Some(self.signature[&format!("{param}.weight")].shape[0])
            }
            _ => None,
        });
        tables.min().unwrap_or_default()
    }

    /// Samples uniform in ±1, or tokens, with labels at random; a language model's are its tokens.
    pub fn data(&self, samples: usize, classes: i64, seed: u64) -> Dataset {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tokens = matches!(self.graph.input, Input::Tokens { .. });
        let mut shape = [&[samples], self.graph.input.shape()].concat();
        if tokens {
            shape[1] = shape[1].min(MAX_TOKENS);
        }
        let vocabulary = self.vocabulary();
        let value = |i: usize| match tokens {
            false => rng.random_range(-1f32..1.0),
            // Every third sentence is shorter, and padded.
            true if i % (3 * shape[1]) >= 3 * shape[1] - 2 => -1.0,
            true => rng.random_range(0..vocabulary) as f32,
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
        if let Some([longest]) = self.graph.target {
            let length = longest.min(MAX_TARGETS);
            // Every third is shorter.
            let label = |i: usize| {
                if i % (3 * length) >= 3 * length - 2 {
                    -100
                } else {
                    rng.random_range(0..classes)
                }
            };
            let labels = (0..samples * length).map(label).collect();
            return Dataset::unlabelled(HostTensor::from_f32(shape, values)).labelled(labels);
        }
        if self.graph.task == Task::NextToken {
            let labels: Vec<i64> = values
                .iter()
                .map(|&id| if id < 0.0 { -100 } else { id as i64 })
                .collect();
            return Dataset::of_tokens(HostTensor::from_f32(shape, values), &labels);
        }
        if matches!(
            self.graph.task,
            Task::TokenClassification | Task::MaskedToken
        ) {
            let label = |id: &f32| match *id {
                id if id < 0.0 => -100,
                _ => rng.random_range(0..classes),
            };
            let labels = values.iter().map(label).collect();
            return Dataset::unlabelled(HostTensor::from_f32(shape, values)).labelled(labels);
        }
        let data = Dataset::unlabelled(HostTensor::from_f32(shape.clone(), values));
        let each = samples * self.learner().classes();
        match self.graph.task {
            Task::Regression => {
                let values: Vec<f32> = (0..each).map(|_| rng.random_range(-1f32..1.0)).collect();
                data.of_values(&values)
            }
            Task::MultiLabelClassification => {
                data.labelled_together((0..each).map(|_| rng.random_range(0..2)).collect())
            }
            Task::QuestionAnswering => {
                let length = shape[1] as i64;
                data.labelled_together((0..each).map(|_| rng.random_range(0..length)).collect())
            }
            _ => data.labelled((0..samples).map(|_| rng.random_range(0..classes)).collect()),
        }
    }
}

fn centred(weight: &HostTensor) -> HostTensor {
    let row = weight.shape()[1..].iter().product();
    let mut values = weight.f32().into_owned();
    for row in values.chunks_mut(row) {
        let mean = row.iter().sum::<f32>() / row.len() as f32;
        row.iter_mut().for_each(|v| *v -= mean);
    }
    HostTensor::from_f32(weight.shape().to_vec(), values)
}

/// A multi-layer perceptron with biases.
pub fn mlp(widths: &[usize]) -> Network {
    let (graph, signature) = testing::mlp(widths);
    Network { graph, signature }
}

/// Eight convolutions with biases, a pooling after every second but the last, two linear layers.
/// The image is 16 × 16, so the flatten repeats every channel four times. Images of noise look alike
/// after so many layers; the gelu of the last hidden layer leaves no unit without a gradient there.
pub fn conv8(channels: [usize; 8], classes: usize) -> Network {
    let mut nodes = Vec::new();
    let mut shapes = Vec::new();
    let mut from = 3;
    for (i, to) in channels.into_iter().enumerate() {
        shapes.push((format!("conv{i}.weight"), vec![to, from, 3, 3]));
        shapes.push((format!("conv{i}.bias"), vec![to]));
        nodes.push(json!({"op": "conv2d", "param": format!("conv{i}"), "padding": 1}));
        nodes.push(json!({"op": "relu"}));
        if i % 2 == 1 && i < 7 {
            nodes.push(json!({"op": "max_pool", "kernel": 2}));
        }
        from = to;
    }
    nodes.push(json!({"op": "flatten"}));
    for (param, out, input) in [("fc0", 256, from * 4), ("fc1", classes, 256)] {
        shapes.push((format!("{param}.weight"), vec![out, input]));
        shapes.push((format!("{param}.bias"), vec![out]));
        nodes.push(json!({"op": "linear", "param": param}));
        nodes.push(json!({"op": "gelu"}));
    }
    nodes.pop();
    Network::of(&config("image", &[3, 16, 16], &nodes), shapes)
}

fn config(kind: &str, shape: &[usize], nodes: &[Value]) -> Value {
    json!({"model_type": "graph", "input": {"kind": kind, "shape": shape}, "nodes": nodes})
}

/// A residual network.
pub fn resnet(network: ResNet) -> Network {
    let (graph, signature) = network.build();
    Network { graph, signature }
}

/// A residual network of so many blocks, each with a convolution in three groups of four channels that become five.
pub fn grouped_blocks(depth: usize) -> Network {
    let mut blocks = GroupedBlocks::default();
    blocks.convolution("stem", [16, 3, 3], &json!({"padding": 1}));
    let mut stream = "stem.relu".to_owned();
    for block in 0..depth {
        let name = |part: &str| format!("blocks.{block}.{part}");
        blocks.convolution(&name("first"), [12, 16, 1], &json!({"inputs": [stream]}));
        let groups = json!({"groups": 3, "padding": 1});
        blocks.convolution(&name("grouped"), [15, 4, 3], &groups);
        blocks.convolution(&name("last"), [16, 15, 1], &json!({}));
        let next = name("sum");
        blocks.nodes.pop();
        let inputs = json!([name("last.norm"), stream]);
        blocks
            .nodes
            .push(json!({"op": "add", "id": next, "inputs": inputs}));
        stream = next;
    }
    blocks.nodes.push(json!({"op": "global_avg_pool"}));
    blocks.nodes.push(json!({"op": "linear", "param": "head"}));
    blocks.shapes.push(("head.weight".into(), vec![5, 16]));
    blocks.shapes.push(("head.bias".into(), vec![5]));

    Network::of(&config("image", &[3, 8, 8], &blocks.nodes), blocks.shapes)
}

/// Nodes in the making, and the shapes of their tensors.
#[derive(Default)]
struct GroupedBlocks {
    nodes: Vec<Value>,
    shapes: Vec<(String, Vec<usize>)>,
}

impl GroupedBlocks {
    /// A convolution with these options, its norm and a relu.
    fn convolution(&mut self, param: &str, [out, input, kernel]: [usize; 3], options: &Value) {
        let mut node = json!({"op": "conv2d", "param": param});
        for (key, value) in options.as_object().into_iter().flatten() {
            node[key] = value.clone();
        }
        let norm = format!("{param}.norm");
        let relu = format!("{param}.relu");
        self.nodes.push(node);
        self.nodes.push(json!({"op": "batch_norm", "param": norm}));
        self.nodes.push(json!({"op": "relu", "id": relu}));
        let shape = vec![out, input, kernel, kernel];
        self.shapes.push((format!("{param}.weight"), shape));
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            self.shapes.push((format!("{norm}.{suffix}"), vec![out]));
        }
    }
}

/// A VGG with batch norm, its channels divided, under torchvision's names.
pub fn vgg(name: &str, divisor: usize, image: usize) -> Network {
    let stages = if name == "vgg11_bn" {
        [1, 1, 2, 2, 2]
    } else {
        [2, 2, 3, 3, 3]
    };
    let (mut shapes, mut from, mut position) = (Vec::new(), 3, 0);
    for (convolutions, channels) in stages.into_iter().zip([64, 128, 256, 512, 512]) {
        let to = channels / divisor;
        for _ in 0..convolutions {
            shapes.push((format!("features.{position}.weight"), vec![to, from, 3, 3]));
            shapes.push((format!("features.{position}.bias"), vec![to]));
            for suffix in ["weight", "bias", "running_mean", "running_var"] {
                shapes.push((format!("features.{}.{suffix}", position + 1), vec![to]));
            }
            (from, position) = (to, position + 3);
        }
        position += 1;
    }
    let hidden = 4096 / divisor;
    for (layer, out, input) in [(0, hidden, from * 49), (3, hidden, hidden), (6, 10, hidden)] {
        shapes.push((format!("classifier.{layer}.weight"), vec![out, input]));
        shapes.push((format!("classifier.{layer}.bias"), vec![out]));
    }
    Network::of(
        &json!({"architecture": name, "input_size": [3, image, image]}),
        shapes,
    )
}
