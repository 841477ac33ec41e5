//! A Parquet file of labelled samples, as the Hugging Face hub writes it: `image` (a struct whose
//! `bytes` are an encoded PNG, JPEG or WebP; also called `img`) and `label` (or `labels`); or lists
//! `input_ids`, with `attention_mask` and `token_type_ids` where they are, and `label` or `labels`, one a row or a list
//! of one a token.
//!
//! Read into the tensors of a safetensors dataset, which are checked in one place: images become
//! `inputs` u8 `[N, C, H, W]`, with as many channels as are wanted (1 or 3; alpha is dropped, grey becomes
//! three equal channels, colour the grey that Pillow makes of it); shorter lists of ids are filled up at
//! their end, masked and without labels.
//!
//! A few bytes can announce any number of rows and values ([`pages`]): what a file says of itself is
//! bounded before anything is read, and what it turns out to hold while it is.

mod header;
mod images;
mod look;
mod pages;
mod stored;
mod tokens;

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use parquet::{
    basic::Type as Physical,
    errors::ParquetError,
    file::{
        properties::ReaderProperties,
        reader::{ChunkReader, FileReader},
        serialized_reader::{ReadOptionsBuilder, SerializedFileReader},
    },
    record::{
        Field, Row,
        reader::{ReaderIter, TreeBuilder},
    },
    schema::types::{SchemaDescriptor, Type},
};

use super::{IDS, INPUTS, LABELS, MASK, TYPES, UNREAD};
use crate::{
    artifacts::error::ArtifactError,
    engine::tensors::{Checkpoint, DType, HostTensor, Signature},
    storage::{Location, Storage},
};
use pages::{Bounded, Budget, TooLarge};
use stored::{Local, Stored};

const IMAGES: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 2] = ["label", "labels"];
/// What may be set as samples in memory, in bytes: what is decoded here is held.
const MOST_BYTES: usize = 8 << 30;
/// What a row takes beside its values, in bytes.
const ROW: usize = 128;
/// What a token takes: its id, whether it is seen, its type, its label.
const TOKEN: usize = 4 * size_of::<i64>();
/// Token ids of a row.
const LONGEST_LIST: usize = 1 << 20;
/// Values of a column in a row group: the reader takes up to 64 bytes for one.
const MOST_VALUES: u64 = 1 << 26;
const MOST_OF_A_PAGE: u64 = 1 << 30;
/// What describes a file, in bytes.
const LONGEST_FOOTER: u32 = 16 << 20;
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
    channels: Option<usize>,
) -> Result<Signature, ArtifactError> {
    let size = storage.blocking().head(location)?.size;
    let stored = Stored { storage: storage.clone(), location: location.clone(), size };
    guarded(location, || Columns::of(stored, location, look::budget())?.look(channels))
}

/// Refuses more than may be decoded in memory, of all files of a dataset together.
///
/// # Errors
/// `dataset_too_large`.
pub fn check_room(bytes: usize, location: &Location) -> Result<(), ArtifactError> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let detail = format!(
        "is more than the {} GiB that are decoded in memory; write it as safetensors, which is not \
         held there",
        MOST_BYTES >> 30
    );
    Err(ArtifactError::fault("dataset_too_large", location, detail))
}

/// The samples of a local file whose name, in errors, is `location`.
///
/// # Errors
/// `malformed_parquet`, `missing_column`, `wrong_dtype`, `wrong_shape`, `malformed_image`,
/// `dataset_too_large`.
pub fn open(
    path: &Path,
    location: &Location,
    channels: Option<usize>,
) -> Result<Checkpoint, ArtifactError> {
    let file = File::open(path).map_err(|error| {
        ArtifactError::fault("unreadable", location, format!("cannot be opened: {error}"))
    })?;
    let bytes = AtomicU64::new(MOST_BYTES as u64);
    let budget = Budget { values: MOST_VALUES, page: MOST_OF_A_PAGE, bytes };
    guarded(location, || Columns::of(Local::from(file), location, budget)?.read(channels))
}

/// The reader of Parquet has panicked on files made to that end; a fault of the file is what it is.
fn guarded<T>(
    location: &Location,
    read: impl FnOnce() -> Result<T, ArtifactError>,
) -> Result<T, ArtifactError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ArtifactError::fault("malformed_parquet", location, "is damaged: it cannot be read"))
    })
}

/// The columns of a file that are samples.
struct Columns<'a, R: ChunkReader> {
    reader: SerializedFileReader<R>,
    file: R,
    budget: Arc<Budget>,
    location: &'a Location,
    samples: usize,
    of_images: bool,
    /// With the names they have in the file: inputs, labels, perhaps a mask and token types.
    wanted: Vec<Arc<Type>>,
}

impl<'a, R: ChunkReader + Clone + 'static> Columns<'a, R> {
    fn of(file: R, location: &'a Location, budget: Budget) -> Result<Self, ArtifactError> {
        let reader = reader(file.clone()).map_err(|error| malformed(location, &error))?;
        let described = reader.metadata().file_metadata();
        let samples = usize::try_from(described.num_rows()).unwrap_or(0);
        let fields = described.schema_descr().root_schema().get_fields();
        let named = |names: &[&str]| {
            names.iter().find_map(|name| fields.iter().find(|f| f.name() == *name)).cloned()
        };
        let missing = |what: &str| {
            let found: Vec<&str> = fields.iter().map(|field| field.name()).collect();
            let detail = format!("has no column {what}; its columns are {}", found.join(", "));
            ArtifactError::fault("missing_column", location, detail)
        };
        let image = named(&IMAGES);
        let of_images = image.is_some();
        let inputs =
            image.or_else(|| named(&[IDS])).ok_or_else(|| missing("image or input_ids"))?;
        let labels = named(&LABEL_COLUMNS).ok_or_else(|| missing("label or labels"))?;
        if let Some(unread) = UNREAD.into_iter().find(|name| named(&[*name]).is_some()) {
            let detail = format!(
                "has the column {unread}, which changes what the network computes and is not read \
                 here; leave it out"
            );
            return Err(ArtifactError::fault("unexpected_column", location, detail));
        }
        let beside = |name| (!of_images).then(|| named(&[name])).flatten();
        let wanted = [Some(inputs), Some(labels), beside(MASK), beside(TYPES)];
        let wanted = wanted.into_iter().flatten().collect();
        let budget = Arc::new(budget);
        let columns = Self { reader, file, budget, location, samples, of_images, wanted };
        columns.room(ROW, samples)?;
        for column in columns.wanted.iter().skip(usize::from(of_images)) {
            columns.check_whole_numbers(column)?;
        }
        Ok(columns)
    }

    /// The column is of whole numbers, or of lists of them.
    fn check_whole_numbers(&self, column: &Type) -> Result<(), ArtifactError> {
        if holds_whole_numbers(column) {
            return Ok(());
        }
        let detail = format!("has no whole numbers in the column {}", column.name());
        Err(self.fault("wrong_dtype", &detail))
    }

    fn read(&self, channels: Option<usize>) -> Result<Checkpoint, ArtifactError> {
        let rows = self.rows(&self.wanted, ROWS_AT_ONCE)?;
        if self.of_images { self.images(rows, channels) } else { self.tokens(rows) }
    }

    /// The rows of these columns, row group by row group.
    fn rows(
        &self,
        columns: &[Arc<Type>],
        at_once: usize,
    ) -> Result<impl Iterator<Item = Result<Row, ParquetError>>, ArtifactError> {
        let root = self.reader.metadata().file_metadata().schema_descr().root_schema();
        let schema = Type::group_type_builder(root.name()).with_fields(columns.to_vec()).build();
        let schema = schema.map_err(|error| malformed(self.location, &error))?;
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
        let rows_of = move |group| -> Result<ReaderIter, ParquetError> {
            let tree = TreeBuilder::new().with_batch_size(at_once);
            tree.as_iter(Arc::clone(&schema), &self.group(group)?)
        };
        Ok((0..self.reader.num_row_groups()).flat_map(move |group| {
            let (rows, fault) = match rows_of(group) {
                Ok(rows) => (Some(rows), None),
                Err(fault) => (None, Some(Err(fault))),
            };
            rows.into_iter().flatten().chain(fault)
        }))
    }

    fn group(&self, group: usize) -> Result<Bounded<'_, R>, ParquetError> {
        let (file, budget) = (self.file.clone(), Arc::clone(&self.budget));
        Ok(Bounded { group: self.reader.get_row_group(group)?, file, budget })
    }

    /// Refuses what would take too much memory.
    fn room(&self, size: usize, samples: usize) -> Result<(), ArtifactError> {
        if size.checked_mul(samples).is_some_and(|bytes| bytes <= MOST_BYTES) {
            return Ok(());
        }
        let detail = format!(
            "{samples} samples of {size} bytes are more than the {} GiB that are decoded in memory; \
             write them as safetensors, which is not held there",
            MOST_BYTES >> 30
        );
        Err(self.fault("dataset_too_large", &detail))
    }

    fn integer(
        &self,
        field: Option<&Field>,
        column: &str,
        at: usize,
    ) -> Result<i64, ArtifactError> {
        match field {
            Some(&Field::Bool(value)) => Ok(value.into()),
            Some(&Field::Byte(value)) => Ok(value.into()),
            Some(&Field::Short(value)) => Ok(value.into()),
            Some(&Field::Int(value)) => Ok(value.into()),
            Some(&Field::Long(value)) => Ok(value),
            Some(&Field::UByte(value)) => Ok(value.into()),
            Some(&Field::UShort(value)) => Ok(value.into()),
            Some(&Field::UInt(value)) => Ok(value.into()),
            _ => {
                let detail = format!("row {at} has no whole number in the column {column}");
                Err(self.fault("wrong_dtype", &detail))
            }
        }
    }

    fn fault(&self, code: &'static str, detail: &str) -> ArtifactError {
        ArtifactError::fault(code, self.location, detail)
    }
}

fn holds_whole_numbers(column: &Type) -> bool {
    if column.is_primitive() {
        let whole = [Physical::BOOLEAN, Physical::INT32, Physical::INT64];
        return whole.contains(&column.get_physical_type());
    }
    matches!(column.get_fields(), [only] if holds_whole_numbers(only))
}

/// The file, of which nothing but a footer of moderate length has been read.
fn reader<R: ChunkReader + 'static>(file: R) -> Result<SerializedFileReader<R>, ParquetError> {
    if let Some(at) = file.len().checked_sub(8) {
        let tail = file.get_bytes(at, 4)?;
        let length = tail.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if (u64::from(LONGEST_FOOTER)..=at).contains(&length.into()) {
            let detail = format!("is described by {length} bytes; write larger row groups");
            return Err(ParquetError::External(Box::new(TooLarge(detail))));
        }
    }
    // What is unpacked is not to be longer than announced.
    let properties = ReaderProperties::builder().set_backward_compatible_lz4(false).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    SerializedFileReader::new_with_options(file, options)
}

/// The first of the columns that the row has.
fn row_field<'r>(row: &'r Row, names: &[&str]) -> Option<&'r Field> {
    names.iter().find_map(|name| {
        row.get_column_iter().find_map(|(column, field)| (column == name).then_some(field))
    })
}

type Named = (&'static str, DType, Vec<usize>, Bytes);

fn of_labels(labels: &[i64]) -> Named {
    (LABELS, DType::I64, vec![labels.len()], i64s(labels))
}

fn i64s(values: &[i64]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn tensors(named: impl IntoIterator<Item = Named>) -> Checkpoint {
    let tensor = |(name, dtype, shape, bytes): Named| {
        let tensor = HostTensor::from_bytes(dtype, shape, bytes).expect("the bytes fill the shape");
        (name.to_owned(), tensor)
    };
    named.into_iter().map(tensor).collect()
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
        return ArtifactError::fault("dataset_too_large", location, error.to_string());
    }
    ArtifactError::fault("malformed_parquet", location, format!("cannot be read: {error}"))
}
