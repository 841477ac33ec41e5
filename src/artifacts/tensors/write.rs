//! A checkpoint as the bytes of a safetensors file.

use bytes::Bytes;
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::finite::CHUNK;
use crate::{
    artifacts::header::PREFIX,
    engine::tensors::{Checkpoint, HostTensor},
};

/// The bytes of a safetensors file, piece by piece.
pub struct Pieces<'a> {
    /// Bytes in all.
    pub size: u64,
    /// The header, then every tensor's own bytes; of lazy ones no more than a range at a time.
    pub pieces: Box<dyn Iterator<Item = Bytes> + 'a>,
}

/// A value that no file of ours may hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tensor {tensor:?}: element {element} is NaN or infinite")]
pub struct NotFinite {
    pub tensor: String,
    pub element: usize,
}

/// As [`Pieces`], up to the first value that is not finite.
pub struct FinitePieces<'a> {
    /// Bytes in all.
    pub size: u64,
    pub pieces: Box<dyn Iterator<Item = Result<Bytes, NotFinite>> + 'a>,
}

/// A checkpoint as a safetensors file. Tensors are ordered by element size (largest first, so that
/// all are aligned) and name: the same checkpoint gives the same bytes.
pub fn to_pieces(checkpoint: &Checkpoint) -> Pieces<'_> {
    let Front {
        header,
        size,
        tensors,
    } = front(checkpoint);
    let parts = tensors.into_iter().flat_map(|(_, tensor)| {
        let tensor = tensor.clone();
        tensor.pieces().map(move |range| tensor.bytes_of(range))
    });

    Pieces {
        size,
        pieces: Box::new(std::iter::once(header).chain(parts)),
    }
}

/// The same, each value looked at before it is handed out.
pub fn to_finite_pieces(checkpoint: &Checkpoint) -> FinitePieces<'_> {
    let Front {
        header,
        size,
        tensors,
    } = front(checkpoint);
    let parts = tensors.into_iter().flat_map(|(name, tensor)| {
        let (name, tensor) = (name.to_owned(), tensor.clone());
        tensor.pieces().map(move |range| {
            let bytes = tensor.bytes_of(range.clone());
            let step = CHUNK * tensor.dtype().size();
            let chunks = bytes.par_chunks(step).enumerate();
            let found = chunks.find_map_first(|(i, chunk)| {
                tensor
                    .dtype()
                    .first_not_finite(chunk)
                    .map(|at| range.start + i * CHUNK + at)
            });
            match found {
                None => Ok(bytes),
                Some(element) => Err(NotFinite {
                    tensor: name.clone(),
                    element,
                }),
            }
        })
    });

    FinitePieces {
        size,
        pieces: Box::new(std::iter::once(Ok(header)).chain(parts)),
    }
}

/// What stands before the tensors of a file, and their order in it.
struct Front<'a> {
    header: Bytes,
    /// Bytes of the whole file.
    size: u64,
    tensors: Vec<(&'a str, &'a HostTensor)>,
}

fn front(checkpoint: &Checkpoint) -> Front<'_> {
    let mut tensors: Vec<_> = checkpoint.iter().collect();
    tensors.sort_by(|a, b| {
        b.1.dtype()
            .size()
            .cmp(&a.1.dtype().size())
            .then(a.0.cmp(b.0))
    });
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut position = 0;

    for &(name, tensor) in &tensors {
        let end = position + tensor.len() * tensor.dtype().size();
        header.insert(
            name.into(),
            json!({
                "dtype": tensor.dtype().name(),
                "shape": tensor.shape(),
                "data_offsets": [position, end],
            }),
        );
        position = end;
    }

    let mut json = Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(PREFIX as usize), b' ');
    let mut front = (json.len() as u64).to_le_bytes().to_vec();
    front.append(&mut json);
    let size = (front.len() + position) as u64;

    Front {
        header: front.into(),
        size,
        tensors,
    }
}

/// A checkpoint as the bytes of a safetensors file, for small ones.
pub fn to_bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    to_pieces(checkpoint).pieces.flatten().collect()
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
        shards
            .last_mut()
            .expect("one shard at least")
            .insert(name, tensor.clone());
    }
    shards
}
