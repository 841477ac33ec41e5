//! A Parquet file of labelled samples, as the Hugging Face hub writes it: `image` (a struct whose
//! `bytes` are an encoded PNG, JPEG or WebP; also called `img`) and `label` (or `labels`); or lists
//! `input_ids`, with `attention_mask` where there is one, and `label` or `labels`, one a row or a list
//! of one a token.
//!
//! Read into the tensors of a safetensors dataset, which are checked in one place: images become
//! `inputs` u8 `[N, C, H, W]`, with as many channels as the first has (1 or 3; alpha is dropped); shorter
//! lists of ids are filled up at their end, masked and without labels.

mod stored;

use std::{
    fs::File,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use parquet::{
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        reader::{ChunkReader, FileReader},
        serialized_reader::SerializedFileReader,
    },
    record::{Field, Row},
    schema::types::Type,
};
use rayon::prelude::*;

use super::{IDS, INPUTS, LABELS, MASK};
use crate::{
    artifacts::error::ArtifactError,
    engine::{
        learning::cross_entropy::IGNORED,
        network::{Checkpoint, DType, HostTensor, Signature},
    },
    storage::{Location, Storage},
};
use stored::Stored;

const IMAGES: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 2] = ["label", "labels"];
/// What may be set as samples in memory, in bytes: what is decoded here is not mapped.
const MOST_BYTES: usize = 8 << 30;
/// The longest side of an image, and what decoding one may allocate.
const LONGEST_SIDE: u32 = 8192;
const MOST_FOR_AN_IMAGE: u64 = 512 << 20;
/// Rows of token ids that a look reads, to tell how long they are.
const ROWS_LOOKED_AT: usize = 1000;

/// What the safetensors form of a file would have as its header, from its footer and first rows: the
/// length of token ids is that of the longest among the first thousand.
///
/// # Errors
/// As [`open`].
pub fn look(storage: &Storage, location: &Location) -> Result<Signature, ArtifactError> {
    let size = storage.blocking().head(location)?.size;
    let stored = Stored { storage: storage.clone(), location: location.clone(), size };
    let (samples, checkpoint) = guarded(location, || {
        let file = Columns::of(stored, location)?;
        let rows = if file.of_images { 1 } else { ROWS_LOOKED_AT };
        Ok((file.samples, file.read(rows)?))
    })?;
    let mut signature = checkpoint.signature();
    for info in signature.values_mut() {
        info.shape[0] = samples;
    }
    Ok(signature)
}

/// The samples of a local file whose name, in errors, is `location`.
///
/// # Errors
/// `malformed_parquet`, `missing_column`, `wrong_dtype`, `wrong_shape`, `malformed_image`,
/// `dataset_too_large`.
pub fn open(path: &Path, location: &Location) -> Result<Checkpoint, ArtifactError> {
    let file = File::open(path).map_err(|error| {
        ArtifactError::fault("unreadable", location, format!("cannot be opened: {error}"))
    })?;
    guarded(location, || Columns::of(file, location)?.read(usize::MAX))
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
    location: &'a Location,
    samples: usize,
    of_images: bool,
    /// With the names they have in the file.
    wanted: Vec<Arc<Type>>,
}

impl<'a, R: ChunkReader + 'static> Columns<'a, R> {
    fn of(file: R, location: &'a Location) -> Result<Self, ArtifactError> {
        let reader = SerializedFileReader::new(file).map_err(|e| malformed(location, &e))?;
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
        let mask = (!of_images).then(|| named(&[MASK])).flatten();
        let wanted = [Some(inputs), Some(labels), mask].into_iter().flatten().collect();
        Ok(Self { reader, location, samples, of_images, wanted })
    }

    /// The first rows as tensors.
    fn read(&self, rows: usize) -> Result<Checkpoint, ArtifactError> {
        let root = self.reader.metadata().file_metadata().schema_descr().root_schema();
        let schema = Type::group_type_builder(root.name()).with_fields(self.wanted.clone()).build();
        let iterator = schema.and_then(|schema| self.reader.get_row_iter(Some(schema)));
        let iterator = iterator.map_err(|error| malformed(self.location, &error))?;
        if self.of_images {
            self.images(iterator.take(rows))
        } else {
            self.tokens(iterator.take(rows))
        }
    }

    fn images(
        &self,
        rows: impl Iterator<Item = Result<Row, ParquetError>>,
    ) -> Result<Checkpoint, ArtifactError> {
        let (mut encoded, mut labels) = (Vec::new(), Vec::new());
        for (at, row) in rows.enumerate() {
            let row = row.map_err(|error| malformed(self.location, &error))?;
            encoded.push(self.encoded(&row, at)?);
            labels.push(self.integer(row_field(&row, &LABEL_COLUMNS), "label", at)?);
        }
        let Some(first) = encoded.first() else { return Ok(no_images()) };
        let first = self.decode(first, 0)?;
        let channels = if first.color().has_color() { 3 } else { 1 };
        let (width, height) = (first.width(), first.height());
        let size = channels * width as usize * height as usize;
        let mut values = self.room(size, encoded.len())?;
        values.par_chunks_mut(size).zip(&encoded).enumerate().try_for_each(
            |(at, (sample, bytes))| {
                let image = self.decode(bytes, at)?;
                if (image.width(), image.height()) != (width, height) {
                    let detail = format!(
                        "row {at} is an image of {} × {} pixels, row 0 of {width} × {height}; \
                         scale them to one size",
                        image.width(),
                        image.height()
                    );
                    return Err(self.fault("wrong_shape", &detail));
                }
                if channels == 1 && image.color().has_color() {
                    let detail = format!("row {at} is an image in colour, row 0 in grey");
                    return Err(self.fault("wrong_shape", &detail));
                }
                set(sample, image, channels);
                Ok(())
            },
        )?;
        let shape = vec![labels.len(), channels, height as usize, width as usize];
        Ok(tensors([(INPUTS, DType::U8, shape, Bytes::from(values)), of_labels(&labels)]))
    }

    /// Zeros for the samples.
    fn room(&self, size: usize, samples: usize) -> Result<Vec<u8>, ArtifactError> {
        if let Some(bytes) = size.checked_mul(samples).filter(|&bytes| bytes <= MOST_BYTES) {
            return Ok(vec![0; bytes]);
        }
        let detail = format!(
            "{samples} samples of {size} bytes are more than the {} GiB that are decoded in memory; \
             write them as safetensors, which is not held there",
            MOST_BYTES >> 30
        );
        Err(self.fault("dataset_too_large", &detail))
    }

    fn encoded(&self, row: &Row, at: usize) -> Result<ByteArray, ArtifactError> {
        let bytes = match row_field(row, &IMAGES) {
            Some(Field::Bytes(bytes)) => Some(bytes),
            Some(Field::Group(parts)) => match row_field(parts, &["bytes"]) {
                Some(Field::Bytes(bytes)) => Some(bytes),
                _ => None,
            },
            _ => None,
        };
        bytes.cloned().ok_or_else(|| {
            let detail = format!(
                "row {at} has no bytes of an image; files beside the Parquet file are not read, so \
                 embed them"
            );
            self.fault("malformed_image", &detail)
        })
    }

    fn decode(&self, encoded: &ByteArray, at: usize) -> Result<DynamicImage, ArtifactError> {
        let decode = || -> image::ImageResult<DynamicImage> {
            let mut limits = Limits::default();
            (limits.max_image_width, limits.max_image_height) =
                (Some(LONGEST_SIDE), Some(LONGEST_SIDE));
            limits.max_alloc = Some(MOST_FOR_AN_IMAGE);
            let mut reader = ImageReader::new(Cursor::new(encoded.data())).with_guessed_format()?;
            reader.limits(limits);
            let mut decoder = reader.into_decoder()?;
            let orientation = decoder.orientation()?;
            let mut image = DynamicImage::from_decoder(decoder)?;
            image.apply_orientation(orientation);
            Ok(image)
        };
        decode().map_err(|error| {
            let detail =
                format!("row {at} is no image that can be read (PNG, JPEG, WebP): {error}");
            self.fault("malformed_image", &detail)
        })
    }

    fn tokens(
        &self,
        rows: impl Iterator<Item = Result<Row, ParquetError>>,
    ) -> Result<Checkpoint, ArtifactError> {
        let (mut ids, mut masks, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_tokens = false;
        for (at, row) in rows.enumerate() {
            let row = row.map_err(|error| malformed(self.location, &error))?;
            let sample = self.integers(row_field(&row, &[IDS]), IDS, at)?;
            let of_length = |column: &str, values: Vec<i64>| {
                if values.len() == sample.len() {
                    return Ok(values);
                }
                let (found, ids) = (values.len(), sample.len());
                let detail = format!("row {at} has {found} values of {column} for {ids} input_ids");
                Err(self.fault("wrong_shape", &detail))
            };
            masks.push(match row_field(&row, &[MASK]) {
                Some(mask) => of_length(MASK, self.integers(Some(mask), MASK, at)?)?,
                None => vec![1; sample.len()],
            });
            labels.push(match row_field(&row, &LABEL_COLUMNS) {
                list @ Some(Field::ListInternal(_)) => {
                    of_tokens = true;
                    of_length(LABELS, self.integers(list, LABELS, at)?)?
                }
                label => vec![self.integer(label, "label", at)?],
            });
            ids.push(sample);
        }
        let length = ids.iter().map(Vec::len).max().unwrap_or(0);
        self.room(length.saturating_mul(3 * size_of::<i64>()), ids.len())?;
        let labels = if of_tokens { filled(labels, length, IGNORED) } else { labels.concat() };
        let shape = vec![ids.len(), length];
        let labels_shape = if of_tokens { shape.clone() } else { vec![ids.len()] };
        Ok(tensors([
            (IDS, DType::I64, shape.clone(), i64s(&filled(ids, length, 0))),
            (MASK, DType::I64, shape, i64s(&filled(masks, length, 0))),
            (LABELS, DType::I64, labels_shape, i64s(&labels)),
        ]))
    }

    fn integers(
        &self,
        field: Option<&Field>,
        column: &str,
        at: usize,
    ) -> Result<Vec<i64>, ArtifactError> {
        let Some(Field::ListInternal(list)) = field else {
            let detail = format!("row {at} has no list in the column {column}");
            return Err(self.fault("wrong_dtype", &detail));
        };
        list.elements().iter().map(|field| self.integer(Some(field), column, at)).collect()
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

fn no_images() -> Checkpoint {
    tensors([(INPUTS, DType::U8, vec![0, 1], Bytes::new()), of_labels(&[])])
}

/// The first of the columns that the row has.
fn row_field<'r>(row: &'r Row, names: &[&str]) -> Option<&'r Field> {
    names.iter().find_map(|name| {
        row.get_column_iter().find_map(|(column, field)| (column == name).then_some(field))
    })
}

/// Sets pixels `[H, W, C]` as `[C, H, W]`.
fn set(sample: &mut [u8], image: DynamicImage, channels: usize) {
    if channels == 1 {
        sample.copy_from_slice(image.to_luma8().as_raw());
        return;
    }
    let pixels = image.to_rgb8();
    let area = sample.len() / channels;
    for (channel, plane) in sample.chunks_mut(area).enumerate() {
        for (value, pixel) in plane.iter_mut().zip(pixels.as_raw().chunks_exact(channels)) {
            *value = pixel[channel];
        }
    }
}

/// Rows of one length, one after the other.
fn filled(rows: Vec<Vec<i64>>, length: usize, with: i64) -> Vec<i64> {
    let fill = |mut row: Vec<i64>| {
        row.resize(length, with);
        row
    };
    rows.into_iter().flat_map(fill).collect()
}

type Named = (&'static str, DType, Vec<usize>, Bytes);

fn of_labels(labels: &[i64]) -> Named {
    (LABELS, DType::I64, vec![labels.len()], i64s(labels))
}

fn i64s(values: &[i64]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn tensors<const N: usize>(named: [Named; N]) -> Checkpoint {
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
    ArtifactError::fault("malformed_parquet", location, format!("cannot be read: {error}"))
}
