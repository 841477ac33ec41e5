//! The labels of rows, as the network's task has them.

use bytes::Bytes;
use parquet::{
    basic::Type as Physical,
    file::reader::ChunkReader,
    record::{Field, Row},
    schema::types::Type,
};

use super::{Columns, LABELS, Named, columns::holds_whole_numbers, i64s, row_field};
use crate::{
    artifacts::{dataset::LabelForm, error::ArtifactError},
    contract::codes::FailureCode,
    engine::{tensors::DType, training::Value},
};

impl<R: ChunkReader + Clone + 'static> Columns<'_, R> {
    /// Whether labels may have a point.
    pub(super) fn has_points(&self) -> bool {
        matches!(self.form, LabelForm::Values | LabelForm::Several)
    }

    /// The column is of numbers that the task has, or of lists of them.
    pub(super) fn check_numbers(&self, column: &Type) -> Result<(), ArtifactError> {
        let is_whole = self.form == LabelForm::Several && holds_whole_numbers(column);
        if is_whole || holds_points(column) {
            return Ok(());
        }
        let detail = format!(
            "has other numbers than the network's labels in the column {}: a regression has float or double",
            column.name()
        );
        Err(self.fault(FailureCode::WrongDtype, &detail))
    }

    /// The labels of a row, a value as [`Value`] has it.
    pub(super) fn labels_of(&self, row: &Row, at: usize) -> Result<Vec<i64>, ArtifactError> {
        let mut labels = Vec::new();
        for column in &self.labels {
            let name = column.name();
            match row_field(row, &[name]) {
                Some(Field::ListInternal(list)) => {
                    self.check_length(list.len(), at)?;
                    for field in list.elements() {
                        labels.push(self.label(Some(field), name, at)?);
                    }
                }
                field => labels.push(self.label(field, name, at)?),
            }
        }

        Ok(labels)
    }

    fn label(&self, field: Option<&Field>, name: &str, at: usize) -> Result<i64, ArtifactError> {
        let value = match field {
            Some(&Field::Float(value)) => value,
            Some(&Field::Double(value)) => value as f32,
            _ if self.form == LabelForm::Values => {
                let detail = format!("row {at} has no float or double in the column {name}");
                return Err(self.fault(FailureCode::WrongDtype, &detail));
            }
            field => return self.integer(field, name, at),
        };

        match self.form {
            LabelForm::Values => Ok(Value(value).label()),
            LabelForm::Several if [0.0, 1.0].contains(&value) => Ok(value as i64),
            _ => {
                let detail =
                    format!("row {at} has the label {value}; each of several labels is 0 or 1");
                Err(self.fault(FailureCode::LabelOutOfRange, &detail))
            }
        }
    }

    /// Refuses a row of another number of labels than the first.
    pub(super) fn check_as_many(
        &self,
        labels: &[i64],
        first: Option<&Vec<i64>>,
        at: usize,
    ) -> Result<(), ArtifactError> {
        let expected = first.map_or(labels.len(), Vec::len);
        if labels.len() == expected {
            return Ok(());
        }
        let found = labels.len();
        let detail = format!("row {at} has {found} labels, row 0 {expected}");
        Err(self.fault(FailureCode::WrongShape, &detail))
    }

    /// The labels of so many rows as a tensor.
    pub(super) fn of_labels(&self, labels: &[i64], rows: usize) -> Named {
        if self.form.may_be_of_tokens() {
            return (LABELS, DType::I64, vec![labels.len()], i64s(labels));
        }
        let shape = vec![rows, labels.len() / rows.max(1)];
        if self.form == LabelForm::Values {
            let values = labels.iter().map(|&label| Value::of_label(label).0);
            let bytes: Bytes = values.flat_map(f32::to_le_bytes).collect();
            return (LABELS, DType::F32, shape, bytes);
        }
        (LABELS, DType::I64, shape, i64s(labels))
    }
}

fn holds_points(column: &Type) -> bool {
    if column.is_primitive() {
        return [Physical::FLOAT, Physical::DOUBLE].contains(&column.get_physical_type());
    }
    matches!(column.get_fields(), [only] if holds_points(only))
}
