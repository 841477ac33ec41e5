//! `predictions.parquet`: what three models say of each sample that judged, for whoever wants to look at the
//! samples on which they differ, or to compute statistics of his own.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::{Compression, Repetition, Type as Physical, ZstdLevel},
    data_type::Int64Type,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};

/// Rows that are held as one group.
const GROUP_ROWS: usize = 1 << 16;

/// A table of whole numbers, one row a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions {
    /// Of one length.
    pub columns: Vec<Column>,
}

/// One figure of every sample; null where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub values: Vec<Option<i64>>,
}

impl Predictions {
    /// The table as a Parquet file. The same table gives the same bytes.
    ///
    /// # Errors
    /// A table that is no table.
    pub(super) fn to_parquet(&self) -> Result<Bytes, ParquetError> {
        let fields = self.columns.iter().map(|column| {
            let field = Type::primitive_type_builder(column.name, Physical::INT64);
            field
                .with_repetition(Repetition::OPTIONAL)
                .build()
                .map(Arc::new)
        });
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("predictions")
            .with_fields(fields)
            .build()?;

        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .build();
        let mut writer =
            SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
        let rows = self.columns.first().map_or(0, |column| column.values.len());

        for start in (0..rows).step_by(GROUP_ROWS) {
            let mut group = writer.next_row_group()?;
            for column in &self.columns {
                let Some(mut to) = group.next_column()? else {
                    break;
                };
                let end = (start + GROUP_ROWS).min(column.values.len());
                let rows = &column.values[start.min(end)..end];
                let values: Vec<i64> = rows.iter().copied().flatten().collect();
                let there: Vec<i16> = rows
                    .iter()
                    .map(|value| i16::from(value.is_some()))
                    .collect();
                to.typed::<Int64Type>()
                    .write_batch(&values, Some(&there), None)?;
                to.close()?;
            }
            group.close()?;
        }
        writer.into_inner().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::Field,
    };

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let table = Predictions {
            columns: vec![
                Column {
                    name: "sample",
                    values: vec![Some(0), Some(1)],
                },
                Column {
                    name: "label",
                    values: vec![Some(-3), None],
                },
            ],
        };
        let bytes = table.to_parquet().unwrap();
        assert_eq!(bytes, table.to_parquet().unwrap());
        let reader = SerializedFileReader::new(bytes).unwrap();
        let rows = reader.get_row_iter(None).unwrap().map(|row| {
            row.unwrap()
                .get_column_iter()
                .map(|(n, f)| (n.clone(), f.clone()))
                .collect::<Vec<_>>()
        });
        let expected = [
            [Field::Long(0), Field::Long(-3)],
            [Field::Long(1), Field::Null],
        ];
        for (row, expected) in rows.zip(&expected) {
            let (names, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
            assert_eq!(
                (names, &values[..]),
                (vec!["sample".into(), "label".into()], &expected[..])
            );
        }
        assert_eq!(reader.metadata().file_metadata().num_rows(), 2);
    }
}
