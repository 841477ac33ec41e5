//! Queries, keys and values head by head: `[B, heads, S, d]`, and back to where they lie in the inputs.

use rayon::prelude::*;

use crate::{
    execution::cpu::{activation::CpuActivation, loops::rows_per_task},
    network::{Inputs, op::FusedOrder, program::layer::Attention},
};

/// Where the heads of queries, keys or values lie in a token's row.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Values of a row.
    row: usize,
    /// Where the first head begins.
    start: usize,
    /// From one head to the next.
    step: usize,
    heads: usize,
    /// Channels of a head.
    size: usize,
}

impl Place {
    /// Heads side by side that fill the row.
    pub fn whole(heads: usize, size: usize) -> Self {
        Self {
            row: heads * size,
            start: 0,
            step: size,
            heads,
            size,
        }
    }

    /// Channels `[size]` of one token's head.
    pub fn head_of<'v>(&self, values: &'v [f32], token: usize, head: usize) -> &'v [f32] {
        &values[token * self.row + self.start + head * self.step..][..self.size]
    }

    /// `[B, S, row]` to `[B, heads, S, size]`.
    pub fn by_head(&self, values: &[f32], length: usize) -> Vec<f32> {
        let tokens = values.len() / self.row;
        let mut heads = vec![0.0; tokens * self.heads * self.size];
        heads
            .par_chunks_mut(length * self.size)
            .enumerate()
            .for_each(|(i, rows)| {
                let (sample, head) = (i / self.heads, i % self.heads);
                for (position, row) in rows.chunks_mut(self.size).enumerate() {
                    row.copy_from_slice(self.head_of(values, sample * length + position, head));
                }
            });
        heads
    }

    /// The other way round, into rows that may hold other parts too.
    pub fn put(&self, heads: &[f32], length: usize, rows: &mut [f32]) {
        let task = rows_per_task(self.row);
        rows.par_chunks_mut(task * self.row)
            .enumerate()
            .for_each(|(i, rows)| {
                for (token, row) in (i * task..).zip(rows.chunks_mut(self.row)) {
                    let (sample, position) = (token / length, token % length);
                    for head in 0..self.heads {
                        let from = (sample * self.heads + head) * length + position;
                        row[self.start + head * self.step..][..self.size]
                            .copy_from_slice(&heads[from * self.size..][..self.size]);
                    }
                }
            });
    }
}

/// Queries, keys and values where they lie in the inputs, with the ids.
pub(super) struct Operands<'a> {
    pub parts: [&'a CpuActivation; 3],
    pub places: [Place; 3],
    /// All three are one input.
    pub is_fused: bool,
    pub ids: Option<&'a CpuActivation>,
}

impl<'a> Operands<'a> {
    /// Of `[q, k, v]` or of one fused input; with a mask the ids come last.
    pub fn of(layer: &Attention, inputs: &'a Inputs<CpuActivation>) -> Self {
        let (rest, ids) = match inputs.rest.split_last() {
            Some((ids, rest)) if layer.mask => (rest, Some(ids)),
            _ => (&inputs.rest[..], None),
        };
        let first = &inputs.first;
        match rest {
            [keys, values] => Self {
                parts: [first, keys, values],
                places: heads(layer).map(|heads| Place::whole(heads, layer.head_size)),
                is_fused: false,
                ids,
            },
            _ => Self {
                parts: [first; 3],
                places: fused(layer),
                is_fused: true,
                ids,
            },
        }
    }

    /// Of all samples.
    pub fn tokens(&self) -> usize {
        self.parts[0].values().len() / self.places[0].row
    }
}

/// Heads of queries, keys and values.
fn heads(layer: &Attention) -> [usize; 3] {
    [layer.heads, layer.kv_heads, layer.kv_heads]
}

/// Where the three lie in one fused row.
fn fused(layer: &Attention) -> [Place; 3] {
    let (size, widths) = (layer.head_size, layer.widths());
    let counts = heads(layer);
    let (starts, step) = match layer.fused {
        FusedOrder::Parts => ([0, widths[0], widths[0] + widths[1]], size),
        FusedOrder::Heads => ([0, size, 2 * size], 3 * size),
    };
    [0, 1, 2].map(|part| Place {
        row: widths.iter().sum(),
        start: starts[part],
        step,
        heads: counts[part],
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_taken_apart_and_put_back() {
        // Two samples of two tokens, two heads of two channels after one value of something else.
        let place = Place {
            row: 5,
            start: 1,
            step: 2,
            heads: 2,
            size: 2,
        };
        let values: Vec<f32> = (0..20).map(|v| v as f32).collect();
        let heads = place.by_head(&values, 2);
        assert_eq!(
            heads,
            [
                1.0, 2.0, 6.0, 7.0, 3.0, 4.0, 8.0, 9.0, 11.0, 12.0, 16.0, 17.0, 13.0, 14.0, 18.0,
                19.0
            ]
        );
        let mut back = vec![0.0; 20];
        place.put(&heads, 2, &mut back);
        for (i, (found, expected)) in back.into_iter().zip(values).enumerate() {
            assert_eq!(found, if i % 5 == 0 { 0.0 } else { expected });
        }
    }
}
