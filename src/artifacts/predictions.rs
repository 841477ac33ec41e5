//! `predictions.parquet`: what three models say of each sample that judged, for whoever wants to look at the
//! samples on which they differ, or to compute statistics of his own.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::{Compression, Repetition, Type as Physical, ZstdLevel},
    data_type::{DataType, FloatType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::Type,
};

/// Rows that are held as one group.
const GROUP_ROWS: usize = 1 << 16;

/// A table with one row for each sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Of one length.
    pub columns: Vec<Column>,
}

/// One figure of every sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub figures: Figures,
}

/// Figures of one type; null where there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Figures {
    /// Classes, counts and positions.
    Whole(Vec<Option<i64>>),
    /// What a regression tells. Those that are no finite number are null.
    Values(Vec<Option<f32>>),
}

impl Figures {
    fn len(&self) -> usize {
        match self {
            Self::Whole(figures) => figures.len(),
            Self::Values(figures) => figures.len(),
        }
    }

    fn physical(&self) -> Physical {
        match self {
            Self::Whole(_) => Physical::INT64,
            Self::Values(_) => Physical::FLOAT,
        }
    }

    /// Writes the rows from `start` on, [`GROUP_ROWS`] at most.
    fn write(&self, to: &mut SerializedColumnWriter<'_>, start: usize) -> Result<(), ParquetError> {
        let end = (start + GROUP_ROWS).min(self.len());
        let rows = start.min(end)..end;
        match self {
            Self::Whole(figures) => write::<Int64Type>(to, &figures[rows]),
            Self::Values(figures) => write::<FloatType>(to, &figures[rows]),
        }
    }
}

fn write<T: DataType>(
    to: &mut SerializedColumnWriter<'_>,
    figures: &[Option<T::T>],
) -> Result<(), ParquetError> {
    let there = figures.iter().map(|figure| i16::from(figure.is_some()));
    let there: Vec<i16> = there.collect();
    let figures: Vec<T::T> = figures.iter().flatten().cloned().collect();

    to.typed::<T>().write_batch(&figures, Some(&there), None)?;
    Ok(())
}

impl Predictions {
    /// The table as a Parquet file. The same table gives the same bytes.
    ///
    /// # Errors
    /// A table that is no table.
    pub(super) fn to_parquet(&self) -> Result<Bytes, ParquetError> {
        let fields = self.columns.iter().map(|column| {
            let physical = column.figures.physical();
            let field = Type::primitive_type_builder(&column.name, physical);
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
        let rows = self
            .columns
            .first()
            .map_or(0, |column| column.figures.len());

        for start in (0..rows).step_by(GROUP_ROWS) {
            let mut group = writer.next_row_group()?;
            for column in &self.columns {
                let Some(mut to) = group.next_column()? else {
                    break;
                };
                column.figures.write(&mut to, start)?;
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
                    name: "sample".into(),
                    figures: Figures::Whole(vec![Some(0), Some(1)]),
                },
                Column {
                    name: "label".into(),
                    figures: Figures::Whole(vec![Some(-3), None]),
                },
                Column {
                    name: "result".into(),
                    figures: Figures::Values(vec![None, Some(0.25)]),
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
            [Field::Long(0), Field::Long(-3), Field::Null],
            [Field::Long(1), Field::Null, Field::Float(0.25)],
        ];
        for (row, expected) in rows.zip(&expected) {
            let (names, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
            assert_eq!(
                (names, &values[..]),
                (
                    vec!["sample".into(), "label".into(), "result".into()],
                    &expected[..]
                )
            );
        }
        assert_eq!(reader.metadata().file_metadata().num_rows(), 2);
    }
}
