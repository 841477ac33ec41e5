//! The output layer where its outputs are a vocabulary: logits of all rows are never held at once.
//!
//! The layer and all behind it are not walked. Its regression reads the layer's inputs, which the models
//! hold, and goes through the outputs twice, a part of them at a time: to choose the ridge, and to fit.

use std::ops::Range;

use faer::Mat;
use rayon::prelude::*;

use super::{
    Functions, LayerFit,
    fitter::held_back,
    kernel::Kernel,
    layer::{Layer, vector},
    may_be_shifted,
    ridge::Errors,
    rows::{self, Counted, Drawn, Row},
    sites::Site,
    store::FittedLayer,
    walk::Walk,
};
use crate::{
    execution::cpu::CpuActivation,
    network::Op,
    tensors::{
        Checkpoint, DType, HostTensor,
        matmul::{self, product},
    },
};

/// From so many outputs on they are a vocabulary.
pub const LEAST_OUTPUTS: usize = 8192;
/// Outputs that are gone through at a time.
const PART_OUTPUTS: usize = 4096;

/// Whether a layer that is fitted puts out a vocabulary.
pub fn is_vocabulary(functions: &Functions, site: &Site) -> bool {
    let op = &functions.graph.nodes[site.layer].op;
    let is_plain = matches!(
        op,
        Op::Linear {
            transposed: false,
            ..
        }
    );

    is_plain
        && may_be_shifted(functions.graph, site)
        && Layer::of(op, functions.new_base).outputs >= LEAST_OUTPUTS
}

/// The output layer of a result beside that of the old tuned model.
pub struct Vocabulary<'v> {
    pub functions: &'v Functions<'v>,
    pub counted: &'v Counted,
    pub site: &'v Site,
    pub tuned: &'v Walk<'v>,
    pub result: &'v Walk<'v>,
}

impl Vocabulary<'_> {
    /// Fits the layer; nothing is walked.
    pub fn fit(&self) -> FittedLayer {
        self.fitted().unwrap_or_default()
    }

    /// `None` where the inputs tell nothing of what is missing.
    fn fitted(&self) -> Option<FittedLayer> {
        let node = &self.functions.graph.nodes[self.site.layer];
        let layer = Layer::of(&node.op, &self.result.params);
        let most = rows::most_rows(layer.outputs.max(layer.width));
        let x = self.result.at(node.inputs[0]);
        let rows = self.counted.rows(Drawn {
            activation: x,
            sequence: self.functions.program.sequence(node.inputs[0]),
            most,
            seed: self.functions.seed,
        });
        let held_back = held_back(x.batch(), &rows);
        let tuned = self.tuned.at(node.inputs[0]);
        let missing = Missing {
            tuned: Head::of(&layer, self.functions.old_tuned, selected(tuned, &rows)),
            own: Head::of(&layer, &self.result.params, selected(x, &rows)),
        };

        let kernel = Kernel::of(rows::matrix(x, &rows), held_back, layer.has_bias);
        let means = missing.means();
        let mut errors = Errors::default();
        for part in parts(layer.outputs) {
            errors += kernel.errors(missing.residuals(part, &means).as_ref());
        }
        let chosen = kernel.choose(&errors)?;

        let solver = kernel.solver(chosen.factor)?;
        let dtype = self.rounded_to(missing.own.weight);
        let (mut weights, mut biases) = (Vec::new(), missing.own.bias.clone());
        for part in parts(layer.outputs) {
            let residuals = missing.residuals(part.clone(), &means);
            let (weight, intercept) = solver.fit(residuals.as_ref())?;
            weights.extend_from_slice(&dtype.encode(&missing.own.moved(part.clone(), &weight)));
            biases[part]
                .iter_mut()
                .zip(intercept)
                .for_each(|(bias, more)| *bias += more);
        }

        let shape = missing.own.weight.shape().to_vec();
        let weight = HostTensor::from_bytes(dtype, shape, weights.into())?;
        let fit = Some(LayerFit {
            layer: layer.param.to_owned(),
            rows: rows.len(),
            factor: chosen.factor,
            left: chosen.left,
        });

        Some(FittedLayer {
            fit,
            tensors: self.tensors(&layer, weight, biases),
        })
    }

    /// The layer's tensors, as the result has them.
    fn tensors(&self, layer: &Layer, weight: HostTensor, biases: Vec<f64>) -> Checkpoint {
        let mut tensors = Checkpoint::new();
        tensors.insert(format!("{}.weight", layer.param), weight);
        if layer.has_bias {
            let name = layer.bias.clone();
            let dtype = self.rounded_to(&self.result.params[&name]);
            let biases: Vec<f32> = biases.into_iter().map(|bias| bias as f32).collect();
            tensors.insert(
                name,
                HostTensor::from_f32_as(dtype, vec![layer.outputs], biases),
            );
        }

        tensors
    }

    /// The dtype that a tensor is fitted in.
    fn rounded_to(&self, tensor: &HostTensor) -> DType {
        if self.functions.rounds {
            tensor.dtype()
        } else {
            DType::F32
        }
    }
}

/// All outputs, a part of them at a time.
fn parts(outputs: usize) -> impl Iterator<Item = Range<usize>> {
    (0..outputs)
        .step_by(PART_OUTPUTS)
        .map(move |start| start..(start + PART_OUTPUTS).min(outputs))
}

/// Some rows of an activation, row-major.
fn selected(activation: &CpuActivation, rows: &[Row]) -> Vec<f32> {
    let (values, width) = (activation.values(), rows::channels(activation));
    let positions = rows::positions(activation);
    let starts = rows
        .iter()
        .map(|(sample, position)| (sample * positions + position) * width);

    starts
        .flat_map(|start| &values[start..start + width])
        .copied()
        .collect()
}

/// An output layer with the rows that it reads.
struct Head<'h> {
    /// `[outputs, inputs]`
    weight: &'h HostTensor,
    /// Zeros where there is none.
    bias: Vec<f64>,
    /// `[rows, inputs]`, row-major.
    rows: Vec<f32>,
    width: usize,
}

impl<'h> Head<'h> {
    fn of(layer: &Layer, params: &'h Checkpoint, rows: Vec<f32>) -> Self {
        let weight = &params[&format!("{}.weight", layer.param)];
        let bias = vector(params, &layer.bias);
        let width = weight.len() / layer.outputs;

        Self {
            weight,
            bias: bias.unwrap_or_else(|| vec![0.0; layer.outputs]),
            rows,
            width,
        }
    }

    /// Logits of all rows, `[rows, part]` row-major, without the bias.
    fn logits(&self, part: &Range<usize>) -> Vec<f32> {
        let weight = self
            .weight
            .floats(part.start * self.width..part.end * self.width);
        product(
            matmul::matrix(&self.rows, self.width),
            matmul::matrix(&weight, self.width).transpose(),
        )
    }

    /// Of every row, the mean of its logits.
    fn means(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.width];
        for part in parts(self.bias.len()) {
            let weight = self
                .weight
                .floats(part.start * self.width..part.end * self.width);
            for row in weight.chunks(self.width) {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(sum, &value)| *sum += f64::from(value));
            }
        }

        let bias: f64 = self.bias.iter().sum();
        let rows = self.rows.par_chunks(self.width);

        rows.map(|row| {
            let products = row
                .iter()
                .zip(&sums)
                .map(|(&value, sum)| f64::from(value) * sum);
            (products.sum::<f64>() + bias) / self.bias.len() as f64
        })
        .collect()
    }

    /// Some of the weight's rows with a change `[part, inputs]` added.
    fn moved(&self, part: Range<usize>, change: &Mat<f64>) -> Vec<f32> {
        let range = part.start * self.width..part.end * self.width;
        let mut weight = self.weight.floats(range).into_owned();
        weight
            .par_chunks_mut(self.width)
            .enumerate()
            .for_each(|(output, row)| {
                for (input, value) in row.iter_mut().enumerate() {
                    *value = (f64::from(*value) + change[(output, input)]) as f32;
                }
            });

        weight
    }
}

/// What a result's logits lack of the old tuned model's, up to a constant of each row.
struct Missing<'m> {
    tuned: Head<'m>,
    own: Head<'m>,
}

impl Missing<'_> {
    /// Of every row, what its logits lack in the mean.
    fn means(&self) -> Vec<f64> {
        let (tuned, own) = (self.tuned.means(), self.own.means());
        tuned
            .into_iter()
            .zip(own)
            .map(|(tuned, own)| tuned - own)
            .collect()
    }

    /// `[rows, part]`
    fn residuals(&self, part: Range<usize>, means: &[f64]) -> Mat<f64> {
        let (tuned, own) = (self.tuned.logits(&part), self.own.logits(&part));
        let width = part.len();
        Mat::from_fn(means.len(), width, |row, column| {
            let (at, output) = (row * width + column, part.start + column);
            let logits = f64::from(tuned[at]) - f64::from(own[at]);
            logits + self.tuned.bias[output] - self.own.bias[output] - means[row]
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{Rule, Variant, walks::Walks},
        *,
    };
    use crate::{training::testing, transfer::gradient_store::InMemory};

    /// Some outputs at a time, the layer becomes what it becomes at once.
    #[test]
    fn a_vocabulary_is_fitted_as_any_output_layer() {
        for has_bias in [true, false] {
            let nodes =
                json!([{"op": "embedding", "param": "e"}, {"op": "linear", "param": "out"}]);
            let graph = testing::token_graph(6, nodes);
            let mut signature =
                testing::signature(&[("e.weight", &[20, 24]), ("out.weight", &[30, 24])]);
            if has_bias {
                signature.extend(testing::signature(&[("out.bias", &[30])]));
            }
            let program = graph.resolve(&signature).unwrap();
            let [old_base, old_tuned, new_base] =
                [1, 2, 3].map(|seed| testing::random_params(&signature, seed));
            let inputs = testing::random_ids(6, 20, testing::random_batch(&[6], 30, 4, 5), 4);
            let functions = Functions {
                graph: &graph,
                program: &program,
                source_program: &program,
                old_base: &old_base,
                old_tuned: &old_tuned,
                new_base: &new_base,
                inputs: &inputs,
                keeps_head: false,
                seed: 0,
                rounds: false,
                store: &InMemory,
                run: 0,
            };
            let variant = Variant {
                start: &new_base,
                rule: Rule::Head,
            };
            let whole = functions.fit(&[variant], &|_, _| Ok(())).unwrap().remove(0);

            let samples = inputs.clone().on_cpu(&program);
            let mut walks = Walks::of(&functions, &[variant], &samples);
            walks.step(0);
            let site = functions.sites(Rule::Head).remove(0);
            let counted = Counted::of(&graph, &samples);
            let (tuned, result) = (walks.old_tuned(), walks.result(0));
            let fitter = Vocabulary {
                functions: &functions,
                counted: &counted,
                site: &site,
                tuned,
                result,
            };
            let found = fitter.fit();

            let fit = found.fit.expect("a fit");
            assert_eq!(
                (fit.rows, fit.factor),
                (whole.layers[0].rows, whole.layers[0].factor)
            );
            assert!((fit.left - whole.layers[0].left).abs() < 1e-5);
            assert_eq!(found.tensors.len(), 1 + usize::from(has_bias));
            for (name, tensor) in found.tensors.iter() {
                let off = tensor.squared_distance(&whole.model[name]);
                assert!(off < 1e-6 * tensor.inner(tensor), "{name}: {off}");
                let moved = tensor.squared_distance(&new_base[name]);
                assert!(moved > 0.01, "{name}");
            }
        }
    }
}
