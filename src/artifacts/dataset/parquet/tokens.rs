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
    artifacts::{dataset::NO_TOKEN, error::ArtifactError},
    contract::codes::FailureCode,
    engine::{
        tensors::{Checkpoint, DType},
        training::cross_entropy::IGNORED,
    },
};

impl<R: ChunkReader + Clone + 'static> Columns<'_, R> {
    pub(super) fn tokens(
        &self,
        rows: impl Iterator<Item = Result<Row, ParquetError>>,
    ) -> Result<Checkpoint, ArtifactError> {
        let (mut ids, mut masks, mut types) = (Vec::new(), Vec::new(), Vec::new());
        let mut labels = Vec::new();
        let (mut of_tokens, mut longest) = (false, 0);
        for (at, row) in rows.enumerate() {
            let row = row.map_err(|error| malformed(self.location, &error))?;
            let sample = self.integers(row_field(&row, &[IDS]), IDS, at)?;
            let of_length = |column: &str, values: Vec<i64>| {
                if values.len() == sample.len() {
                    return Ok(values);
                }
                let (found, ids) = (values.len(), sample.len());
                let detail = format!("row {at} has {found} values of {column} for {ids} input_ids");
                Err(self.fault(FailureCode::WrongShape, &detail))
            };
            masks.push(match row_field(&row, &[MASK]) {
                Some(mask) => of_length(MASK, self.integers(Some(mask), MASK, at)?)?,
                None => vec![1; sample.len()],
            });
            if let Some(own) = row_field(&row, &[TYPES]) {
                types.push(of_length(TYPES, self.integers(Some(own), TYPES, at)?)?);
            }
            match row_field(&row, &LABEL_COLUMNS) {
                None if self.labels.is_none() => {}
                list @ Some(Field::ListInternal(_)) => {
                    of_tokens = true;
                    labels.push(of_length(LABELS, self.integers(list, LABELS, at)?)?);
                }
                label => labels.push(vec![self.integer(label, "label", at)?]),
            }
            ids.push(sample);
            longest = longest.max(ids[at].len());
            // As they will stand there, filled up.
            self.check_memory(ROW_BYTES + TOKEN_BYTES * longest, ids.len())?;
        }

        let length = longest;
        let labels = if of_tokens {
            filled(labels, length, IGNORED)
        } else {
            labels.concat()
        };
        let shape = vec![ids.len(), length];
        let labels_shape = if of_tokens {
            shape.clone()
        } else {
            vec![ids.len()]
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
        if self.labels.is_some() {
            named.push((LABELS, DType::I64, labels_shape, i64s(&labels)));
        }
        if self.has_types() {
            named.push((TYPES, DType::I64, shape, i64s(&filled(types, length, 0))));
        }

        Ok(tensors(named))
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

/// Rows of one length, one after the other.
fn filled(rows: Vec<Vec<i64>>, length: usize, with: i64) -> Vec<i64> {
    let filled = rows.into_iter().flat_map(|mut row| {
        row.resize(length, with);
        row
    });
    filled.collect()
}
