//! A safetensors file as a checkpoint, and a checkpoint as the bytes of such a file.

mod finite;
mod write;

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, DType, Elements, HostTensor},
    storage::{Blocking, Location},
};

use super::{
    error::ArtifactError,
    header::{Entry, Header, HeaderFault, PREFIX, data_start},
};

pub use finite::{check_finite, first_not_finite};
pub use write::{FinitePieces, NotFinite, Pieces, shards, to_bytes, to_finite_pieces, to_pieces};

/// Read in one request when only a header is wanted: most headers are shorter.
const FIRST_READ: u64 = 64 << 10;

/// Opens a local file of tensors whose name, in errors, is `location`. No value is read: the tensors
/// are lazy, so that memory holds what is being looked at and no more.
///
/// A read that fails later unwinds with [`InputChanged`]: remote objects are copies that nobody else
/// knows, but a `file://` input may be cut off by its owner. For the same reason nothing is mapped: who
/// touches a page behind the end of a mapped file is killed. What changes without becoming shorter is
/// found in the end (`Storage::check_unchanged`).
///
/// # Errors
/// `unreadable`, or see [`HeaderFault`].
pub fn open(path: &Path, location: &Location) -> Result<Checkpoint, ArtifactError> {
    let name: Arc<str> = location.to_string().into();
    lazily(path, &name).map_err(|fault| match fault {
        OpenFault::Header(fault) => located(fault, location),
        OpenFault::Io(error) => ArtifactError::fault(
            FailureCode::Unreadable,
            location,
            format!("cannot be opened: {error}"),
        ),
    })
}

/// As [`open`], for a file that this program has written for itself.
///
/// # Errors
/// When it cannot be read or is none of ours.
pub fn open_own(path: &Path) -> io::Result<Checkpoint> {
    let name: Arc<str> = path.display().to_string().into();
    lazily(path, &name).map_err(|fault| match fault {
        OpenFault::Io(error) => error,
        OpenFault::Header(fault) => io::Error::new(io::ErrorKind::InvalidData, fault.detail),
    })
}

/// What a thread unwinds with that cannot read on.
#[derive(Clone, Debug)]
pub struct InputChanged {
    pub location: String,
    pub detail: String,
}

impl InputChanged {
    /// Computes with lazy tensors.
    ///
    /// # Errors
    /// Where one of their files could be read no further.
    pub fn catch<T>(compute: impl FnOnce() -> T) -> Result<T, Self> {
        catch_unwind(AssertUnwindSafe(compute)).map_err(|panic| match panic.downcast::<Self>() {
            Ok(changed) => *changed,
            Err(panic) => resume_unwind(panic),
        })
    }
}

/// Why a file cannot be opened.
enum OpenFault {
    Io(io::Error),
    Header(HeaderFault),
}

impl From<io::Error> for OpenFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HeaderFault> for OpenFault {
    fn from(fault: HeaderFault) -> Self {
        Self::Header(fault)
    }
}

fn lazily(path: &Path, name: &Arc<str>) -> Result<Checkpoint, OpenFault> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let start = data_start(&read(&file, 0..PREFIX.min(size))?, size)?;
    let header = Header::parse(&read(&file, PREFIX..start)?, size)?;

    let file = Arc::new(file);
    let tensors = header
        .tensors
        .into_iter()
        .map(|(tensor, Entry { info, range })| {
            let (file, name) = (Arc::clone(&file), Arc::clone(name));
            let stored = Stored {
                file,
                name,
                start: range.start,
                dtype: info.dtype,
            };
            (
                tensor,
                HostTensor::lazy(info.dtype, info.shape, Arc::new(stored)),
            )
        });
    Ok(tensors.collect())
}

fn read(file: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
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
            // No panic hook is asked: this is an error on its way, not a bug.
            resume_unwind(Box::new(InputChanged { location, detail }));
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

/// The checkpoint in the bytes of a file, of which it stays a view.
///
/// # Errors
/// See [`HeaderFault`].
pub fn from_bytes(bytes: Bytes, location: &Location) -> Result<Checkpoint, ArtifactError> {
    views(&bytes).map_err(|fault| located(fault, location))
}

fn views(bytes: &Bytes) -> Result<Checkpoint, HeaderFault> {
    let size = bytes.len() as u64;
    let start = data_start(bytes, size)?;
    let header = Header::parse(&bytes[PREFIX as usize..start as usize], size)?;

    let tensors = header
        .tensors
        .into_iter()
        .map(|(name, Entry { info, range })| {
            let slice = bytes.slice(range.start as usize..range.end as usize);
            let tensor = HostTensor::from_bytes(info.dtype, info.shape, slice);
            (
                name,
                tensor.expect("the header is checked against the file"),
            )
        });
    Ok(tensors.collect())
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
