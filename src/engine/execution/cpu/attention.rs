//! Attention on the CPU: heads are laid apart (`heads`), normed and turned (`rotary`), and attended block by
//! block (`blocks`), each head of each sample as a task of its own.
//!
//! The forward pass keeps the softmax of every row, two numbers. The backward pass lays the heads apart once
//! more, which costs far less than the products between them.

mod blocks;
mod heads;
mod rotary;
mod sight;

use rayon::prelude::*;

pub use blocks::RowSoftmax;

use super::{activation::CpuActivation, gradients, norm::RowNorm};
use crate::{
    execution::weights::Weights,
    network::{
        Inputs,
        program::layer::{self, Norm},
    },
    tensors::vectorized,
};
use blocks::{Attended, Gradients, Head, dot};
use heads::{Operands, Place};
use rotary::Turns;
use sight::{Padding, Sight};

/// An attention layer with what it reads.
pub(super) struct Attention<'a> {
    layer: &'a layer::Attention,
    weights: &'a Weights,
    operands: Operands<'a>,
    batch: usize,
    length: usize,
    turns: Option<Turns>,
    /// Of each sample.
    padding: Vec<Option<Padding>>,
    /// Of each head.
    sinks: Option<Vec<f32>>,
}

/// Queries `[B, heads, S, d]`, normed, turned and scaled; keys and values `[B, kv_heads, S, d]`.
struct Prepared {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// What the forward pass has made, and the gradient of its output.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    pub y: &'a CpuActivation,
    pub dy: &'a CpuActivation,
    pub rows: &'a [RowSoftmax],
}

impl<'a> Attention<'a> {
    pub fn new(
        layer: &'a layer::Attention,
        inputs: &'a Inputs<CpuActivation>,
        weights: &'a Weights,
    ) -> Self {
        let operands = Operands::of(layer, inputs);
        let batch = inputs.first.batch();
        let length = operands.tokens() / batch.max(1);
        let turns = layer.rotary.as_ref();
        let padding = match operands.ids {
            Some(ids) => ids
                .values()
                .chunks(length.max(1))
                .map(Padding::of)
                .collect(),
            None => (0..batch).map(|_| None).collect(),
        };
        Self {
            layer,
            weights,
            operands,
            batch,
            length,
            turns: turns.map(|rotary| Turns::new(rotary, length, layer.head_size)),
            padding,
            sinks: layer
                .sinks
                .as_ref()
                .map(|sinks| weights.host(sinks).into_owned()),
        }
    }

    /// `[B, S, heads · d]`, and the softmax of every row `[B, heads, S]`.
    pub fn forward(&self) -> (CpuActivation, Vec<RowSoftmax>) {
        let layer = self.layer;
        let of_head = self.length * layer.head_size;
        let prepared = self.prepared();
        let tasks = self.batch * layer.heads;
        let mut attended = vec![0.0; tasks * of_head];
        let mut rows = vec![RowSoftmax::NOTHING; tasks * self.length];
        attended
            .par_chunks_mut(of_head)
            .zip(rows.par_chunks_mut(self.length))
            .enumerate()
            .for_each(|(task, (out, rows))| self.head(&prepared, task).forward(out, rows));

        let place = self.output_place();
        let mut y = vec![0.0; attended.len()];
        place.put(&attended, self.length, &mut y);
        let width = layer.heads * layer.head_size;
        (CpuActivation::new(y, &[self.length, width]), rows)
    }

    fn output_place(&self) -> Place {
        Place::whole(self.layer.heads, self.layer.head_size)
    }

    fn prepared(&self) -> Prepared {
        let [queries, keys, values] = [0, 1, 2].map(|part| self.raw(part));
        let norms = self.layer.head_norms.as_ref();
        let mut queries = self.normed(queries, norms.map(|norms| &norms.queries));
        let mut keys = self.normed(keys, norms.map(|norms| &norms.keys));

        let size = self.layer.head_size;
        let scale = self.layer.scale as f32;
        self.each_head(&mut queries, |head| {
            if let Some(turns) = &self.turns {
                turns.turn(head, size);
            }
            head.iter_mut().for_each(|v| *v *= scale);
        });
        if let Some(turns) = &self.turns {
            self.each_head(&mut keys, |head| turns.turn(head, size));
        }
        Prepared {
            queries,
            keys,
            values,
        }
    }

    /// Queries, keys or values as they are read, head by head.
    fn raw(&self, part: usize) -> Vec<f32> {
        let values = self.operands.parts[part].values();
        self.operands.places[part].by_head(values, self.length)
    }

    fn normed(&self, rows: Vec<f32>, norm: Option<&Norm>) -> Vec<f32> {
        match norm {
            Some(norm) => RowNorm::new(norm, self.weights).normalised(&rows),
            None => rows,
        }
    }

    fn each_head(&self, heads: &mut [f32], work: impl Fn(&mut [f32]) + Sync) {
        heads
            .par_chunks_mut(self.length * self.layer.head_size)
            .for_each(|head| vectorized(|| work(head)));
    }

    /// One query head of one sample.
    fn head<'p>(&'p self, prepared: &'p Prepared, task: usize) -> Head<'p> {
        let layer = self.layer;
        let (sample, head) = (task / layer.heads, task % layer.heads);
        let of_keys = sample * layer.kv_heads + head / (layer.heads / layer.kv_heads);
        let size = self.length * layer.head_size;
        Head {
            queries: &prepared.queries[task * size..][..size],
            keys: &prepared.keys[of_keys * size..][..size],
            values: &prepared.values[of_keys * size..][..size],
            size: layer.head_size,
            sight: Sight {
                length: self.length,
                causal: layer.causal,
                window: layer.window,
            },
            padding: self.padding[sample].as_ref(),
            soft_cap: layer.soft_cap.map(|cap| cap as f32),
            sink: self.sinks.as_ref().map(|sinks| sinks[head]),
            fully_masked: layer.fully_masked,
        }
    }

    /// The gradients of the inputs, in their order; those of norms and sinks are added up.
    pub fn backward(
        &self,
        output: Output,
        gradients: &mut gradients::Gradients,
    ) -> Vec<Option<CpuActivation>> {
        let found = self.gradients_of_heads(output, gradients);
        let [queries, keys] = self.turned_back(found.queries, found.keys);

        let norms = self.layer.head_norms.as_ref();
        let queries = self.unnormed(queries, 0, norms.map(|norms| &norms.queries), gradients);
        let keys = self.unnormed(keys, 1, norms.map(|norms| &norms.keys), gradients);
        self.put_back([queries, keys, found.values])
    }

    /// Of what [`Attention::prepared`] gave.
    fn gradients_of_heads(&self, output: Output, gradients: &mut gradients::Gradients) -> Prepared {
        let of_head = self.length * self.layer.head_size;
        let prepared = self.prepared();
        let dy = self.output_place().by_head(output.dy.values(), self.length);
        let [mut queries, mut keys, mut values] = [0; 3].map(|_| vec![0.0; dy.len()]);
        let of_sinks: Vec<f64> = queries
            .par_chunks_mut(of_head)
            .zip(keys.par_chunks_mut(of_head))
            .zip(values.par_chunks_mut(of_head))
            .enumerate()
            .map(|(task, ((queries, keys), values))| {
                let dy = &dy[task * of_head..][..of_head];
                let attended = Attended {
                    dy,
                    along: &self.along(output.y, dy, task),
                    rows: &output.rows[task * self.length..][..self.length],
                };
                let mut into = Gradients {
                    queries,
                    keys,
                    values,
                };
                self.head(&prepared, task).backward(&attended, &mut into)
            })
            .collect();

        self.add_sinks(&of_sinks, gradients);
        Prepared {
            queries,
            keys: self.of_groups(keys),
            values: self.of_groups(values),
        }
    }

    /// `Σ dy ∘ y` over each row of a head.
    fn along(&self, y: &CpuActivation, dy: &[f32], task: usize) -> Vec<f32> {
        let (sample, head) = (task / self.layer.heads, task % self.layer.heads);
        let place = self.output_place();
        let rows = dy.chunks(self.layer.head_size).enumerate();
        rows.map(|(position, dy)| {
            let token = sample * self.length + position;
            dot(dy, place.head_of(y.values(), token, head))
        })
        .collect()
    }

    /// Gradients of query heads' keys or values, summed over the heads that share them.
    fn of_groups(&self, by_query_head: Vec<f32>) -> Vec<f32> {
        let group = self.layer.heads / self.layer.kv_heads;
        if group == 1 {
            return by_query_head;
        }
        let of_head = self.length * self.layer.head_size;
        let mut sums = vec![0.0; by_query_head.len() / group];
        sums.par_chunks_mut(of_head)
            .zip(by_query_head.par_chunks(group * of_head))
            .for_each(|(sum, heads)| {
                for head in heads.chunks(of_head) {
                    sum.iter_mut().zip(head).for_each(|(sum, v)| *sum += v);
                }
            });
        sums
    }

    fn add_sinks(&self, of_tasks: &[f64], gradients: &mut gradients::Gradients) {
        let Some(sinks) = &self.layer.sinks else {
            return;
        };
        let mut sums = vec![0f64; self.layer.heads];
        for of_sample in of_tasks.chunks(self.layer.heads) {
            sums.iter_mut()
                .zip(of_sample)
                .for_each(|(sum, v)| *sum += v);
        }
        gradients.add(&sinks.name, sums.into_iter().map(|v| v as f32).collect());
    }

    fn turned_back(&self, mut queries: Vec<f32>, mut keys: Vec<f32>) -> [Vec<f32>; 2] {
        let size = self.layer.head_size;
        let scale = self.layer.scale as f32;
        self.each_head(&mut queries, |head| {
            head.iter_mut().for_each(|v| *v *= scale);
            if let Some(turns) = &self.turns {
                turns.turn_back(head, size);
            }
        });
        if let Some(turns) = &self.turns {
            self.each_head(&mut keys, |head| turns.turn_back(head, size));
        }
        [queries, keys]
    }

    fn unnormed(
        &self,
        dy: Vec<f32>,
        part: usize,
        norm: Option<&Norm>,
        gradients: &mut gradients::Gradients,
    ) -> Vec<f32> {
        match norm {
            Some(norm) => RowNorm::new(norm, self.weights).backward(&self.raw(part), dy, gradients),
            None => dy,
        }
    }

    /// Gradients head by head to where the inputs have them.
    fn put_back(&self, heads: [Vec<f32>; 3]) -> Vec<Option<CpuActivation>> {
        let Operands {
            parts,
            places,
            is_fused,
            ids,
        } = &self.operands;
        let mut found = Vec::new();
        if *is_fused {
            let mut dx = vec![0.0; parts[0].values().len()];
            for (place, heads) in places.iter().zip(&heads) {
                place.put(heads, self.length, &mut dx);
            }
            found.push(Some(CpuActivation::new(dx, parts[0].shape())));
        } else {
            for ((place, heads), part) in places.iter().zip(&heads).zip(parts) {
                let mut dx = vec![0.0; heads.len()];
                place.put(heads, self.length, &mut dx);
                found.push(Some(CpuActivation::new(dx, part.shape())));
            }
        }
        found.extend(ids.map(|_| None));
        found
    }
}

#[cfg(test)]
mod tests;
