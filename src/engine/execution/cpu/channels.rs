//! Factors and parts of the channels of tokens `[S, D]` or features `[F]`.

use rayon::prelude::*;

use super::{
    activation::CpuActivation,
    gradients::Gradients,
    loops::{rows_per_task, sums_by_column},
};
use crate::{network::Param, tensors::vectorized};

/// Every channel times its factor; in place where nobody else holds the values.
pub(super) fn scaled(x: CpuActivation, factors: &[f32]) -> CpuActivation {
    let (shape, width) = (x.shape().to_vec(), factors.len());
    let mut values = x.into_values();
    values
        .par_chunks_mut(rows_per_task(width) * width)
        .for_each(|rows| {
            vectorized(|| {
                for row in rows.chunks_mut(width) {
                    row.iter_mut().zip(factors).for_each(|(v, f)| *v *= f);
                }
            });
        });

    CpuActivation::new(values, &shape)
}

/// A value more for every channel; in place where nobody else holds the values.
pub(super) fn offset(x: CpuActivation, more: &[f32]) -> CpuActivation {
    let (shape, width) = (x.shape().to_vec(), more.len());
    let mut values = x.into_values();
    values
        .par_chunks_mut(rows_per_task(width) * width)
        .for_each(|rows| {
            vectorized(|| {
                for row in rows.chunks_mut(width) {
                    row.iter_mut().zip(more).for_each(|(v, m)| *v += m);
                }
            });
        });

    CpuActivation::new(values, &shape)
}

/// An image `[C, H, W]` as tokens `[H · W, C]`.
pub(super) fn last(x: &CpuActivation) -> CpuActivation {
    let (channels, positions) = (x.channels(), x.positions());
    CpuActivation::new(
        transposed(x.values(), [channels, positions]),
        &[positions, channels],
    )
}

/// The backward pass of [`last`]: tokens as an image of this shape.
pub(super) fn first(dy: &CpuActivation, shape: &[usize]) -> CpuActivation {
    let channels = shape.first().copied().unwrap_or(1).max(1);
    let positions = dy.size() / channels;
    CpuActivation::new(transposed(dy.values(), [positions, channels]), shape)
}

/// Every sample, `rows` of `columns`, with the two changed.
fn transposed(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let mut turned = vec![0.0; values.len()];
    let size = (rows * columns).max(1);
    turned
        .par_chunks_mut(size)
        .zip(values.par_chunks(size))
        .for_each(|(to, from)| {
            for (at, to) in to.iter_mut().enumerate() {
                *to = from[at % rows * columns + at / rows];
            }
        });

    turned
}

/// `dγ = Σ dy x` over the tokens.
pub(super) fn add_gradient_of_factors(
    gamma: &Param<1>,
    x: &CpuActivation,
    dy: &CpuActivation,
    gradients: &mut Gradients,
) {
    let width = gamma.len();
    let sums = sums_by_column(width, |columns, sums| {
        for (x, dy) in x.values().chunks(width).zip(dy.values().chunks(width)) {
            let row = x[columns.clone()].iter().zip(&dy[columns.clone()]);
            for (sum, (x, d)) in sums.iter_mut().zip(row) {
                *sum += f64::from(x * d);
            }
        }
    });
    gradients.add(&gamma.name, sums);
}

/// Channels from `part · width` on, `width` of them.
pub(super) fn part(x: &CpuActivation, part: usize, width: usize) -> CpuActivation {
    let whole = x.shape().last().copied().unwrap_or(width);
    let rows = x.values().len() / whole;
    let mut values = vec![0.0; rows * width];
    let task = rows_per_task(whole);
    values
        .par_chunks_mut(task * width)
        .zip(x.values().par_chunks(task * whole))
        .for_each(|(to, from)| {
            for (to, from) in to.chunks_mut(width).zip(from.chunks(whole)) {
                to.copy_from_slice(&from[part * width..][..width]);
            }
        });

    CpuActivation::new(values, &with_width(x.shape(), width))
}

/// The backward pass of [`part`]: zero at the other channels of this shape.
pub(super) fn whole(dy: &CpuActivation, part: usize, shape: &[usize]) -> CpuActivation {
    let width = dy.shape().last().copied().unwrap_or(1);
    let whole = shape.last().copied().unwrap_or(width);
    let rows = dy.values().len() / width;
    let mut values = vec![0.0; rows * whole];
    let task = rows_per_task(whole);
    values
        .par_chunks_mut(task * whole)
        .zip(dy.values().par_chunks(task * width))
        .for_each(|(to, from)| {
            for (to, from) in to.chunks_mut(whole).zip(from.chunks(width)) {
                to[part * width..][..width].copy_from_slice(from);
            }
        });

    CpuActivation::new(values, shape)
}

/// The shape with another last axis.
fn with_width(shape: &[usize], width: usize) -> Vec<usize> {
    let tokens = shape.split_last().map_or(&[][..], |(_, tokens)| tokens);
    [tokens, &[width]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::floats;

    #[test]
    fn channels_by_hand() {
        let x = CpuActivation::new((0..8).map(|v| v as f32).collect(), &[2, 4]);
        let second = part(&x, 1, 2);
        assert_eq!(
            (second.values(), second.shape()),
            (&[2.0, 3.0, 6.0, 7.0][..], &[2, 2][..])
        );
        let back = whole(&second, 1, &[2, 4]);
        assert_eq!(back.values(), [0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 6.0, 7.0]);

        let gamma = Param {
            name: "gamma".into(),
            shape: [4],
        };
        let y = scaled(x.clone(), &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(y.values(), [0.0, 2.0, 6.0, 12.0, 4.0, 10.0, 18.0, 28.0]);
        let mut gradients = Gradients::default();
        add_gradient_of_factors(&gamma, &x, &x, &mut gradients);
        let found = floats(gradients.into_tensors().remove("gamma").unwrap());

        assert_eq!(found, [16.0, 26.0, 40.0, 58.0]);
    }
}
