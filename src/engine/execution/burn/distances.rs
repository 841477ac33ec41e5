//! Scores of distances beside those of tokens (He et al. 2021, section 3.1).

use burn::tensor::{Int, Tensor, TensorData};

use super::activation::BurnActivation;
use crate::network::{op::Distances, program::layer::Attention};

/// What distances are, `[1, 2 s, heads · d]` or one for each sample.
#[derive(Default)]
pub(super) struct OfDistances {
    /// What the queries meet.
    keys: Option<Tensor<3>>,
    /// What the keys meet.
    queries: Option<Tensor<3>>,
}

impl OfDistances {
    /// Taken from behind the values.
    pub fn taken(layer: &Attention, rest: &mut Vec<BurnActivation>) -> Self {
        let Some(distances) = &layer.distances else {
            return Self::default();
        };
        let width = layer.heads * layer.head_size;
        let queries = if distances.queries { rest.pop() } else { None };
        let keys = if distances.keys { rest.pop() } else { None };
        Self {
            keys: keys.map(|x| x.tokens(width)),
            queries: queries.map(|x| x.tokens(width)),
        }
    }
}

/// `[B, heads, S, S]`, to be added to the products of queries and keys, which are `[B, heads, S, d]`.
pub(super) fn of_distances(
    layer: &Distances,
    of: OfDistances,
    [queries, keys]: [Tensor<4>; 2],
) -> Tensor<4> {
    let length = queries.dims()[2];
    let of_queries = of.keys.map(|table| {
        let rows = layer.rows(length, table.dims()[1]);
        met(queries, table, rows)
    });
    let of_keys = of.queries.map(|table| {
        let rows = layer.rows(length, table.dims()[1]);
        met(keys, table, transposed(&rows, length)).swap_dims(2, 3)
    });
    match (of_queries, of_keys) {
        (Some(a), Some(b)) => a + b,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => unreachable!("a resolved layer has one of them"),
    }
}

/// Each of `x`, `[B, heads, S, d]`, times the rows of a table that stand beside it in `rows`, `[S, S]`.
fn met(x: Tensor<4>, table: Tensor<3>, rows: Vec<f32>) -> Tensor<4> {
    let [batch, heads, length, size] = x.dims();
    let [tables, count, _] = table.dims();
    let table = table
        .reshape([tables, count, heads, size])
        .swap_dims(1, 2)
        .expand([batch, heads, count, size]);
    let all = x.matmul(table.swap_dims(2, 3));

    let rows: Tensor<4> =
        Tensor::from_data(TensorData::new(rows, [1, 1, length, length]), &all.device());
    let rows: Tensor<4, Int> = rows.int().expand([batch, heads, length, length]);
    all.gather(3, rows)
}

fn transposed(rows: &[f32], length: usize) -> Vec<f32> {
    (0..length * length)
        .map(|i| rows[i % length * length + i / length])
        .collect()
}

impl Distances {
    /// The row of a table of so many for each query and key, `[S, S]`.
    fn rows(&self, length: usize, count: usize) -> Vec<f32> {
        let middle = (count / 2) as i64;
        let row = |i: usize| {
            let distance = (i / length) as i64 - (i % length) as i64;
            (self.bucket(distance) + middle).clamp(0, count as i64 - 1) as f32
        };
        (0..length * length).map(row).collect()
    }

    /// The bucket of a distance, of its sign.
    fn bucket(&self, distance: i64) -> i64 {
        let single = self
            .buckets
            .map_or(i64::MAX, |buckets| (buckets / 2) as i64);
        if distance.abs() <= single {
            return distance;
        }
        // As the library: a distance at the edge of a bucket depends on the rounding of f32.
        let single_f32 = single as f32;
        let whole = ((self.max_distance as f64 - 1.0) / single as f64) as f32;
        let share = (distance.abs() as f32 / single_f32).ln() / whole.ln();
        let bucket = (share * (single_f32 - 1.0)).ceil() as i64 + single;
        bucket * distance.signum()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::execution::floats;

    fn tensor<const D: usize>(values: &[f32], dims: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    fn layer(buckets: Option<usize>, max_distance: usize) -> Distances {
        Distances {
            keys: true,
            queries: true,
            buckets,
            max_distance,
        }
    }

    /// As `make_log_bucket_position` of transformers 5.24 has them.
    #[test]
    fn buckets_begin_where_the_librarys_do() {
        let first = |layer: &Distances| -> Vec<i64> {
            let begins = (1..512).filter(|&d| layer.bucket(d) != layer.bucket(d - 1));
            begins.collect()
        };
        let small = layer(Some(6), 9);
        assert_eq!(
            first(&small),
            [1, 2, 3, 4, 5, 9, 14, 22, 35, 57, 93, 152, 248, 405]
        );
        assert_eq!(
            [small.bucket(9), small.bucket(-9), small.bucket(-3)],
            [6, -6, -3]
        );
        let of_64 = first(&layer(Some(64), 512));
        assert_eq!(of_64[..33], (1..=33).collect::<Vec<i64>>());
        let beyond = [
            35, 39, 42, 46, 51, 55, 60, 66, 72, 79, 86, 94, 103, 112, 123, 134, 147, 160, 175, 192,
            210, 229, 250, 274, 299, 327, 358, 391, 428, 468,
        ];
        assert_eq!(of_64[33..], beyond);
        let last = &first(&layer(Some(256), 512));
        assert_eq!(last[last.len() - 4..], [490, 495, 500, 506]);
        assert_eq!(layer(Some(256), 512).bucket(511), 255);
        assert_eq!(layer(None, 4).bucket(-40), -40);
    }

    /// Two positions of two heads of one channel. Rows of the tables: distances −2, −1, 0 and 1.
    #[test]
    fn queries_and_keys_meet_the_row_of_their_distance() {
        let table = |values: &[f32]| Some(tensor(values, [1, 4, 2]));
        let (queries, keys) = (
            tensor(&[1.0, 2.0, 10.0, 20.0], [1, 2, 2, 1]),
            tensor(&[3.0, 4.0, 30.0, 40.0], [1, 2, 2, 1]),
        );
        let numbers: Vec<f32> = (1..9u8).map(f32::from).collect();
        let alone = OfDistances {
            keys: table(&numbers),
            queries: None,
        };
        // The first head's entries are 1, 3, 5, 7; the query of position 0 meets 5 of its own and 3 of the next.
        let found = of_distances(&layer(None, 4), alone, [queries.clone(), keys.clone()]);
        assert_eq!(
            floats(found),
            [5.0, 3.0, 14.0, 10.0, 60.0, 40.0, 160.0, 120.0]
        );

        let alone = OfDistances {
            keys: None,
            queries: table(&numbers),
        };
        // The key of position 1 meets 3 as it is read by position 0, one before it.
        let found = of_distances(&layer(None, 4), alone, [queries, keys]);
        assert_eq!(
            floats(found),
            [15.0, 12.0, 21.0, 20.0, 180.0, 160.0, 240.0, 240.0]
        );
    }
}
