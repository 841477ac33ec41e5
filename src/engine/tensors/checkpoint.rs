//! The one home of parameters: host tensors under the names users already have.

use std::collections::BTreeMap;

use super::host_tensor::{HostTensor, TensorInfo};

/// The headers of a checkpoint: enough to check a graph and to plan, without reading a value.
pub type Signature = BTreeMap<String, TensorInfo>;

/// Parameters by name.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    tensors: BTreeMap<String, HostTensor>,
}

impl Checkpoint {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) {
        self.tensors.insert(name.into(), tensor);
    }

    pub fn remove(&mut self, name: &str) -> Option<HostTensor> {
        self.tensors.remove(name)
    }

    /// In order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostTensor)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    pub fn signature(&self) -> Signature {
        self.iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.info()))
            .collect()
    }

    /// `self + scale · (to − from)`, tensor by tensor ([`HostTensor::shifted`]). Tensors that are
    /// no floats are this checkpoint's own.
    ///
    /// # Panics
    /// When a float tensor is missing in `from` or `to`; callers have compared the signatures.
    #[must_use]
    pub fn shifted(&self, from: &Self, to: &Self, scale: f64) -> Self {
        let shifted = self.iter().map(|(name, tensor)| {
            let shifted = if tensor.dtype().is_float() {
                tensor.shifted(&from[name], &to[name], scale)
            } else {
                tensor.clone()
            };
            (name.to_owned(), shifted)
        });
        shifted.collect()
    }

    /// `factor · self`, tensor by tensor, f32.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        self.iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.scaled(factor)))
            .collect()
    }

    /// The same in memory.
    #[must_use]
    pub fn held(&self) -> Self {
        self.iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.held()))
            .collect()
    }

    /// `(1 − fraction) · self + fraction · other`; exactly `other` at fraction 1.
    #[must_use]
    pub fn interpolated(&self, other: &Self, fraction: f64) -> Self {
        self.shifted(self, other, fraction)
    }

    /// `Σ self · other` over this checkpoint's float tensors, in f64.
    ///
    /// # Panics
    /// When a tensor is missing in `other`.
    pub fn inner(&self, other: &Self) -> f64 {
        self.iter()
            .filter(|(_, t)| t.dtype().is_float())
            .map(|(name, t)| t.inner(&other[name]))
            .sum()
    }

    /// Euclidean norm over the float tensors.
    pub fn norm(&self) -> f64 {
        let floats = self.iter().filter(|(_, tensor)| tensor.dtype().is_float());
        floats
            .map(|(_, tensor)| tensor.squares())
            .sum::<f64>()
            .sqrt()
    }
}

impl std::ops::Index<&str> for Checkpoint {
    type Output = HostTensor;

    /// # Panics
    /// When there is no such tensor: for names that a signature check has established.
    fn index(&self, name: &str) -> &HostTensor {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("no tensor {name:?}"))
    }
}

impl FromIterator<(String, HostTensor)> for Checkpoint {
    fn from_iter<I: IntoIterator<Item = (String, HostTensor)>>(iter: I) -> Self {
        Self {
            tensors: iter.into_iter().collect(),
        }
    }
}
