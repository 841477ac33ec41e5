//! Rows of token ids as sentences of one length.

use parquet::{
    errors::ParquetError,
    file::reader::ChunkReader,
    record::{Field, Row},
};

use super::{
    Columns, IDS, LABEL_COLUMNS, LABELS, MASK, MAX_LIST_VALUES, ROW_BYTES, TOKEN_BYTES, TYPES,
    i64s, malformed, row_field, tensors,
};
use crate::{
    artifacts::{
        dataset::{LabelForm, NO_TOKEN},
        error::ArtifactError,
    },
    contract::codes::FailureCode,
    engine::{
        tensors::{Checkpoint, DType},
        training::cross_entropy::IGNORED,
    },
};

/// The rows of a file as they are read.
#[derive(Default)]
struct Sentences {
    ids: Vec<Vec<i64>>,
    masks: Vec<Vec<i64>>,
    /// None, or one of each row.
    types: Vec<Vec<i64>>,
    labels: Vec<Vec<i64>>,
    /// Labels are at the tokens themselves.
    of_tokens: bool,
    longest: usize,
    /// Of the lists of labels.
    longest_row: usize,
}

impl<R: ChunkReader + Clone + 'static> Columns<'_, R> {
    pub(super) fn tokens(
        &self,
        rows: impl Iterator<Item = Result<Row, ParquetError>>,
    ) -> Result<Checkpoint, ArtifactError> {
        let mut sentences = Sentences::default();
        for (at, row) in rows.enumerate() {
            let row = row.map_err(|error| malformed(self.location, &error))?;
            self.add_sentence(&mut sentences, &row, at)?;
            self.add_labels(&mut sentences, &row)?;
            // As they will stand there, filled up.
            self.check_memory(
                ROW_BYTES + TOKEN_BYTES * sentences.longest.max(sentences.longest_row),
                sentences.ids.len(),
            )?;
        }

        Ok(self.filled_up(sentences))
    }

    fn add_sentence(
        &self,
        sentences: &mut Sentences,
        row: &Row,
        at: usize,
    ) -> Result<(), ArtifactError> {
        let ids = self.integers(row_field(row, &[IDS]), IDS, at)?;
        let place = InRow {
            at,
            tokens: ids.len(),
        };
        sentences.masks.push(match row_field(row, &[MASK]) {
            Some(mask) => self.as_many(MASK, mask, place)?,
            None => vec![1; ids.len()],
        });

        if let Some(own) = row_field(row, &[TYPES]) {
            sentences.types.push(self.as_many(TYPES, own, place)?);
        }
        sentences.longest = sentences.longest.max(ids.len());
        sentences.ids.push(ids);

        Ok(())
    }

    /// The label of the sentence that was added last, or its row of labels.
    fn add_labels(&self, sentences: &mut Sentences, row: &Row) -> Result<(), ArtifactError> {
        let tokens = sentences.ids.last().map_or(0, Vec::len);
        let at = sentences.ids.len().saturating_sub(1);
        if !self.form.may_be_of_tokens() {
            let labels = self.labels_of(row, at)?;
            self.check_as_many(&labels, sentences.labels.first(), at)?;
            sentences.labels.push(labels);
            return Ok(());
        }

        let labels = match row_field(row, &LABEL_COLUMNS) {
            None if self.labels.is_empty() => return Ok(()),
            Some(list @ Field::ListInternal(_)) => {
                sentences.of_tokens = true;
                match self.form {
                    LabelForm::Targets => self.integers(Some(list), LABELS, at)?,
                    _ => self.as_many(LABELS, list, InRow { at, tokens })?,
                }
            }
            label => vec![self.integer(label, "label", at)?],
        };
        sentences.longest_row = sentences.longest_row.max(labels.len());
        sentences.labels.push(labels);

        Ok(())
    }

    /// The integers of a list that has one for every token.
    fn as_many(
        &self,
        column: &str,
        field: &Field,
        InRow { at, tokens }: InRow,
    ) -> Result<Vec<i64>, ArtifactError> {
        let values = self.integers(Some(field), column, at)?;
        if values.len() == tokens {
            return Ok(values);
        }
        let found = values.len();
        let detail = format!("row {at} has {found} values of {column} for {tokens} input_ids");
        Err(self.fault(FailureCode::WrongShape, &detail))
    }

    fn filled_up(&self, sentences: Sentences) -> Checkpoint {
        let Sentences {
            ids,
            masks,
            types,
            labels,
            of_tokens,
            longest: length,
            longest_row,
        } = sentences;
        let shape = vec![ids.len(), length];
        let labels = if of_tokens {
            let shape = vec![ids.len(), longest_row];
            let filled = filled(labels, longest_row, IGNORED);
            (LABELS, DType::I64, shape, i64s(&filled))
        } else {
            self.of_labels(&labels.concat(), ids.len())
        };

        let mut named = vec![
            (
                IDS,
                DType::I64,
                shape.clone(),
                i64s(&filled(ids, length, NO_TOKEN)),
            ),
            (
                MASK,
                DType::I64,
                shape.clone(),
                i64s(&filled(masks, length, 0)),
            ),
        ];
        if !self.labels.is_empty() {
            named.push(labels);
        }
        if self.has_types() {
            named.push((TYPES, DType::I64, shape, i64s(&filled(types, length, 0))));
        }

        tensors(named)
    }

    fn integers(
        &self,
        field: Option<&Field>,
        column: &str,
        at: usize,
    ) -> Result<Vec<i64>, ArtifactError> {
        let Some(Field::ListInternal(list)) = field else {
            let detail = format!("row {at} has no list in the column {column}");
            return Err(self.fault(FailureCode::WrongDtype, &detail));
        };

        self.check_length(list.len(), at)?;
        list.elements()
            .iter()
            .map(|field| self.integer(Some(field), column, at))
            .collect()
    }

    pub(super) fn check_length(&self, length: usize, at: usize) -> Result<(), ArtifactError> {
        if length <= MAX_LIST_VALUES {
            return Ok(());
        }
        let detail = format!("row {at} is a list of {length}; {MAX_LIST_VALUES} is the longest");
        Err(self.fault(FailureCode::DatasetTooLarge, &detail))
    }
}

/// A row by its position, and how many tokens it has.
#[derive(Clone, Copy)]
struct InRow {
    at: usize,
    tokens: usize,
}

/// Rows of one length, one after the other.
fn filled(rows: Vec<Vec<i64>>, length: usize, with: i64) -> Vec<i64> {
    let filled = rows.into_iter().flat_map(|mut row| {
        row.resize(length, with);
        row
    });
    filled.collect()
}
