//! Channels side by side, and one value for each channel of an image.

use rayon::prelude::*;

use super::activation::CpuActivation;
use crate::network::Inputs;

/// `[C, H, W]` times a value for each channel, `[C]` or `[C, 1, 1]`.
pub(super) fn gated(x: CpuActivation, values: CpuActivation) -> CpuActivation {
    let (shape, positions) = (x.shape().to_vec(), x.positions());
    let mut y = x.into_values();
    y.par_chunks_mut(positions)
        .with_min_len(16)
        .zip(values.values())
        .for_each(|(plane, value)| plane.iter_mut().for_each(|v| *v *= value));
    CpuActivation::new(y, &shape)
}

/// The gradients of the image and of its channels' values.
pub(super) fn gate_gradients(
    x: &CpuActivation,
    values: &CpuActivation,
    dy: CpuActivation,
) -> [CpuActivation; 2] {
    let positions = x.positions();
    let planes = x.values().par_chunks(positions);
    let of_values = planes
        .zip(dy.values().par_chunks(positions))
        .map(|(x, dy)| {
            let terms = x.iter().zip(dy).map(|(x, d)| f64::from(x * d));
            terms.sum::<f64>() as f32
        });
    let of_values = CpuActivation::new(of_values.collect(), values.shape());
    [gated(dy, values.clone()), of_values]
}

/// The channels of all inputs, one behind the other.
pub(super) fn concatenated(inputs: &Inputs<CpuActivation>) -> CpuActivation {
    let shapes = inputs.map(|x| x.shape().to_vec());
    let (rows, mut shape) = (rows_of(&shapes.first), shapes.first.clone());
    let axis = channel_axis(&shape);
    shape[axis] = shapes.iter().map(|shape| shape[axis]).sum();

    let mut values = Vec::with_capacity(inputs.iter().map(|x| x.values().len()).sum());
    for row in 0..inputs.first.batch() * rows {
        for x in inputs.iter() {
            let width = x.size() / rows;
            values.extend_from_slice(&x.values()[row * width..][..width]);
        }
    }

    CpuActivation::new(values, &shape)
}

/// The backward pass of [`concatenated`]: the gradient of each input, of these shapes.
pub(super) fn parted(dy: &CpuActivation, shapes: &Inputs<Vec<usize>>) -> Vec<CpuActivation> {
    let rows = rows_of(&shapes.first);
    let whole = dy.size() / rows;
    let mut start = 0;
    let mut parts = Vec::with_capacity(shapes.rest.len() + 1);
    for shape in shapes.iter() {
        let width = shape.iter().product::<usize>() / rows;
        let values = dy.values().chunks(whole);
        let values = values.flat_map(|row| row[start..start + width].iter().copied());
        parts.push(CpuActivation::new(values.collect(), shape));
        start += width;
    }

    parts
}

/// Rows of a sample whose channels lie together: its tokens; of an image, whose channels come first, one.
fn rows_of(shape: &[usize]) -> usize {
    if let [tokens, _] = shape { *tokens } else { 1 }
}

fn channel_axis(shape: &[usize]) -> usize {
    usize::from(shape.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(shapes: [&[usize]; 2]) -> Inputs<CpuActivation> {
        let [first, second] = shapes.map(|shape| {
            let size = 2 * shape.iter().product::<usize>();
            CpuActivation::new((0..size).map(|v| v as f32).collect(), shape)
        });
        Inputs {
            first,
            rest: vec![second],
        }
    }

    #[test]
    fn channels_lie_side_by_side_and_come_apart() {
        let shapes: [[&[usize]; 2]; 3] =
            [[&[2], &[1]], [&[2, 2], &[2, 1]], [&[1, 2, 2], &[2, 2, 2]]];
        for shapes in shapes {
            let inputs = inputs(shapes);
            let y = concatenated(&inputs);
            assert_eq!(y.batch(), 2);
            let parts = parted(&y, &inputs.map(|x| x.shape().to_vec()));
            for (part, x) in parts.iter().zip(inputs.iter()) {
                assert_eq!((part.values(), part.shape()), (x.values(), x.shape()));
            }
        }
        let tokens = concatenated(&inputs([&[2, 2], &[2, 1]]));

        assert_eq!(tokens.values()[..6], [0.0, 1.0, 0.0, 2.0, 3.0, 1.0]);
    }

    #[test]
    fn every_channel_has_its_value() {
        let x = CpuActivation::new(vec![1.0, 2.0, 3.0, 4.0], &[2, 1, 2]);
        let values = CpuActivation::new(vec![10.0, 0.5], &[2, 1, 1]);
        let y = gated(x.clone(), values.clone());
        assert_eq!(y.values(), [10.0, 20.0, 1.5, 2.0]);
        let [dx, of_values] = gate_gradients(&x, &values, x.clone());
        assert_eq!(dx.values(), y.values());
        assert_eq!(
            (of_values.values(), of_values.shape()),
            (&[5.0, 25.0][..], &[2, 1, 1][..])
        );
    }
}
