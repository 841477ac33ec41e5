//! Rows of activations: samples × positions, those of padding left out.

use faer::Mat;
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{
    execution::{Samples, cpu::CpuActivation},
    network::{Graph, Input, Op, Sequence, op::Pair},
};

/// Rows that one fit sees at most.
const MAX_ROWS: usize = 60_000;
/// Values of a layer's inputs, and of its outputs, that one fit holds at most, f64: 256 MB.
pub const MAX_FITTED_VALUES: usize = 1 << 25;

/// A sample and a position of it.
pub type Row = (usize, usize);

/// Which positions of a sample count: `[samples][positions]`, `None` where nothing is padded.
pub struct Counted {
    input: Option<Vec<Vec<bool>>>,
    target: Option<Vec<Vec<bool>>>,
}

/// What rows are taken of.
#[derive(Clone, Copy)]
pub struct Drawn<'a> {
    pub activation: &'a CpuActivation,
    /// Which its positions are of.
    pub sequence: Sequence,
    /// Rows at most.
    pub most: usize,
    pub seed: u64,
}

impl Counted {
    /// By the mask of token ids, and the tokens of the target sequence that are predicted.
    pub fn of(graph: &Graph, samples: &Samples<CpuActivation>) -> Self {
        let is_tokens = matches!(graph.input, Input::Tokens { .. });
        Self {
            input: is_tokens.then(|| seen(&samples.input)),
            target: samples.target.as_ref().map(seen),
        }
    }

    /// The rows of an activation, in the order of the samples; drawn where there are too many.
    pub fn rows(&self, of: Drawn<'_>) -> Vec<Row> {
        let Drawn {
            activation,
            sequence,
            most,
            seed,
        } = of;
        let seen = match sequence {
            Sequence::Input => self.input.as_deref(),
            Sequence::Target => self.target.as_deref(),
        };
        let positions = positions(activation);
        let all =
            (0..activation.batch()).flat_map(|sample| (0..positions).map(move |p| (sample, p)));
        let all: Vec<Row> = all.filter(|&row| is_seen(seen, row, positions)).collect();
        if all.len() <= most {
            return all;
        }

        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut drawn = index::sample(&mut rng, all.len(), most).into_vec();
        drawn.sort_unstable();

        drawn.into_iter().map(|i| all[i]).collect()
    }
}

/// Where ids are seen: they are neither masked nor absent.
fn seen(ids: &CpuActivation) -> Vec<Vec<bool>> {
    let rows = ids.values().chunks(ids.size());
    rows.map(|ids| ids.iter().map(|&id| id >= 0.0).collect())
        .collect()
}

/// Whether a row of an activation with so many positions counts.
fn is_seen(seen: Option<&[Vec<bool>]>, row: Row, positions: usize) -> bool {
    match seen {
        Some(seen) if seen.first().is_some_and(|first| first.len() == positions) => {
            seen[row.0][row.1]
        }
        _ => true,
    }
}

/// Rows that a fit with inputs or outputs of this width takes.
pub fn most_rows(width: usize) -> usize {
    (MAX_FITTED_VALUES / width.max(1)).min(MAX_ROWS)
}

/// Positions of a sample: of an image its pixels, of tokens their number, of features one.
pub fn positions(activation: &CpuActivation) -> usize {
    match activation.shape() {
        [_, height, width] => height * width,
        [tokens, _] => *tokens,
        _ => 1,
    }
}

/// Channels of an activation: an image's first axis, otherwise the last.
pub fn channels(activation: &CpuActivation) -> usize {
    match activation.shape() {
        [channels, _, _] => *channels,
        shape => shape.last().copied().unwrap_or(1),
    }
}

/// `[rows, channels]`
pub fn matrix(activation: &CpuActivation, rows: &[Row]) -> Mat<f64> {
    let (values, size, channels) = (activation.values(), activation.size(), channels(activation));
    let positions = positions(activation);
    let is_image = activation.shape().len() == 3;

    filled(rows.len(), channels, |i, out| {
        let (sample, position) = rows[i];
        let sample = &values[sample * size..][..size];
        for (channel, out) in out.iter_mut().enumerate() {
            let at = if is_image {
                channel * positions + position
            } else {
                position * channels + channel
            };
            *out = f64::from(sample[at]);
        }
    })
}

/// What a layer reads for each of its output's rows, `[rows, inputs]`: for a convolution what its kernel
/// meets, channel by channel, of one group of channels.
pub fn inputs(op: &Op, x: &CpuActivation, window: Window, rows: &[Row]) -> Mat<f64> {
    let Op::Conv2d {
        stride, dilation, ..
    } = op
    else {
        return matrix(x, rows);
    };
    let &[_, height, width] = x.shape() else {
        return matrix(x, rows);
    };
    let Window {
        channels,
        kernel: Pair(kh, kw),
        padding,
        output_width,
    } = window;
    let (values, size) = (x.values(), x.size());

    filled(rows.len(), channels.len() * kh * kw, |i, out| {
        let (sample, position) = rows[i];
        let (top, left) = (
            position / output_width * stride.0,
            position % output_width * stride.1,
        );
        let sample = &values[sample * size..][..size];
        let mut out = out.iter_mut();
        for channel in channels.clone() {
            let plane = &sample[channel * height * width..][..height * width];
            for row in 0..kh {
                let y = (top + row * dilation.0)
                    .checked_sub(padding.0)
                    .filter(|&y| y < height);
                for column in 0..kw {
                    let x = (left + column * dilation.1).checked_sub(padding.1);
                    let met = y.zip(x.filter(|&x| x < width));
                    if let Some(out) = out.next() {
                        *out = met.map_or(0.0, |(y, x)| f64::from(plane[y * width + x]));
                    }
                }
            }
        }
    })
}

/// What a convolution's kernel covers.
#[derive(Clone)]
pub struct Window {
    /// The input channels of one group.
    pub channels: std::ops::Range<usize>,
    pub kernel: Pair,
    /// Zeros before the first row and column.
    pub padding: Pair,
    /// Columns of the output.
    pub output_width: usize,
}

/// A matrix filled row by row.
fn filled(rows: usize, columns: usize, fill: impl Fn(usize, &mut [f64]) + Sync) -> Mat<f64> {
    let mut values = vec![0.0; rows * columns];
    if columns > 0 {
        values
            .par_chunks_mut(columns)
            .enumerate()
            .for_each(|(row, out)| fill(row, out));
    }
    faer::MatRef::from_row_major_slice(&values, rows, columns).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        execution::{BatchNormMode, Executor, Weights, cpu::run_instruction},
        network::token::ABSENT,
        training::testing,
    };

    /// What a layer puts out is its weight times its rows, whatever the stride, padding, dilation and
    /// groups.
    #[test]
    fn a_convolution_is_a_product_with_its_rows() {
        for groups in [1, 2] {
            let node = json!({"op": "conv2d", "param": "c",
                "stride": [2, 1], "padding": [1, 2], "dilation": [1, 2], "groups": groups});
            let graph = testing::graph(&[4, 6, 5], json!([node]));
            let op = graph.nodes[0].op.clone();
            let signature = testing::signature(&[("c.weight", &[4, 4 / groups, 3, 2])]);
            let params = testing::random_params(&signature, 1);
            let batch = testing::random_batch(&[4, 6, 5], 3, 2, 2);
            let x = CpuActivation::new(batch.inputs, &[4, 6, 5]);
            let program = graph.resolve(&signature).unwrap();
            let weights = Weights::upload(&program, &params, &Executor::Cpu);
            let inputs_of = program.instructions[0].inputs.map(|_| x.clone());
            let y = run_instruction(
                &program.instructions[0],
                inputs_of,
                &weights,
                BatchNormMode::Running,
            );

            let counted = Counted {
                input: None,
                target: None,
            };
            let rows = counted.rows(drawn(&y, 40));
            assert!(
                rows.len() == 40 && rows.is_sorted(),
                "{} of all",
                rows.len()
            );
            let (each, channels) = (4 / groups, 4 / groups);
            let weight = params["c.weight"].f32();
            for group in 0..groups {
                let window = Window {
                    channels: group * channels..(group + 1) * channels,
                    kernel: Pair(3, 2),
                    padding: Pair(1, 2),
                    output_width: y.shape()[2],
                };
                let read = inputs(&op, &x, window, &rows);
                let put = matrix(&y, &rows);
                for (i, output) in (0..rows.len()).zip((0..each).cycle()) {
                    let channel = group * each + output;
                    let terms = (0..read.ncols())
                        .map(|k| read[(i, k)] * f64::from(weight[channel * read.ncols() + k]));
                    assert!((terms.sum::<f64>() - put[(i, channel)]).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn padded_tokens_have_no_row() {
        let graph = testing::token_graph(3, json!([{"op": "embedding", "param": "e"}]));
        let ids = CpuActivation::new(vec![1.0, 2.0, -1.0, 0.0, -3.0, -1.0], &[3]);
        let counted = Counted::of(&graph, &ids.into());
        let stream = CpuActivation::new(vec![0.0; 2 * 3 * 4], &[3, 4]);
        assert_eq!(counted.rows(drawn(&stream, 100)), [(0, 0), (0, 1), (1, 0)]);
        let pooled = CpuActivation::new(vec![0.0; 2 * 4], &[4]);
        assert_eq!(counted.rows(drawn(&pooled, 100)), [(0, 0), (1, 0)]);
    }

    /// A target sequence as long as the input has a padding of its own.
    #[test]
    fn rows_of_a_target_sequence_are_those_that_are_predicted() {
        let graph = testing::token_graph(3, json!([{"op": "embedding", "param": "e"}]));
        let samples = Samples {
            input: CpuActivation::new(vec![1.0, 2.0, -1.0], &[3]),
            target: Some(CpuActivation::new(vec![ABSENT, 2.0, 0.0], &[3])),
        };
        let counted = Counted::of(&graph, &samples);
        let stream = CpuActivation::new(vec![0.0; 3 * 4], &[3, 4]);
        let of_target = Drawn {
            sequence: Sequence::Target,
            ..drawn(&stream, 100)
        };
        assert_eq!(counted.rows(of_target), [(0, 1), (0, 2)]);

        assert_eq!(counted.rows(drawn(&stream, 100)), [(0, 0), (0, 1)]);
    }

    fn drawn(activation: &CpuActivation, most: usize) -> Drawn<'_> {
        Drawn {
            activation,
            sequence: Sequence::Input,
            most,
            seed: 0,
        }
    }
}
