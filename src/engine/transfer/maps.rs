//! Linear maps from the source's channels to the target's, one for each axis of a tensor.

use std::collections::BTreeMap;

use faer::{Mat, MatRef};

use crate::tensors::{HostTensor, matmul::exact_product};

/// `R` `[d_A, d_B]` for axes of tensors; an axis without one keeps its coordinates.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    axes: BTreeMap<String, Vec<(usize, Mat<f64>)>>,
}

impl Maps {
    /// Lets an axis of a tensor be mapped by `R`: along it, entry `j` of the result is
    /// `Σ_i R[i, j] · source_i`.
    pub fn insert(&mut self, tensor: &str, axis: usize, map: Mat<f64>) {
        self.axes
            .entry(tensor.to_owned())
            .or_default()
            .push((axis, map));
    }

    /// The tensor with all its axes mapped, in f64, rounded once to f32.
    ///
    /// # Panics
    /// When an axis is not as long as its map has rows.
    #[must_use]
    pub fn apply_to(&self, name: &str, tensor: &HostTensor) -> HostTensor {
        let Some(maps) = self.axes.get(name) else {
            return tensor.clone();
        };

        let mut shape = tensor.shape().to_vec();
        let mut values: Vec<f64> = tensor.f32().iter().map(|&v| f64::from(v)).collect();
        for (axis, map) in maps {
            values = along(&values, &shape, *axis, map);
            shape[*axis] = map.ncols();
        }

        HostTensor::from_f32(shape, values.into_iter().map(|v| v as f32).collect())
    }
}

/// Contracts one axis with the map's rows: for each block of what follows the axis, `Rᵀ · block`.
fn along(values: &[f64], shape: &[usize], axis: usize, map: &Mat<f64>) -> Vec<f64> {
    let (from, to) = (shape[axis], map.ncols());
    assert_eq!(
        from,
        map.nrows(),
        "one row of the map per entry of the axis"
    );
    let before: usize = shape[..axis].iter().product();
    let after: usize = shape[axis + 1..].iter().product();
    if after == 1 {
        // One product instead of one per row.
        let rows = MatRef::from_row_major_slice(values, before, from);
        return row_major(exact_product(rows, map.as_ref()));
    }

    let mut result = Vec::with_capacity(before * to * after);
    for block in values.chunks(from * after) {
        let block = MatRef::from_row_major_slice(block, from, after);
        result.extend(row_major(exact_product(map.transpose(), block)));
    }
    result
}

fn row_major(matrix: Mat<f64>) -> Vec<f64> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    (0..rows)
        .flat_map(|i| (0..columns).map(move |j| (i, j)))
        .map(|at| matrix[at])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_is_contracted_with_the_rows_of_its_map() {
        let tensor = HostTensor::from_f32(vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let rows = Mat::from_fn(2, 2, |i, j| [[0.0, 1.0], [2.0, 0.0]][i][j]);
        let columns = Mat::from_fn(3, 1, |i, _| [1.0, 0.0, -1.0][i]);
        let mut maps = Maps::default();
        maps.insert("w", 0, rows);
        maps.insert("w", 1, columns);
        let moved = maps.apply_to("w", &tensor);
        // Rowsᵀ W = [[8, 10, 12], [1, 2, 3]]; times the column: first less last.
        assert_eq!(moved.shape(), [2, 1]);
        assert_eq!(moved.f32(), [-4.0, -2.0].as_slice());
        assert_eq!(maps.apply_to("b", &tensor).f32(), tensor.f32());
    }

    #[test]
    fn kernel_positions_are_mapped_one_by_one() {
        let tensor = HostTensor::from_f32(vec![1, 2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        let mut maps = Maps::default();
        maps.insert(
            "w",
            1,
            Mat::from_fn(2, 2, |i, j| f64::from(u8::from(i != j))),
        );
        assert_eq!(
            maps.apply_to("w", &tensor).f32(),
            [3.0, 4.0, 1.0, 2.0].as_slice()
        );
    }
}
