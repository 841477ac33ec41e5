//! Runs a graph on a burn device, from the parameters of a checkpoint to logits.
//!
//! Order of events: [`Weights::upload`] takes a checkpoint's tensors to the device, flat;
//! [`forward`] walks the nodes in order, gives each what it reads, and lets an activation go after
//! its last reader. Shapes have been checked by [`Graph::shapes`]; nothing here checks them again.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    graph::{Graph, Operand},
    host,
    op::{Op, Role},
    ops,
};
use crate::engine::tensors::{Checkpoint, HostTensor};

/// What flows along an edge, batch first.
#[derive(Clone, Debug)]
pub enum Activation {
    /// `[B, F]`; token ids `[B, S]` are also such, −1 where a position is padded.
    Features(Tensor<2>),
    /// `[B, S, D]`
    Tokens(Tensor<3>),
    /// `[B, C, H, W]`
    Image(Tensor<4>),
}

impl Activation {
    /// Samples `[B, …sample_shape]`, row-major.
    ///
    /// # Panics
    /// When the values do not fill the shape, or a sample is not `[F]`, `[S, D]` or `[C, H, W]`.
    pub fn upload(values: Vec<f32>, sample_shape: &[usize], device: &Device) -> Self {
        let samples = values.len() / sample_shape.iter().product::<usize>().max(1);
        match *sample_shape {
            [f] => Self::Features(Tensor::from_data(TensorData::new(values, [samples, f]), device)),
            [s, d] => {
                Self::Tokens(Tensor::from_data(TensorData::new(values, [samples, s, d]), device))
            }
            [c, h, w] => {
                Self::Image(Tensor::from_data(TensorData::new(values, [samples, c, h, w]), device))
            }
            _ => panic!("a sample is [F], [S, D] or [C, H, W], not {sample_shape:?}"),
        }
    }

    pub(super) fn features(self) -> Tensor<2> {
        match self {
            Self::Features(x) => x,
            Self::Tokens(x) => x.flatten(1, 2),
            Self::Image(x) => x.flatten(1, 3),
        }
    }

    pub(super) fn tokens(self) -> Tensor<3> {
        match self {
            Self::Tokens(x) => x,
            Self::Features(_) | Self::Image(_) => unreachable!("shapes have been checked"),
        }
    }

    pub(super) fn image(self) -> Tensor<4> {
        match self {
            Self::Image(x) => x,
            Self::Features(_) | Self::Tokens(_) => unreachable!("shapes have been checked"),
        }
    }
}

/// A graph's tensors on a device. Each is held flat and reshaped where it is used, so that
/// gradients and optimisers need not know ranks.
#[derive(Clone, Debug)]
pub struct Weights {
    tensors: HashMap<String, Held>,
}

#[derive(Clone, Debug)]
struct Held {
    shape: Vec<usize>,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    /// On the CPU, of ops that `network::host` runs: it reads them where they are.
    Host(Arc<Vec<f32>>),
    Device(Box<Tensor<1>>),
}

impl Values {
    /// On the CPU a copy of what is held for `network::host`.
    fn tensor(&self) -> Tensor<1> {
        match self {
            Self::Host(values) => flat(values.to_vec(), &Device::flex()),
            Self::Device(tensor) => (**tensor).clone(),
        }
    }
}

fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}

impl Weights {
    /// The learned tensors and the running statistics of the graph.
    ///
    /// # Panics
    /// When a tensor is missing that the graph needs.
    pub fn upload(graph: &Graph, params: &Checkpoint, device: &Device) -> Self {
        let burn_reads: HashSet<String> = graph
            .params()
            .filter(|(position, _)| {
                *device != Device::flex() || !host::runs(&graph.nodes[*position].op)
            })
            .map(|(_, param)| param.name)
            .collect();
        let mut tensors = HashMap::new();
        for (_, param) in graph.params().filter(|(_, p)| p.role != Role::Counter) {
            let Some(tensor) = params.get(&param.name) else {
                assert!(!param.required, "no tensor {:?}", param.name);
                continue;
            };
            let on_device = burn_reads.contains(&param.name);
            tensors.entry(param.name).or_insert_with(|| Held {
                shape: tensor.shape().to_vec(),
                values: if on_device {
                    Values::Device(Box::new(flat(tensor.f32().into_owned(), device)))
                } else {
                    Values::Host(tensor.shared_f32())
                },
            });
        }
        Self { tensors }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The flat tensor.
    pub fn flat(&self, name: &str) -> Option<Tensor<1>> {
        self.tensors.get(name).map(|held| held.values.tensor())
    }

    /// The shape and the values; a copy of those that lie on a device.
    pub(super) fn host(&self, param: &str, suffix: &str) -> Option<(&[usize], Cow<'_, [f32]>)> {
        let held = self.tensors.get(&format!("{param}.{suffix}"))?;
        let values = match &held.values {
            Values::Host(values) => Cow::Borrowed(values.as_slice()),
            Values::Device(tensor) => Cow::Owned(floats((**tensor).clone())),
        };
        Some((&held.shape, values))
    }

    /// Replaces a tensor by what `step` makes of it.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub fn update(&mut self, name: &str, step: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let Held { shape, values } = self.tensors.remove(name).expect("a tensor of the graph");
        let values = match values {
            Values::Host(values) => {
                let tensor = flat(Arc::unwrap_or_clone(values), &Device::flex());
                Values::Host(Arc::new(floats(step(tensor))))
            }
            Values::Device(tensor) => Values::Device(Box::new(step(*tensor))),
        };
        self.tensors.insert(name.to_owned(), Held { shape, values });
    }

    /// A tensor's values on the host, under its own shape.
    pub fn download(&self, name: &str) -> Option<HostTensor> {
        let Held { shape, values } = self.tensors.get(name)?;
        let values = match values {
            Values::Host(values) => values.to_vec(),
            Values::Device(tensor) => floats((**tensor).clone()),
        };
        Some(HostTensor::from_f32(shape.clone(), values))
    }

    /// The same tensors as leaves on the autodiff device.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let leaf = |(name, held): (&String, &Held)| {
            let tensor = held.values.tensor().autodiff().require_grad();
            (
                name.clone(),
                Held { shape: held.shape.clone(), values: Values::Device(Box::new(tensor)) },
            )
        };
        Self { tensors: self.tensors.iter().map(leaf).collect() }
    }

    /// The same, of these tensors only.
    pub(super) fn some_leaves(&self, names: &[String]) -> Self {
        let some = names.iter().filter_map(|name| self.tensors.get_key_value(name));
        Self { tensors: some.map(|(name, held)| (name.clone(), held.clone())).collect() }.leaves()
    }

    pub(super) fn get<const D: usize>(&self, param: &str, suffix: &str) -> Option<Tensor<D>> {
        self.bare(&format!("{param}.{suffix}"))
    }

    /// A tensor by its whole name.
    pub(super) fn bare<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let held = self.tensors.get(name)?;
        let dims: [usize; D] = held.shape.as_slice().try_into().expect("shapes have been checked");
        Some(held.values.tensor().reshape(dims))
    }
}

/// The values of an f32 tensor, row-major; without a copy where the device is the host and nobody
/// else holds the tensor.
///
/// # Panics
/// When the tensor is not f32 or the device has failed.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("an f32 tensor")
}

/// Where batch normalisation takes its mean and variance from.
pub enum Statistics<'a> {
    /// The running ones of the checkpoint.
    Running,
    /// Those of the batch itself, as in training; told to the observer.
    Batch(&'a mut dyn FnMut(BatchStatistics)),
}

/// What a batch-norm node saw: mean and biased variance per channel, over `count` values each.
pub struct BatchStatistics {
    pub node: usize,
    pub mean: Tensor<1>,
    pub variance: Tensor<1>,
    pub count: usize,
}

/// The logits `[B, classes]` of a batch; of tokens `[B, S · vocabulary]`.
///
/// # Panics
/// When the input or a tensor does not have the shape that [`Graph::shapes`] checked.
pub fn forward(
    graph: &Graph,
    weights: &Weights,
    input: Activation,
    mut statistics: Statistics<'_>,
) -> Tensor<2> {
    let mut last_reader = HashMap::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        last_reader.extend(node.inputs.iter().map(|&operand| (operand, position)));
    }
    let mut alive = HashMap::from([(Operand::Input, input)]);
    for (position, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<Activation> =
            node.inputs.iter().map(|operand| alive[operand].clone()).collect();
        alive.retain(|operand, _| last_reader.get(operand).is_some_and(|&last| last > position));
        let output = run(position, &node.op, inputs, weights, &mut statistics);
        alive.insert(Operand::Node(position), output);
    }
    let last = Operand::Node(graph.nodes.len() - 1);
    alive.remove(&last).expect("a graph has nodes").features()
}

pub(super) fn run(
    position: usize,
    op: &Op,
    mut inputs: Vec<Activation>,
    weights: &Weights,
    statistics: &mut Statistics<'_>,
) -> Activation {
    use Activation::{Features, Image};
    match op {
        Op::Add {} => return inputs.into_iter().reduce(ops::add).expect("add has inputs"),
        Op::Gate {} => return inputs.into_iter().reduce(ops::gate).expect("gate has inputs"),
        op if op.is_of_tokens() => return ops::tokens::run(op, inputs, weights),
        _ => {}
    }
    let x = inputs.remove(0);
    match op {
        Op::Linear { .. } => ops::linear(x, weights, op),
        Op::Conv2d { .. } => Image(ops::conv2d(x.image(), weights, op)),
        Op::BatchNorm { param, eps, .. } => {
            let norm = ops::batch_norm::BatchNorm { node: position, param, eps: *eps, weights };
            match x {
                Features(x) => Features(norm.apply(x, statistics)),
                Image(x) => Image(norm.apply(x, statistics)),
                Activation::Tokens(_) => unreachable!("shapes have been checked"),
            }
        }
        Op::Relu {} | Op::Gelu {} | Op::GeluTanh {} | Op::Silu {} | Op::Tanh {} => {
            ops::elementwise(x, op)
        }
        Op::MaxPool { .. } | Op::AvgPool { .. } => Image(ops::pool(x.image(), op)),
        Op::AdaptiveAvgPool { output } => {
            Image(burn::tensor::module::adaptive_avg_pool2d(x.image(), output.array()))
        }
        Op::GlobalAvgPool {} => Features(ops::global_avg_pool(x.image())),
        Op::Flatten {} => Features(x.features()),
        Op::Dropout { .. } => x,
        other => unreachable!("{} is handled above", other.name()),
    }
}
