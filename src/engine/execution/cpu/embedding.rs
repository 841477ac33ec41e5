//! Rows of tables: by the ids of tokens, by their types, by positions. The gradient of a table is the sum over
//! the tokens that read a row, in their order.

use rayon::prelude::*;

use super::{activation::CpuActivation, gradients::Gradients, loops::rows_per_task};
use crate::{
    execution::weights::Weights,
    network::{
        Param, Token,
        program::layer::{self, Embedding, PositionEmbedding},
    },
};

/// Rows of a table's gradient that a task adds to.
const TASK_ROWS: usize = 512;

/// A table, and which of its rows each token reads.
pub(super) struct Rows<'a> {
    name: &'a str,
    width: usize,
    /// Values of the table.
    size: usize,
    numbers: Vec<usize>,
    /// Tokens of a sample.
    length: usize,
    /// The row that gets no gradient.
    constant: Option<usize>,
}

impl<'a> Rows<'a> {
    /// A masked position reads its id's row, one without a token that of id 0.
    pub fn of_ids(layer: &'a Embedding, packed: &CpuActivation) -> Self {
        Self {
            constant: layer.padding.map(|id| id as usize),
            ..Self::by(&layer.table, packed, |token| token.id)
        }
    }

    /// The same by the types beside the ids.
    pub fn of_types(table: &'a Param<2>, packed: &CpuActivation) -> Self {
        Self::by(table, packed, |token| token.token_type)
    }

    fn by(table: &'a Param<2>, packed: &CpuActivation, number: fn(Token) -> u32) -> Self {
        let numbers = packed
            .values()
            .iter()
            .map(|&packed| Token::of(packed).map_or(0, number) as usize);

        Self {
            name: &table.name,
            width: table.shape[1],
            size: table.len(),
            numbers: numbers.collect(),
            length: packed.size(),
            constant: None,
        }
    }

    /// Those of the positions of ids `[S]` or tokens `[S, D]`.
    pub fn of_positions(layer: &'a PositionEmbedding, x: &CpuActivation) -> Self {
        let (batch, length) = (x.batch(), x.shape()[0]);

        match layer {
            PositionEmbedding::Rows {
                table,
                offset,
                constant,
                ..
            } => {
                let step = usize::from(!constant);
                let of_sample = (0..length).map(|position| offset + step * position);
                Self {
                    name: &table.name,
                    width: table.shape[2],
                    size: table.len(),
                    numbers: (0..batch).flat_map(|_| of_sample.clone()).collect(),
                    length,
                    constant: None,
                }
            }
            PositionEmbedding::Counted { table, padding } => Self {
                name: &table.name,
                width: table.shape[1],
                size: table.len(),
                numbers: x
                    .values()
                    .chunks(length)
                    .flat_map(|sample| counted(sample, *padding))
                    .collect(),
                length,
                constant: None,
            },
        }
    }

    /// `[S, D]`; the table's values are in its own order.
    pub fn forward(&self, table: &[f32]) -> CpuActivation {
        let mut y = vec![0.0; self.numbers.len() * self.width];
        let rows = rows_per_task(self.width);
        y.par_chunks_mut(rows * self.width)
            .zip(self.numbers.par_chunks(rows))
            .for_each(|(y, numbers)| {
                for (y, &number) in y.chunks_mut(self.width).zip(numbers) {
                    y.copy_from_slice(&table[number * self.width..][..self.width]);
                }
            });
        CpuActivation::new(y, &[self.length, self.width])
    }

    /// Adds each token's gradient to its row. Every task has rows of its own and goes through all tokens.
    pub fn backward(&self, dy: &CpuActivation, gradients: &mut Gradients) {
        gradients.add_in_place(self.name, self.size, |sum| {
            sum.par_chunks_mut(TASK_ROWS * self.width)
                .enumerate()
                .for_each(|(task, sum)| self.add_to(sum, task * TASK_ROWS, dy.values()));
        });
    }

    /// `sum` begins with the row `first`.
    fn add_to(&self, sum: &mut [f32], first: usize, dy: &[f32]) {
        let own = first..first + sum.len() / self.width;
        for (number, dy) in self.numbers.iter().zip(dy.chunks(self.width)) {
            if own.contains(number) && self.constant != Some(*number) {
                sum[(number - first) * self.width..][..self.width]
                    .iter_mut()
                    .zip(dy)
                    .for_each(|(sum, d)| *sum += d);
            }
        }
    }
}

/// Positions counted over the ids that are not `padding`, from the row after its own; the others read that row
/// itself.
fn counted(packed: &[f32], padding: u32) -> Vec<usize> {
    let mut count = 0;
    packed
        .iter()
        .map(|&packed| {
            let is_counted = Token::of(packed).is_some_and(|token| token.id != padding);
            count += usize::from(is_counted);
            padding as usize + if is_counted { count } else { 0 }
        })
        .collect()
}

/// The rows that each position reads.
pub(super) fn positions(
    layer: &PositionEmbedding,
    x: &CpuActivation,
    weights: &Weights,
) -> CpuActivation {
    let table = match layer {
        PositionEmbedding::Rows { table, .. } => weights.host(table),
        PositionEmbedding::Counted { table, .. } => weights.host(table),
    };
    Rows::of_positions(layer, x).forward(&table)
}

/// Computed rows for the positions of ids `[S]` or tokens `[S, D]`.
pub(super) fn sinusoids(x: &CpuActivation, width: usize) -> CpuActivation {
    let length = x.shape()[0];
    let rows = layer::sinusoids(length, width);
    CpuActivation::new(rows.repeat(x.batch()), &[length, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{execution::floats, network::token::ABSENT, testing::with_threads};

    fn table(rows: usize, width: usize) -> Embedding {
        let table = Param {
            name: "table".into(),
            shape: [rows, width],
        };
        Embedding {
            table,
            padding: None,
        }
    }

    #[test]
    fn rows_are_read_and_their_gradients_added_up() {
        let table = table(4, 2);
        let values = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0];
        // Masked ids are 2 and 3; a position without a token reads row 0.
        let ids = CpuActivation::new(vec![1.0, -3.0, 1.0, -4.0, ABSENT, 0.0], &[3]);
        let rows = Rows::of_ids(&table, &ids);
        let y = rows.forward(&values);
        assert_eq!(y.shape(), [3, 2]);
        assert_eq!(
            y.values(),
            [
                10.0, 11.0, 20.0, 21.0, 10.0, 11.0, 30.0, 31.0, 0.0, 1.0, 0.0, 1.0
            ]
        );

        let dy = CpuActivation::new((1..=12).map(|v| v as f32).collect(), &[3, 2]);
        let mut gradients = Gradients::default();
        gradients.add("table", vec![100.0; 8]);
        rows.backward(&dy, &mut gradients);
        let found = floats(gradients.into_tensors().remove("table").unwrap());
        assert_eq!(
            found,
            [120.0, 122.0, 106.0, 108.0, 103.0, 104.0, 107.0, 108.0]
        );

        // Row 1 is that of padding.
        let mut gradients = Gradients::default();
        let padded = Embedding {
            padding: Some(1),
            ..table
        };
        Rows::of_ids(&padded, &ids).backward(&dy, &mut gradients);
        let found = floats(gradients.into_tensors().remove("table").unwrap());

        assert_eq!(found, [20.0, 22.0, 0.0, 0.0, 3.0, 4.0, 7.0, 8.0]);
    }

    /// As `MarianSinusoidalPositionalEmbedding` of transformers has them for four channels.
    #[test]
    fn sinusoids_are_sines_and_then_cosines() {
        let ids = CpuActivation::new(vec![0.0; 4], &[2]);
        let found = sinusoids(&ids, 4);
        assert_eq!((found.shape(), found.batch()), (&[2, 4][..], 2));
        let expected = [
            0.0,
            0.0,
            1.0,
            1.0,
            0.841_471,
            0.009_999_83,
            0.540_302_3,
            0.999_95,
        ];

        for (found, expected) in found.values().iter().zip(expected.repeat(2)) {
            assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
        }
    }

    #[test]
    fn positions_are_counted_over_ids_that_are_no_padding() {
        // Padding is id 1: its row is 1, and the first token's is 2.
        assert_eq!(counted(&[-2.0, -2.0, 5.0, 6.0], 1), [1, 1, 2, 3]);
        assert_eq!(counted(&[5.0, -7.0, 1.0, ABSENT], 1), [2, 3, 1, 1]);
    }

    #[test]
    fn sums_do_not_depend_on_the_threads() {
        let table = table(1500, 3);
        let ids: Vec<f32> = (0..4000).map(|i| ((i * 37) % 1500) as f32).collect();
        let dy: Vec<f32> = (0..12_000).map(|i| (i as f32 * 0.1).sin()).collect();
        let (ids, dy) = (
            CpuActivation::new(ids, &[40]),
            CpuActivation::new(dy, &[40, 3]),
        );
        let [one, three] = [1, 3].map(|threads| {
            with_threads(threads, || {
                let mut gradients = Gradients::default();
                Rows::of_ids(&table, &ids).backward(&dy, &mut gradients);
                floats(gradients.into_tensors().remove("table").unwrap())
            })
        });

        assert_eq!(one, three);
    }
}
