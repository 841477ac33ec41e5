//! Tensors of a file that `torch.save` has written.
//!
//! The pickle inside is parsed by `pytorch-reader`, which executes nothing. No job ever comes here: a
//! model has to be converted first, by its owner.

use std::{io, path::Path};

use bytes::Bytes;
use pytorch_reader::{DType as Stored, PickleValue, PytorchError, PytorchReader};

use crate::engine::tensors::{Checkpoint, DType, HostTensor};

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
    if keys.is_empty() {
        String::new()
    } else {
        format!("; it has {}", keys.join(", "))
    }
}

/// What checkpoints call the model's own tensors, beside those of an optimizer.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// The tensors of a file, under `key` where it nests them. Without one they are taken from the top, or
/// from the dictionary into which training scripts put them. f64 becomes f32.
///
/// # Errors
/// When the file is none of `PyTorch`'s, has no tensors, or some of a type that no model has.
pub fn read(path: &Path, key: Option<&str>) -> Result<Checkpoint, PytorchFault> {
    let (reader, prefix) = if let Some(key) = key {
        (PytorchReader::with_top_level_key(path, key)?, String::new())
    } else {
        let nesting = nesting(&PytorchReader::read_pickle_data(path, None)?);
        (PytorchReader::new(path)?, nesting)
    };

    let mut tensors = Checkpoint::default();
    for (name, tensor) in reader.tensors() {
        if let Some(own) = name.strip_prefix(&prefix) {
            tensors.insert(own.to_owned(), host(own, tensor)?);
        }
    }

    if tensors.is_empty() {
        return Err(PytorchFault::Empty {
            keys: reader.keys(),
        });
    }

    Ok(tensors)
}

/// The prefix that flat names have of the dictionaries in which a training script has put the model. A
/// state dict holds no dictionaries, whatever its names begin with.
fn nesting(root: &PickleValue) -> String {
    let (mut at, mut prefix) = (root, String::new());
    while let PickleValue::Dict(entries) = at {
        let nested = |key: &&str| entries.get(*key).filter(|value| holds_tensors(value));
        let Some((key, value)) = NESTED.iter().find_map(|key| Some((key, nested(key)?))) else {
            break;
        };
        prefix.push_str(key);
        prefix.push('.');
        at = value;
    }
    prefix
}

/// Whether a value is a dictionary with tensors in it, at whatever depth.
fn holds_tensors(value: &PickleValue) -> bool {
    let PickleValue::Dict(entries) = value else {
        return false;
    };
    entries.values().any(|value| match value {
        PickleValue::Unsupported(kind) => kind.ends_with("Tensor"),
        nested => holds_tensors(nested),
    })
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
            let values = bytes
                .as_chunks()
                .0
                .iter()
                .map(|&v| f64::from_ne_bytes(v) as f32)
                .collect();
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
