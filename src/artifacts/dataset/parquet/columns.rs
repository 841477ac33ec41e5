//! The columns of a file that are samples, and their rows.

use std::sync::Arc;

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
    schema::types::{SchemaDescPtr, SchemaDescriptor, Type},
};

use super::{
    IDS, IMAGES, LABEL_COLUMNS, MASK, MAX_BYTES, MAX_FOOTER_BYTES, ROW_BYTES, ROWS_AT_ONCE, TYPES,
    malformed,
    pages::{Bounded, Budget, TooLarge},
};
use crate::{
    artifacts::{
        dataset::{LabelForm, UNREAD, labels::ENDS, signature::OF_TOKENS},
        error::ArtifactError,
    },
    contract::codes::FailureCode,
    engine::tensors::Checkpoint,
    storage::Location,
};

/// The columns of a file that are samples.
pub struct Columns<'a, R: ChunkReader> {
    pub(super) reader: SerializedFileReader<R>,
    file: R,
    budget: Arc<Budget>,
    pub(super) location: &'a Location,
    pub(super) samples: usize,
    pub(super) of_images: bool,
    pub(super) form: LabelForm,
    /// With the names they have in the file: none, one, or both ends of answers.
    pub(super) labels: Vec<Arc<Type>>,
    /// With the names they have in the file: inputs, perhaps labels, a mask and token types.
    pub(super) wanted: Vec<Arc<Type>>,
}

impl<'a, R: ChunkReader + Clone + 'static> Columns<'a, R> {
    pub(super) fn of(
        file: R,
        location: &'a Location,
        budget: Budget,
        form: LabelForm,
    ) -> Result<Self, ArtifactError> {
        let reader = reader(file.clone()).map_err(|error| malformed(location, &error))?;
        let described = reader.metadata().file_metadata();
        let samples = usize::try_from(described.num_rows()).unwrap_or(0);
        let fields = described.schema_descr().root_schema().get_fields();
        let image = named(fields, &IMAGES);
        let of_images = image.is_some();
        let inputs = image
            .or_else(|| named(fields, &[IDS]))
            .ok_or_else(|| missing(location, fields, "image or input_ids"))?;

        let labels = labels(fields, form, location)?;
        check_all_read(fields, location)?;
        if labels.is_empty() {
            check_no_labels(fields, location)?;
        }
        if !of_images {
            check_lists(fields, location)?;
        }

        let beside: &[&str] = if of_images { &[] } else { &[MASK, TYPES] };
        let beside = beside.iter().filter_map(|name| named(fields, &[*name]));
        let wanted = [inputs]
            .into_iter()
            .chain(labels.iter().cloned())
            .chain(beside)
            .collect();
        let budget = Arc::new(budget);
        let columns = Self {
            reader,
            file,
            budget,
            location,
            samples,
            of_images,
            form,
            labels,
            wanted,
        };

        columns.check_memory(ROW_BYTES, samples)?;
        for column in columns.wanted.iter().skip(usize::from(of_images)) {
            columns.check_whole_numbers(column)?;
        }

        Ok(columns)
    }

    /// The column is of whole numbers, or of lists of them; that of labels of numbers that the task has.
    fn check_whole_numbers(&self, column: &Type) -> Result<(), ArtifactError> {
        let is_label = self
            .labels
            .iter()
            .any(|label| label.name() == column.name());
        if is_label && self.has_points() {
            return self.check_numbers(column);
        }
        if holds_whole_numbers(column) {
            return Ok(());
        }
        let detail = format!("has no whole numbers in the column {}", column.name());

        Err(self.fault(FailureCode::WrongDtype, &detail))
    }

    pub(super) fn read(&self, channels: Option<usize>) -> Result<Checkpoint, ArtifactError> {
        let rows = self.rows(&self.wanted, ROWS_AT_ONCE)?;
        if self.of_images {
            self.images(rows, channels)
        } else {
            self.tokens(rows)
        }
    }

    /// The rows of these columns, row group by row group.
    pub(super) fn rows(
        &self,
        columns: &[Arc<Type>],
        at_once: usize,
    ) -> Result<impl Iterator<Item = Result<Row, ParquetError>>, ArtifactError> {
        let root = self
            .reader
            .metadata()
            .file_metadata()
            .schema_descr()
            .root_schema();
        let schema = Type::group_type_builder(root.name())
            .with_fields(columns.to_vec())
            .build();
        let schema = schema.map_err(|error| malformed(self.location, &error))?;
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));

        Ok((0..self.reader.num_row_groups()).flat_map(move |group| {
            let (rows, fault) = match self.rows_of(group, &schema, at_once) {
                Ok(rows) => (Some(rows), None),
                Err(fault) => (None, Some(Err(fault))),
            };
            rows.into_iter().flatten().chain(fault)
        }))
    }

    fn rows_of(
        &self,
        group: usize,
        schema: &SchemaDescPtr,
        at_once: usize,
    ) -> Result<ReaderIter, ParquetError> {
        let tree = TreeBuilder::new().with_batch_size(at_once);
        tree.as_iter(Arc::clone(schema), &self.group(group)?)
    }

    pub(super) fn group(&self, group: usize) -> Result<Bounded<'_, R>, ParquetError> {
        let (file, budget) = (self.file.clone(), Arc::clone(&self.budget));
        Ok(Bounded {
            group: self.reader.get_row_group(group)?,
            file,
            budget,
        })
    }

    /// Refuses what would take too much memory.
    pub(super) fn check_memory(&self, size: usize, samples: usize) -> Result<(), ArtifactError> {
        if size
            .checked_mul(samples)
            .is_some_and(|bytes| bytes <= MAX_BYTES)
        {
            return Ok(());
        }

        let detail = format!(
            "{samples} samples of {size} bytes are more than the {} GiB that are decoded in memory; \
             write them as safetensors, which is not held there",
            MAX_BYTES >> 30
        );

        Err(self.fault(FailureCode::DatasetTooLarge, &detail))
    }

    pub(super) fn integer(
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
                Err(self.fault(FailureCode::WrongDtype, &detail))
            }
        }
    }

    pub(super) fn fault(&self, code: FailureCode, detail: &str) -> ArtifactError {
        ArtifactError::fault(code, self.location, detail)
    }
}

/// The columns of labels.
///
/// # Errors
/// `missing_column` for an answer with one end.
fn labels(
    fields: &[Arc<Type>],
    form: LabelForm,
    location: &Location,
) -> Result<Vec<Arc<Type>>, ArtifactError> {
    let whole = named(fields, &LABEL_COLUMNS);
    if form != LabelForm::Ends || whole.is_some() {
        return Ok(whole.into_iter().collect());
    }
    match ENDS.map(|name| named(fields, &[name])) {
        [None, None] => Ok(Vec::new()),
        [Some(start), Some(end)] => Ok(vec![start, end]),
        _ => Err(missing(location, fields, &ENDS.join(" beside "))),
    }
}

/// The first of these columns that there is.
fn named(fields: &[Arc<Type>], names: &[&str]) -> Option<Arc<Type>> {
    names
        .iter()
        .find_map(|name| fields.iter().find(|field| field.name() == *name))
        .cloned()
}

fn missing(location: &Location, fields: &[Arc<Type>], what: &str) -> ArtifactError {
    let found: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let detail = format!("has no column {what}; its columns are {}", found.join(", "));
    ArtifactError::fault(FailureCode::MissingColumn, location, detail)
}

/// Refuses what networks read and nobody here does.
fn check_all_read(fields: &[Arc<Type>], location: &Location) -> Result<(), ArtifactError> {
    let unread = UNREAD
        .into_iter()
        .find(|name| named(fields, &[*name]).is_some());
    let Some(unread) = unread else { return Ok(()) };
    let detail = format!(
        "has the column {unread}, which changes what the network computes and is not read here; leave it out"
    );

    Err(ArtifactError::fault(
        FailureCode::UnexpectedColumn,
        location,
        detail,
    ))
}

/// Refuses a file without labels that has other whole numbers, which may be its labels by another name.
fn check_no_labels(fields: &[Arc<Type>], location: &Location) -> Result<(), ArtifactError> {
    let numbers = fields.iter().filter(|field| holds_whole_numbers(field));
    let other = numbers
        .into_iter()
        .find(|field| ![IDS, MASK, TYPES].contains(&field.name()));
    let Some(other) = other else { return Ok(()) };
    let detail = format!(
        "has no column label or labels, and the column {} holds whole numbers; rename it if these are the \
         labels, or leave it out if the samples have none",
        other.name()
    );

    Err(ArtifactError::fault(
        FailureCode::MissingColumn,
        location,
        detail,
    ))
}

/// Refuses a list of whole numbers that a network could read beside the ids, as for the tensors of
/// [`check_signature`](crate::artifacts::dataset::signature::check_signature).
fn check_lists(fields: &[Arc<Type>], location: &Location) -> Result<(), ArtifactError> {
    let known = |name: &str| OF_TOKENS.contains(&name) || LABEL_COLUMNS.contains(&name);
    let mut lists = fields
        .iter()
        .filter(|field| !field.is_primitive() && holds_whole_numbers(field));
    let Some(list) = lists.find(|field| !known(field.name())) else {
        return Ok(());
    };

    let detail = format!(
        "has the column {}, a list of whole numbers as what a network reads beside the ids is, which is not read \
         here; leave it out, or give it its name: attention_mask, token_type_ids, labels",
        list.name()
    );

    Err(ArtifactError::fault(
        FailureCode::UnexpectedColumn,
        location,
        detail,
    ))
}

pub(super) fn holds_whole_numbers(column: &Type) -> bool {
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
        let length = tail
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if (u64::from(MAX_FOOTER_BYTES)..=at).contains(&length.into()) {
            let detail = format!("is described by {length} bytes; write larger row groups");
            return Err(ParquetError::External(Box::new(TooLarge(detail))));
        }
    }

    // What is unpacked is not to be longer than announced.
    let properties = ReaderProperties::builder()
        .set_backward_compatible_lz4(false)
        .build();
    let options = ReadOptionsBuilder::new()
        .with_reader_properties(properties)
        .build();

    SerializedFileReader::new_with_options(file, options)
}
