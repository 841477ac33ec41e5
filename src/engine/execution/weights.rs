//! A program's tensors where they are computed with.

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
    network::{Instruction, Param, ParamUse, Program, Role},
    tensors::{Checkpoint, HostTensor},
};

/// A program's tensors on a device. Each is held flat and reshaped where it is used, so that
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
    /// Of layers that `cpu` runs: it reads them where they are.
    Host(Arc<Vec<f32>>),
    Device(Box<Tensor<1>>),
    /// An expert's, where all of a layer are too many to be held: it is read when its turn comes.
    Late(HostTensor),
}

impl Values {
    /// A copy of what lies in host memory.
    fn tensor(&self) -> Tensor<1> {
        match self {
            Self::Host(values) => flat(values.to_vec(), &Device::flex()),
            Self::Device(tensor) => (**tensor).clone(),
            Self::Late(tensor) => flat(tensor.f32().into_owned(), &Device::flex()),
        }
    }
}

impl Held {
    /// The same, read where it has not been yet.
    fn resident(self) -> Self {
        let values = match self.values {
            Values::Late(_) => Values::Device(Box::new(self.values.tensor())),
            values => values,
        };
        Self { values, ..self }
    }

    /// The same as a leaf on the autodiff device.
    fn leaf(&self) -> Self {
        let tensor = self.values.tensor().autodiff().require_grad();
        Self {
            shape: self.shape.clone(),
            values: Values::Device(Box::new(tensor)),
        }
    }
}

impl Weights {
    /// The learned tensors and the running statistics of the program.
    ///
    /// # Panics
    /// When a tensor of the program is missing.
    pub fn upload(program: &Program, params: &Checkpoint, executor: &Executor) -> Self {
        let weights = Self::of(&program.instructions, params, executor);
        let tensors = weights
            .tensors
            .into_iter()
            .map(|(name, held)| (name, held.resident()));
        Self {
            tensors: tensors.collect(),
        }
    }

    /// Those of some instructions. Experts that lie in a file are read one at a time, as often as they are
    /// run.
    ///
    /// # Panics
    /// When a tensor that they read is missing.
    pub fn of(instructions: &[Instruction], params: &Checkpoint, executor: &Executor) -> Self {
        let read_by_burn: HashSet<&str> = instructions
            .iter()
            .filter(|instruction| executor.runs_by_burn(&instruction.layer))
            .flat_map(|instruction| &instruction.params)
            .map(|param| param.name.as_str())
            .collect();

        let mut tensors = HashMap::new();
        let read = instructions
            .iter()
            .flat_map(|instruction| &instruction.params);
        for param in read.filter(|param| param.role != Role::Counter) {
            let tensor = &params[&param.name];
            tensors.entry(param.name.clone()).or_insert_with(|| Held {
                shape: tensor.shape().to_vec(),
                values: if param.expert.is_some()
                    && tensor.is_lazy()
                    && matches!(executor, Executor::Cpu)
                {
                    Values::Late(tensor.clone())
                } else if read_by_burn.contains(param.name.as_str()) {
                    let values = tensor.f32().into_owned();
                    Values::Device(Box::new(flat(values, &executor.device())))
                } else {
                    Values::Host(tensor.shared_f32())
                },
            });
        }
        Self { tensors }
    }

    /// The flat tensor.
    pub fn flat(&self, name: &str) -> Option<Tensor<1>> {
        self.tensors.get(name).map(|held| held.values.tensor())
    }

    /// The values; a copy of those that lie on a device.
    ///
    /// # Panics
    /// When these are the weights of another program.
    pub(super) fn host<const RANK: usize>(&self, param: &Param<RANK>) -> Cow<'_, [f32]> {
        match &self.tensors[&param.name].values {
            Values::Host(values) => Cow::Borrowed(values.as_slice()),
            Values::Device(tensor) => Cow::Owned(floats((**tensor).clone())),
            Values::Late(tensor) => tensor.f32(),
        }
    }

    /// The tensor in its shape.
    ///
    /// # Panics
    /// When these are the weights of another program.
    pub(super) fn tensor<const RANK: usize>(&self, param: &Param<RANK>) -> Tensor<RANK> {
        self.tensors[&param.name]
            .values
            .tensor()
            .reshape(param.shape)
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
            values @ Values::Late(_) => Values::Device(Box::new(step(values.tensor()))),
        };
        self.tensors.insert(name.to_owned(), Held { shape, values });
    }

    /// A tensor's values on the host, under its own shape.
    pub fn download(&self, name: &str) -> Option<HostTensor> {
        let Held { shape, values } = self.tensors.get(name)?;
        let values = match values {
            Values::Host(values) => values.to_vec(),
            Values::Device(tensor) => floats((**tensor).clone()),
            Values::Late(tensor) => tensor.f32().into_owned(),
        };
        Some(HostTensor::from_f32(shape.clone(), values))
    }

    /// The same tensors as leaves on the autodiff device.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let tensors = self
            .tensors
            .iter()
            .map(|(name, held)| (name.clone(), held.leaf()));
        Self {
            tensors: tensors.collect(),
        }
    }

    /// The same, of one node's tensors only.
    pub(super) fn leaves_of(&self, params: &[ParamUse]) -> Self {
        let some = params
            .iter()
            .filter_map(|param| self.tensors.get_key_value(&param.name));
        Self {
            tensors: some
                .map(|(name, held)| (name.clone(), held.leaf()))
                .collect(),
        }
    }
}
