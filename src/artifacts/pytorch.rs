//! Tensors of a file that `torch.save` has written.
//!
//! The pickle inside is parsed by `pytorch-reader`, which executes nothing. No job ever comes here: a
//! model has to be converted first, by its owner.

use std::{io, path::Path};

use bytes::Bytes;
use pytorch_reader::{DType as Stored, PytorchError, PytorchReader};

use crate::engine::network::{Checkpoint, DType, HostTensor};

/// Why a file cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum PytorchFault {
    #[error(transparent)]
    Unreadable(#[from] PytorchError),
    #[error("there is no tensor in it{}", hint(.keys))]
    Empty { keys: Vec<String> },
    #[error("{0}")]
    Tensor(#[from] io::Error),
    #[error("{tensor} holds {dtype}, which no model of retune has")]
    DType { tensor: String, dtype: String },
}

fn hint(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!("; it has {}", keys.join(", ")) }
}

/// What checkpoints call the model's own tensors, beside those of an optimizer.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// The tensors of a file, under `key` where it nests them. Without one they are taken from the top, or
/// from the one place where training scripts put them. f64 becomes f32.
///
/// # Errors
/// When the file is none of `PyTorch`'s, has no tensors, or some of a type that no model has.
pub fn read(path: &Path, key: Option<&str>) -> Result<Checkpoint, PytorchFault> {
    let reader = match key {
        Some(key) => PytorchReader::with_top_level_key(path, key)?,
        None => PytorchReader::new(path)?,
    };
    let nested = key.is_none().then(|| nested(&reader)).flatten();
    let mut tensors = Checkpoint::default();
    for (name, tensor) in reader.tensors() {
        let name = match nested {
            Some(key) => match name.strip_prefix(key).and_then(|rest| rest.strip_prefix('.')) {
                Some(own) => own,
                None => continue,
            },
            None => name.as_str(),
        };
        tensors.insert(name.to_owned(), host(name, tensor)?);
    }
    if tensors.is_empty() {
        return Err(PytorchFault::Empty { keys: reader.keys() });
    }
    Ok(tensors)
}

/// The prefix under which a training script has put the model. One that every tensor has may be the
/// network's own (`model.fc1.weight`): it is left.
fn nested(reader: &PytorchReader) -> Option<&'static str> {
    let below = |key: &&str| {
        reader
            .tensors()
            .keys()
            .any(|name| name.strip_prefix(*key).is_some_and(|rest| rest.starts_with('.')))
    };
    let is_certain = |key: &&str| {
        let all = || reader.tensors().keys().all(|name| name.starts_with(*key));
        key.ends_with("state_dict") || !all()
    };
    NESTED.into_iter().filter(below).find(is_certain)
}

fn host(name: &str, tensor: &pytorch_reader::Tensor) -> Result<HostTensor, PytorchFault> {
    let shape = tensor.shape().to_vec();
    let dtype = match tensor.dtype() {
        Stored::F32 => DType::F32,
        Stored::F16 => DType::F16,
        Stored::BF16 => DType::BF16,
        Stored::I64 => DType::I64,
        Stored::I32 => DType::I32,
        Stored::U8 => DType::U8,
        Stored::Bool => DType::Bool,
        Stored::F64 => {
            let bytes = tensor.read()?;
            let values =
                bytes.as_chunks().0.iter().map(|&v| f64::from_ne_bytes(v) as f32).collect();
            return Ok(HostTensor::from_f32(shape, values));
        }
        other => {
            let (tensor, dtype) = (name.to_owned(), format!("{other:?}"));
            return Err(PytorchFault::DType { tensor, dtype });
        }
    };
    let bytes = Bytes::from(tensor.read()?);
    HostTensor::from_bytes(dtype, shape, bytes)
        .ok_or_else(|| io::Error::other(format!("{name} has not the bytes of its shape")).into())
}
