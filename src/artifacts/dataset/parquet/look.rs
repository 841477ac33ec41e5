//! What the first rows of a file say of its samples. A plan asks, within the service: little is read.

use std::sync::atomic::AtomicU64;

use image::ImageDecoder;
use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType},
    errors::ParquetError,
    file::reader::{ChunkReader, FileReader, RowGroupReader},
};

use super::{
    Columns, IDS, INPUTS, LABELS, MASK, ROW_BYTES, TOKEN_BYTES, TYPES,
    images::{decoder, no_images},
    malformed,
    pages::Budget,
};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::tensors::{DType, Signature, TensorInfo},
};

/// Rows of token ids that are looked at, and after how many ids no more are.
const MAX_ROWS: usize = 1000;
const MAX_TOKENS: usize = 1 << 20;
const ROWS_AT_ONCE: usize = 16;

/// Pages of images are large in the file too; runs of ids are not.
pub fn budget() -> Budget {
    Budget {
        values: 1 << 22,
        page: 32 << 20,
        bytes: AtomicU64::new(1 << 30),
    }
}

impl<R: ChunkReader + Clone + 'static> Columns<'_, R> {
    pub fn look(&self, channels: Option<usize>) -> Result<Signature, ArtifactError> {
        let mut signature = if self.of_images {
            self.first_image(channels)?
        } else {
            self.tokens_of_rows()?
        };

        for info in signature.values_mut() {
            info.shape[0] = self.samples;
        }
        Ok(signature)
    }

    fn first_image(&self, wanted: Option<usize>) -> Result<Signature, ArtifactError> {
        let labels = (!self.labels.is_empty()).then(|| self.of_labels(&[], 0));
        let mut signature = no_images(labels).signature();
        self.correct_labels(&mut signature)?;
        let Some(row) = self.rows(&self.wanted[..1], 1)?.next() else {
            return Ok(signature);
        };

        let row = row.map_err(|error| malformed(self.location, &error))?;
        let encoded = self.encoded(&row, 0)?;
        let shape = shape_of(&encoded, wanted).map_err(|error| self.no_image(0, &error))?;
        self.check_memory(shape[1..].iter().product(), self.samples)?;
        signature.insert(
            INPUTS.into(),
            TensorInfo {
                dtype: DType::U8,
                shape,
            },
        );

        Ok(signature)
    }

    fn tokens_of_rows(&self) -> Result<Signature, ArtifactError> {
        let Some(length) = self.longest_list(IDS)? else {
            let detail = format!("has no list in the column {IDS}");
            return Err(self.fault(FailureCode::WrongDtype, &detail));
        };

        let label_row = match self.labels.first() {
            Some(column) if !column.is_primitive() => self.longest_list(column.name())?,
            _ => None,
        };
        for length in [Some(length), label_row].into_iter().flatten() {
            self.check_length(length, 0)?;
            self.check_memory(ROW_BYTES + TOKEN_BYTES * length, self.samples)?;
        }
        let ids = vec![0, length];
        let labels = self.labels.first().map(|_| {
            let shape: Vec<usize> = [0].into_iter().chain(label_row).collect();
            (LABELS, shape)
        });

        let types = self.has_types().then(|| (TYPES, ids.clone()));
        let shapes = [(IDS, ids.clone()), (MASK, ids)]
            .into_iter()
            .chain(labels)
            .chain(types);
        let named = shapes.map(|(name, shape)| {
            (
                name.to_owned(),
                TensorInfo {
                    dtype: DType::I64,
                    shape,
                },
            )
        });

        let mut signature: Signature = named.collect();
        self.correct_labels(&mut signature)?;

        Ok(signature)
    }

    /// Labels of a task that has several for each row are as many as the first row has.
    fn correct_labels(&self, signature: &mut Signature) -> Result<(), ArtifactError> {
        if self.labels.is_empty() || self.form.may_be_of_tokens() {
            return Ok(());
        }
        let Some(row) = self.rows(&self.labels, 1)?.next() else {
            return Ok(());
        };

        let row = row.map_err(|error| malformed(self.location, &error))?;
        let first = self.labels_of(&row, 0)?;
        let (_, dtype, shape, _) = self.of_labels(&first, 1);
        signature.insert(LABELS.into(), TensorInfo { dtype, shape });

        Ok(())
    }

    pub(super) fn has_types(&self) -> bool {
        self.wanted.iter().any(|column| column.name() == TYPES)
    }

    /// Of a column among the first rows; `None` where they are no lists.
    fn longest_list(&self, name: &str) -> Result<Option<usize>, ArtifactError> {
        self.longest_of(name)
            .map_err(|error| malformed(self.location, &error))
    }

    fn longest_of(&self, name: &str) -> Result<Option<usize>, ParquetError> {
        let mut lists = Lists::default();
        for group in 0..self.reader.num_row_groups() {
            let group = self.group(group)?;
            let columns = group.metadata().columns();
            let at = columns.iter().position(|column| {
                column
                    .column_path()
                    .parts()
                    .first()
                    .is_some_and(|root| root == name)
            });
            let Some(at) = at else { return Ok(None) };
            if columns[at].column_descr().max_rep_level() != 1 {
                return Ok(None);
            }
            let full = columns[at].column_descr().max_def_level();
            match group.get_column_reader(at)? {
                ColumnReader::Int32ColumnReader(reader) => lists.read(reader, full)?,
                ColumnReader::Int64ColumnReader(reader) => lists.read(reader, full)?,
                _ => return Ok(None),
            }
            if lists.is_enough() {
                break;
            }
        }

        Ok(Some(lists.longest))
    }
}

/// The shape of a set of such images, without any.
fn shape_of(encoded: &ByteArray, wanted: Option<usize>) -> image::ImageResult<Vec<usize>> {
    let mut decoder = decoder(encoded)?;
    let own = if decoder.color_type().has_color() {
        3
    } else {
        1
    };

    let channels = super::images::channels(wanted, own);

    let (width, height) = decoder.dimensions();
    let turned = decoder.orientation()?.to_exif() > 4;
    let (width, height) = if turned {
        (height, width)
    } else {
        (width, height)
    };

    Ok(vec![0, channels, height as usize, width as usize])
}

/// How long lists are.
#[derive(Default)]
struct Lists {
    rows: usize,
    tokens: usize,
    /// The length so far of the one that is being read.
    length: usize,
    longest: usize,
}

impl Lists {
    fn is_enough(&self) -> bool {
        self.rows >= MAX_ROWS || self.tokens >= MAX_TOKENS
    }

    /// `full` is the definition level of a value that is there.
    fn read<T: DataType>(
        &mut self,
        mut reader: ColumnReaderImpl<T>,
        full: i16,
    ) -> Result<(), ParquetError> {
        let (mut there, mut begins, mut values) = (Vec::new(), Vec::new(), Vec::new());
        while !self.is_enough() {
            there.clear();
            begins.clear();
            values.clear();
            let at_once = ROWS_AT_ONCE.min(MAX_ROWS - self.rows);
            let (rows, _, levels) =
                reader.read_records(at_once, Some(&mut there), Some(&mut begins), &mut values)?;
            if (rows, levels) == (0, 0) {
                break;
            }
            (self.rows, self.tokens) = (self.rows + rows, self.tokens + levels);
            for (level, begin) in there.iter().zip(&begins) {
                self.length = if *begin == 0 { 0 } else { self.length };
                self.length += usize::from(*level == full);
                self.longest = self.longest.max(self.length);
            }
        }

        Ok(())
    }
}
