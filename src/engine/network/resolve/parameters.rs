//! The tensors of a node, by their names and shapes.

use super::Resolver;
use crate::{
    network::{error::GraphError, program::Param},
    tensors::TensorInfo,
};

impl Resolver<'_> {
    pub(super) fn tensor(&self, name: &str) -> Result<Option<&TensorInfo>, GraphError> {
        match self.signature.get(name) {
            Some(info) if !info.dtype.is_float() => Err(GraphError::WrongDType {
                tensor: name.to_owned(),
                found: info.dtype.name().into(),
            }),
            found => Ok(found),
        }
    }

    pub(super) fn missing(&self, tensor: String) -> GraphError {
        GraphError::MissingTensor {
            tensor,
            node: self.node.id.clone(),
        }
    }

    /// The weight, without empty axes.
    pub(super) fn weight<const RANK: usize>(&self, param: &str) -> Result<Param<RANK>, GraphError> {
        let name = format!("{param}.weight");
        let Some(info) = self.tensor(&name)? else {
            return Err(self.missing(name));
        };

        match info.shape.as_slice().try_into() {
            Ok(shape) if !info.shape.contains(&0) => Ok(Param { name, shape }),
            _ => {
                let expected = format!("rank {RANK} without empty axes");
                Err(GraphError::WrongShape {
                    tensor: name,
                    expected,
                    found: info.shape.clone(),
                })
            }
        }
    }

    /// A vector with one entry a channel, where the model has it.
    pub(super) fn vector(
        &self,
        name: String,
        channels: usize,
    ) -> Result<Option<Param<1>>, GraphError> {
        match self.tensor(&name)? {
            Some(info) if info.shape == [channels] => Ok(Some(Param {
                name,
                shape: [channels],
            })),
            Some(info) => {
                let expected = format!("[{channels}]");
                Err(GraphError::WrongShape {
                    tensor: name,
                    expected,
                    found: info.shape.clone(),
                })
            }
            None => Ok(None),
        }
    }

    pub(super) fn needed_vector(
        &self,
        name: String,
        channels: usize,
    ) -> Result<Param<1>, GraphError> {
        let found = self.vector(name.clone(), channels)?;
        found.ok_or_else(|| self.missing(name))
    }
}

impl<const RANK: usize> Param<RANK> {
    pub(super) fn misfit(&self, expected: String) -> GraphError {
        let (tensor, found) = (self.name.clone(), self.shape.to_vec());
        GraphError::WrongShape {
            tensor,
            expected,
            found,
        }
    }
}
