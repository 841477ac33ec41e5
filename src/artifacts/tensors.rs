//! A safetensors file as a checkpoint, and a checkpoint as the bytes of such a file.

use std::path::Path;

use bytes::Bytes;
use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    engine::network::{Checkpoint, DType, HostTensor},
    storage::{Blocking, Location},
};

use super::{
    error::ArtifactError,
    header::{Header, HeaderFault, PREFIX, data_start},
    mapping,
};

/// Read in one request when only a header is wanted: most headers are shorter.
const FIRST_READ: u64 = 64 << 10;
/// Elements a task looks at.
const CHUNK: usize = 1 << 16;

/// Opens a local file whose name, in errors, is `location`. No value is read.
///
/// # Errors
/// See [`HeaderFault`].
pub fn open(path: &Path, location: &Location) -> Result<Checkpoint, ArtifactError> {
    let bytes = mapping::map(path).map_err(|error| {
        ArtifactError::fault("unreadable", location, format!("cannot be opened: {error}"))
    })?;
    from_bytes(bytes, location)
}

/// The checkpoint in the bytes of a file, of which it stays a view.
///
/// # Errors
/// See [`HeaderFault`].
pub fn from_bytes(bytes: Bytes, location: &Location) -> Result<Checkpoint, ArtifactError> {
    let read = || -> Result<Checkpoint, HeaderFault> {
        let size = bytes.len() as u64;
        let start = data_start(&bytes, size)?;
        let header = Header::parse(&bytes[PREFIX as usize..start as usize], size)?;
        let view = |(name, entry): (String, super::header::Entry)| {
            let slice = bytes.slice(entry.range.start as usize..entry.range.end as usize);
            let tensor = HostTensor::from_bytes(entry.info.dtype, entry.info.shape, slice);
            (name, tensor.expect("the header is checked against the file"))
        };
        Ok(header.tensors.into_iter().map(view).collect())
    };
    read().map_err(|fault| located(fault, location))
}

/// The header of an object in a store, by reading its first bytes alone.
///
/// # Errors
/// `not_found`, or see [`HeaderFault`].
pub fn read_header(storage: Blocking<'_>, location: &Location) -> Result<Header, ArtifactError> {
    let size = storage.head(location)?.size;
    let first = storage.read_range(location, 0..FIRST_READ)?;
    let start = data_start(&first, size).map_err(|fault| located(fault, location))?;
    let json = if start <= first.len() as u64 {
        first.slice(PREFIX as usize..start as usize)
    } else {
        storage.read_range(location, PREFIX..start)?
    };
    Header::parse(&json, size).map_err(|fault| located(fault, location))
}

fn located(fault: HeaderFault, location: &Location) -> ArtifactError {
    ArtifactError::Fault {
        code: fault.code,
        location: location.to_string(),
        tensor: fault.tensor,
        detail: fault.detail,
    }
}

/// The first tensor, in order of name, with a NaN or infinite value, and that value's position.
pub fn first_not_finite(checkpoint: &Checkpoint) -> Option<(String, usize)> {
    let tensors: Vec<_> = checkpoint.iter().collect();
    tensors
        .into_iter()
        .find_map(|(name, tensor)| position_not_finite(tensor).map(|at| (name.to_owned(), at)))
}

/// Refuses NaN and infinite values.
///
/// # Errors
/// `not_finite`, with the tensor and the position.
pub fn check_finite(checkpoint: &Checkpoint, location: &Location) -> Result<(), ArtifactError> {
    let Some((name, position)) = first_not_finite(checkpoint) else { return Ok(()) };
    let detail = format!("element {position} is NaN or infinite; every value must be finite");
    Err(ArtifactError::tensor("not_finite", location, &name, detail))
}

fn position_not_finite(tensor: &HostTensor) -> Option<usize> {
    let bytes = tensor.bytes();
    match tensor.dtype() {
        DType::F32 => first(bytes.as_chunks().0, |&b| f32::from_le_bytes(b).is_finite()),
        DType::F16 => first(bytes.as_chunks().0, |&b| f16::from_le_bytes(b).is_finite()),
        DType::BF16 => first(bytes.as_chunks().0, |&b| bf16::from_le_bytes(b).is_finite()),
        DType::I64 | DType::I32 | DType::U8 | DType::Bool => None,
    }
}

fn first<const N: usize>(values: &[[u8; N]], finite: fn(&[u8; N]) -> bool) -> Option<usize> {
    values.par_chunks(CHUNK).enumerate().find_map_first(|(i, chunk)| {
        chunk.iter().position(|value| !finite(value)).map(|at| i * CHUNK + at)
    })
}

/// The pieces of a safetensors file: header, then every tensor's own bytes, uncopied. Tensors are
/// ordered by element size (largest first, so that all are aligned) and name: the same checkpoint
/// gives the same bytes.
pub fn to_pieces(checkpoint: &Checkpoint) -> Vec<Bytes> {
    let mut tensors: Vec<_> = checkpoint.iter().collect();
    tensors.sort_by(|a, b| b.1.dtype().size().cmp(&a.1.dtype().size()).then(a.0.cmp(b.0)));
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut pieces = vec![Bytes::new()];
    let mut position = 0;
    for (name, tensor) in tensors {
        let bytes = tensor.bytes();
        let end = position + bytes.len();
        header.insert(
            name.into(),
            json!({
                "dtype": tensor.dtype().name(),
                "shape": tensor.shape(),
                "data_offsets": [position, end],
            }),
        );
        position = end;
        pieces.push(bytes);
    }
    let mut json = Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(PREFIX as usize), b' ');
    let mut front = (json.len() as u64).to_le_bytes().to_vec();
    front.append(&mut json);
    pieces[0] = front.into();
    pieces
}

/// The checkpoint cut, in order of name, into parts of at most `limit` bytes of tensors (a larger
/// tensor is a part of its own).
pub fn shards(checkpoint: &Checkpoint, limit: u64) -> Vec<Checkpoint> {
    let mut shards = vec![Checkpoint::new()];
    let mut size = 0;
    for (name, tensor) in checkpoint.iter() {
        let bytes = (tensor.len() * tensor.dtype().size()) as u64;
        if size > 0 && size + bytes > limit {
            shards.push(Checkpoint::new());
            size = 0;
        }
        size += bytes;
        shards.last_mut().expect("one shard at least").insert(name, tensor.clone());
    }
    shards
}
