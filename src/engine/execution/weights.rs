//! A graph's tensors where they are computed with.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use burn::tensor::{Device, Tensor};

use super::{
    executor::Executor,
    values::{flat, floats},
};
use crate::{
    network::{Graph, Op, ParamUse, Role},
    tensors::{Checkpoint, HostTensor},
};

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
    /// Of ops that `cpu` runs: it reads them where they are.
    Host(Arc<Vec<f32>>),
    Device(Box<Tensor<1>>),
}

impl Values {
    /// A copy of what lies in host memory.
    fn tensor(&self) -> Tensor<1> {
        match self {
            Self::Host(values) => flat(values.to_vec(), &Device::flex()),
            Self::Device(tensor) => (**tensor).clone(),
        }
    }
}

impl Held {
    /// The same as a leaf on the autodiff device.
    fn leaf(&self) -> Self {
        let tensor = self.values.tensor().autodiff().require_grad();
        Self { shape: self.shape.clone(), values: Values::Device(Box::new(tensor)) }
    }
}

impl Weights {
    /// The learned tensors and the running statistics of the graph.
    ///
    /// # Panics
    /// When a tensor is missing that the graph needs.
    pub fn upload(graph: &Graph, params: &Checkpoint, executor: &Executor) -> Self {
        let ops: Vec<&Op> = graph.nodes.iter().map(|node| &node.op).collect();
        Self::of_ops(&ops, params, executor)
    }

    /// The tensors of one op.
    ///
    /// # Panics
    /// When a tensor is missing that the op needs.
    pub fn of_op(op: &Op, params: &Checkpoint, executor: &Executor) -> Self {
        Self::of_ops(&[op], params, executor)
    }

    fn of_ops(ops: &[&Op], params: &Checkpoint, executor: &Executor) -> Self {
        let read: Vec<(ParamUse, bool)> = ops
            .iter()
            .flat_map(|op| op.params().into_iter().map(|param| (param, executor.runs_by_burn(op))))
            .collect();
        let read_by_burn: HashSet<&str> =
            read.iter().filter(|(_, by_burn)| *by_burn).map(|(param, _)| &*param.name).collect();

        let mut tensors = HashMap::new();
        for (param, _) in read.iter().filter(|(param, _)| param.role != Role::Counter) {
            let Some(tensor) = params.get(&param.name) else {
                assert!(!param.required, "no tensor {:?}", param.name);
                continue;
            };
            let on_device = read_by_burn.contains(&*param.name);
            tensors.entry(param.name.clone()).or_insert_with(|| Held {
                shape: tensor.shape().to_vec(),
                values: if on_device {
                    let values = tensor.f32().into_owned();
                    Values::Device(Box::new(flat(values, &executor.device())))
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
        let tensors = self.tensors.iter().map(|(name, held)| (name.clone(), held.leaf()));
        Self { tensors: tensors.collect() }
    }

    /// The same, of these tensors only.
    pub(super) fn some_leaves(&self, names: &[String]) -> Self {
        let some = names.iter().filter_map(|name| self.tensors.get_key_value(name));
        Self { tensors: some.map(|(name, held)| (name.clone(), held.leaf())).collect() }
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
