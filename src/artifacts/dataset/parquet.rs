//! A Parquet file of samples, as the Hugging Face hub writes it: `image` (a struct whose
//! `bytes` are an encoded PNG, JPEG or WebP; also called `img`) and `label` (or `labels`); or lists
//! `input_ids`, with `attention_mask` and `token_type_ids` where they are, and `label` or `labels`, one a row or a list
//! of one a token; for a model from sequence to sequence a list of any length; of other tasks numbers or a list of them for
//! each row, or `start_positions` and `end_positions`.
//!
//! Labels may be absent; whole numbers in a column of another name are refused then, for they may be labels.
//!
//! Read into the tensors of a safetensors dataset, which are checked in one place: images become
//! `inputs` u8 `[N, C, H, W]`, with as many channels as are wanted (1 or 3; alpha is dropped, grey becomes
//! three equal channels, colour the grey that Pillow makes of it); shorter lists of ids are filled up at
//! their end, masked and without labels.
//!
//! A few bytes can announce any number of rows and values ([`pages`]): what a file says of itself is
//! bounded before anything is read, and what it turns out to hold while it is.

mod columns;
mod header;
mod images;
mod labels;
mod look;
mod pages;
mod stored;
mod tokens;

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::AtomicU64,
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    record::{Field, Row},
};

use super::{IDS, INPUTS, LABELS, MASK, Reading, TYPES};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, DType, HostTensor, Signature},
    storage::{Location, Storage},
};
use columns::Columns;
use pages::{Budget, TooLarge};
use stored::{Local, Stored};

const IMAGES: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 2] = ["label", "labels"];
/// What may be set as samples in memory, in bytes: what is decoded here is held.
const MAX_BYTES: usize = 8 << 30;
/// What a row takes beside its values, in bytes.
const ROW_BYTES: usize = 128;
/// What a token takes: its id, whether it is seen, its type, its label.
const TOKEN_BYTES: usize = 4 * size_of::<i64>();
/// Token ids of a row.
const MAX_LIST_VALUES: usize = 1 << 20;
/// Values of a column in a row group: the reader takes up to 64 bytes for one.
const MAX_GROUP_VALUES: u64 = 1 << 26;
const MAX_PAGE_BYTES: u64 = 1 << 30;
/// What describes a file, in bytes.
const MAX_FOOTER_BYTES: u32 = 16 << 20;
/// Rows that the reader has at hand at once.
const ROWS_AT_ONCE: usize = 64;

/// What the safetensors form of a file would have as its header, from its footer and first rows: the
/// length of token ids is that of the longest among the first thousand.
///
/// # Errors
/// As [`open`].
pub fn look(
    storage: &Storage,
    location: &Location,
    reading: Reading<'_>,
) -> Result<Signature, ArtifactError> {
    let size = storage.blocking().head(location)?.size;
    let stored = Stored {
        storage: storage.clone(),
        location: location.clone(),
        size,
    };
    guarded(location, || {
        Columns::of(stored, location, look::budget(), reading.labels)?.look(reading.channels)
    })
}

/// Refuses more than may be decoded in memory, of all files of a dataset together.
///
/// # Errors
/// `dataset_too_large`.
pub fn check_held(bytes: usize, location: &Location) -> Result<(), ArtifactError> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let detail = format!(
        "is more than the {} GiB that are decoded in memory; write it as safetensors, which is not \
         held there",
        MAX_BYTES >> 30
    );

    Err(ArtifactError::fault(
        FailureCode::DatasetTooLarge,
        location,
        detail,
    ))
}

/// The samples of a local file whose name, in errors, is `location`.
///
/// # Errors
/// `malformed_parquet`, `missing_column`, `wrong_dtype`, `wrong_shape`, `malformed_image`,
/// `dataset_too_large`.
pub fn open(
    path: &Path,
    location: &Location,
    reading: Reading<'_>,
) -> Result<Checkpoint, ArtifactError> {
    let file = File::open(path).map_err(|error| {
        ArtifactError::fault(
            FailureCode::Unreadable,
            location,
            format!("cannot be opened: {error}"),
        )
    })?;
    let bytes = AtomicU64::new(MAX_BYTES as u64);
    let budget = Budget {
        values: MAX_GROUP_VALUES,
        page: MAX_PAGE_BYTES,
        bytes,
    };

    guarded(location, || {
        Columns::of(Local::from(file), location, budget, reading.labels)?.read(reading.channels)
    })
}

/// The reader of Parquet has panicked on files made to that end; a fault of the file is what it is.
fn guarded<T>(
    location: &Location,
    read: impl FnOnce() -> Result<T, ArtifactError>,
) -> Result<T, ArtifactError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ArtifactError::fault(
            FailureCode::MalformedParquet,
            location,
            "is damaged: it cannot be read",
        ))
    })
}

/// The first of the columns that the row has.
fn row_field<'r>(row: &'r Row, names: &[&str]) -> Option<&'r Field> {
    names.iter().find_map(|name| {
        row.get_column_iter()
            .find_map(|(column, field)| (column == name).then_some(field))
    })
}

type Named = (&'static str, DType, Vec<usize>, Bytes);

fn i64s(values: &[i64]) -> Bytes {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn tensors(named: impl IntoIterator<Item = Named>) -> Checkpoint {
    let tensors = named.into_iter().map(|(name, dtype, shape, bytes)| {
        let tensor = HostTensor::from_bytes(dtype, shape, bytes).expect("the bytes fill the shape");
        (name.to_owned(), tensor)
    });
    tensors.collect()
}

fn malformed(location: &Location, error: &ParquetError) -> ArtifactError {
    if let ParquetError::External(source) = error
        && let Some(error) = source.downcast_ref::<crate::storage::StorageError>()
    {
        return error.clone().into();
    }
    if let ParquetError::External(source) = error
        && let Some(error) = source.downcast_ref::<TooLarge>()
    {
        return ArtifactError::fault(FailureCode::DatasetTooLarge, location, error.to_string());
    }

    ArtifactError::fault(
        FailureCode::MalformedParquet,
        location,
        format!("cannot be read: {error}"),
    )
}
