//! A safetensors file as a checkpoint, and a checkpoint as the bytes of such a file.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path, sync::Arc};

use bytes::Bytes;
use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    engine::network::{Checkpoint, DType, Elements, HostTensor},
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

/// Opens a local file of parameters whose name, in errors, is `location`. No value is read: the
/// tensors are lazy, so that memory holds what is being looked at and no more.
///
/// A read that fails later unwinds with [`InputChanged`]: remote objects are copies that nobody else
/// knows, but a `file://` input may be cut off by its owner. What changes without becoming shorter is
/// found in the end (`Storage::check_unchanged`).
///
/// # Errors
/// See [`HeaderFault`].
pub fn open_lazily(path: &Path, location: &Location) -> Result<Checkpoint, ArtifactError> {
    let broken = |error: io::Error| {
        ArtifactError::fault("unreadable", location, format!("cannot be opened: {error}"))
    };
    let name: Arc<str> = location.to_string().into();
    lazily(path, &name).map_err(broken)?.map_err(|fault| located(fault, location))
}

/// What a thread unwinds with that cannot read on, for the pipeline to catch.
#[derive(Clone, Debug)]
pub struct InputChanged {
    pub location: String,
    pub detail: String,
}

/// As [`open_lazily`], for a file that this program has written for itself.
///
/// # Errors
/// When it cannot be read or is none of ours.
pub fn open_own(path: &Path) -> io::Result<Checkpoint> {
    let name: Arc<str> = path.display().to_string().into();
    lazily(path, &name)?.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.detail))
}

fn lazily(path: &Path, name: &Arc<str>) -> io::Result<Result<Checkpoint, HeaderFault>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let read = |range: Range<u64>| {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).map(|()| bytes)
    };
    let prefix = read(0..PREFIX.min(size))?;
    let start = match data_start(&prefix, size) {
        Ok(start) => start,
        Err(fault) => return Ok(Err(fault)),
    };
    let header = match Header::parse(&read(PREFIX..start)?, size) {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let file = Arc::new(file);
    let lazy = |(tensor, entry): (String, super::header::Entry)| {
        let (dtype, file, name) = (entry.info.dtype, Arc::clone(&file), Arc::clone(name));
        let stored = Stored { file, name, start: entry.range.start, dtype };
        (tensor, HostTensor::lazy(dtype, entry.info.shape, Arc::new(stored)))
    };
    Ok(Ok(header.tensors.into_iter().map(lazy).collect()))
}

/// A tensor's place in a file.
#[derive(Debug)]
struct Stored {
    file: Arc<File>,
    /// What the file is called, for whoever hears that it broke.
    name: Arc<str>,
    start: u64,
    dtype: DType,
}

impl Stored {
    fn read(&self, range: &Range<usize>, bytes: &mut [u8]) {
        let position = self.start + (range.start * self.dtype.size()) as u64;
        if let Err(error) = self.file.read_exact_at(bytes, position) {
            let (location, detail) = (self.name.to_string(), error.to_string());
            std::panic::panic_any(InputChanged { location, detail });
        }
    }
}

impl Elements for Stored {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        if self.dtype == DType::F32 && cfg!(target_endian = "little") {
            let mut values = vec![0.0f32; range.len()];
            self.read(&range, bytemuck::cast_slice_mut(&mut values));
            return values;
        }
        self.dtype.decode(&self.bytes(range))
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        let mut bytes = vec![0; range.len() * self.dtype.size()];
        self.read(&range, &mut bytes);
        bytes.into()
    }
}

/// Opens a local file, mapped, for whoever looks here and there: samples, small tensors.
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
    let starts = (0..tensor.len()).into_par_iter().step_by(CHUNK);
    starts.find_map_first(|start| {
        let bytes = tensor.bytes_of(start..(start + CHUNK).min(tensor.len()));
        first_among(tensor.dtype(), &bytes).map(|at| start + at)
    })
}

/// The first value of these that is NaN or infinite.
fn first_among(dtype: DType, bytes: &[u8]) -> Option<usize> {
    match dtype {
        DType::F32 => first(bytes.as_chunks().0, |&b| f32::from_le_bytes(b).is_finite()),
        DType::F16 => first(bytes.as_chunks().0, |&b| f16::from_le_bytes(b).is_finite()),
        DType::BF16 => first(bytes.as_chunks().0, |&b| bf16::from_le_bytes(b).is_finite()),
        DType::I64 | DType::I32 | DType::U8 | DType::Bool => None,
    }
}

fn first<const N: usize>(values: &[[u8; N]], finite: fn(&[u8; N]) -> bool) -> Option<usize> {
    values.iter().position(|value| !finite(value))
}

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
    let Front { header, size, tensors } = front(checkpoint);
    let parts = |(_, tensor): (&str, &'_ HostTensor)| {
        let tensor = tensor.clone();
        tensor.pieces().map(move |range| tensor.bytes_of(range))
    };
    let pieces = std::iter::once(header).chain(tensors.into_iter().flat_map(parts));
    Pieces { size, pieces: Box::new(pieces) }
}

/// The same, each value looked at before it is handed out.
pub fn to_finite_pieces(checkpoint: &Checkpoint) -> FinitePieces<'_> {
    let Front { header, size, tensors } = front(checkpoint);
    let parts = |(name, tensor): (&'_ str, &'_ HostTensor)| {
        let (name, tensor) = (name.to_owned(), tensor.clone());
        tensor.pieces().map(move |range| {
            let bytes = tensor.bytes_of(range.clone());
            let step = CHUNK * tensor.dtype().size();
            let chunks = bytes.par_chunks(step).enumerate();
            let found = chunks.find_map_first(|(i, chunk)| {
                first_among(tensor.dtype(), chunk).map(|at| range.start + i * CHUNK + at)
            });
            match found {
                None => Ok(bytes),
                Some(element) => Err(NotFinite { tensor: name.clone(), element }),
            }
        })
    };
    let pieces = std::iter::once(Ok(header)).chain(tensors.into_iter().flat_map(parts));
    FinitePieces { size, pieces: Box::new(pieces) }
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
    tensors.sort_by(|a, b| b.1.dtype().size().cmp(&a.1.dtype().size()).then(a.0.cmp(b.0)));
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
    Front { header: front.into(), size, tensors }
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
        shards.last_mut().expect("one shard at least").insert(name, tensor.clone());
    }
    shards
}
