//! One layer: what should stand at its point, and the weights that put it there.

use faer::Mat;

use super::{
    Functions, LayerFit, Models, frame, is_output,
    ridge::{Fit, Regression},
    rows::{self, Counted, Row, Window},
    sites::Site,
    walk::Walk,
};
use crate::{
    execution::{Moments, cpu::moments},
    network::{Op, Operand, op::Pair},
    tensors::{Checkpoint, HostTensor, matmul::exact_product},
    transfer::error::TransferError,
};

/// Share of the samples by which ridges are chosen.
const HELD_BACK: f64 = 0.2;
/// A channel whose scale is below this share of the largest is not fitted: its weights would explode.
const SMALLEST_SCALE: f64 = 1e-3;

/// What should stand at a point.
pub struct Wanted {
    /// In the order of the samples.
    rows: Vec<Row>,
    /// `[rows, channels]`
    values: Mat<f64>,
}

/// Fits one layer.
pub struct Fitter<'f> {
    pub functions: &'f Functions<'f>,
    pub counted: &'f Counted,
    pub site: &'f Site,
}

impl Fitter<'_> {
    /// What should stand at the point, for every variant the same.
    pub fn wanted(&self, models: &Models) -> Result<Wanted, TransferError> {
        let point = Operand::Node(self.site.point());
        let Functions { graph, seed, .. } = *self.functions;
        let most = rows::most_rows(self.width());
        let new = models.new_base.at(point);
        let rows = self.counted.rows(new, most, seed);

        let tuned = rows::matrix(models.old_tuned.at(point), &rows);
        if is_output(graph, self.site) {
            return Ok(Wanted { rows, values: tuned });
        }

        let (old, new) = (rows::matrix(models.old_base.at(point), &rows), rows::matrix(new, &rows));
        let frame = frame::between(old.as_ref(), new.as_ref())?;
        let moved = tuned - old;
        let values = new + exact_product(moved.as_ref(), frame.as_ref());
        Ok(Wanted { rows, values })
    }

    /// `None` where the inputs tell nothing of what is missing.
    pub fn fit(&self, wanted: &Wanted, result: &mut Walk) -> Option<LayerFit> {
        let layer = self.layer(result);
        let now = rows::matrix(result.at(Operand::Node(self.site.point())), &wanted.rows);
        let mut residuals = &wanted.values - &now;
        if is_output(self.functions.graph, self.site) {
            centre_rows(&mut residuals);
        }
        let scale = self.scale(result, &layer);
        divide(&mut residuals, &scale);

        let fits = self.regress(result, &layer, &wanted.rows, &residuals);
        let (factor, left) = fits.iter().flatten().map(|fit| (fit.factor, fit.left)).next()?;
        self.apply(result, &layer, &scale, fits);
        let rows = wanted.rows.len();
        Some(LayerFit { layer: layer.param.to_owned(), rows, factor, left })
    }

    /// Inputs of one output of the layer, or its outputs where they are more.
    fn width(&self) -> usize {
        let node = &self.functions.graph.nodes[self.site.layer];
        let weight =
            &self.functions.new_base[&format!("{}.weight", node.op.param().unwrap_or_default())];
        let outputs = outputs(&node.op, weight);
        outputs.max(weight.len() / outputs)
    }

    /// The layer as it is, with what its fit needs.
    fn layer(&self, result: &Walk) -> Layer<'_> {
        let node = &self.functions.graph.nodes[self.site.layer];
        let param = node.op.param().unwrap_or_default();
        let params = &result.params;
        let weight = &params[&format!("{param}.weight")];
        let groups = match node.op {
            Op::Conv2d { groups, .. } => groups,
            _ => 1,
        };
        let outputs = outputs(&node.op, weight);
        let width = weight.len() / outputs;
        let has_bias = params.get(&format!("{param}.bias")).is_some();
        Layer { op: &node.op, param, groups, outputs, width, has_bias }
    }

    /// What a change of the layer's output is multiplied by at the point, by channel.
    fn scale(&self, result: &Walk, layer: &Layer) -> Vec<f64> {
        let mut scale = vec![1.0; layer.outputs];
        for &position in &self.site.path[1..] {
            let factors = match &self.functions.graph.nodes[position].op {
                Op::BatchNorm { param, eps, .. } => {
                    let seen = moments(result.at(Operand::Node(self.site.layer)));
                    let gamma = vector(&result.params, &format!("{param}.weight"));
                    let gamma = gamma.unwrap_or_else(|| vec![1.0; layer.outputs]);
                    let inverse = seen.variance.iter().map(|v| 1.0 / (v + eps).sqrt());
                    gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect()
                }
                Op::LayerScale { param } => {
                    vector(&result.params, &format!("{param}.gamma")).unwrap_or_default()
                }
                _ => continue,
            };
            scale
                .iter_mut()
                .zip(factors)
                .for_each(|(scale, factor): (&mut f64, f64)| *scale *= factor);
        }
        let largest = scale.iter().fold(0f64, |largest, scale| largest.max(scale.abs()));
        for scale in &mut scale {
            if scale.abs() < SMALLEST_SCALE * largest {
                *scale = f64::INFINITY;
            }
        }
        scale
    }

    /// The batch norm right behind the layer.
    fn norm(&self) -> Option<(&str, f64)> {
        let second = *self.site.path.get(1)?;
        match &self.functions.graph.nodes[second].op {
            Op::BatchNorm { param, eps, .. } => Some((param, *eps)),
            _ => None,
        }
    }

    /// One fit for each group of a convolution's channels.
    fn regress(
        &self,
        result: &Walk,
        layer: &Layer,
        rows: &[Row],
        residuals: &Mat<f64>,
    ) -> Vec<Option<Fit>> {
        let x = result.at(self.functions.graph.nodes[self.site.layer].inputs[0]);
        let output = result.at(Operand::Node(self.site.layer));
        let kernel = match result.params[&format!("{}.weight", layer.param)].shape() {
            &[_, _, height, width] => Pair(height, width),
            _ => Pair(1, 1),
        };
        let samples = x.batch();
        let first_held = samples - (samples as f64 * HELD_BACK).round() as usize;
        let held_back = rows.iter().filter(|row| row.0 >= first_held).count();
        let takes_intercept = layer.has_bias || self.norm().is_some();
        let each = layer.outputs / layer.groups;
        let channels = rows::channels(x) / layer.groups;

        (0..layer.groups)
            .map(|group| {
                let window = Window {
                    channels: group * channels..(group + 1) * channels,
                    kernel,
                    output_width: output.shape().last().copied().unwrap_or(1),
                };
                let regression = Regression {
                    x: rows::inputs(layer.op, x, window, rows),
                    residuals: residuals.subcols(group * each, each).to_owned(),
                    held_back,
                    centred: takes_intercept,
                };
                regression.fit()
            })
            .collect()
    }

    /// Writes the fits into the result and walks its path once more.
    fn apply(&self, result: &mut Walk, layer: &Layer, scale: &[f64], fits: Vec<Option<Fit>>) {
        let before = self.norm().map(|_| moments(result.at(Operand::Node(self.site.layer))));
        let each = layer.outputs / layer.groups;
        let name = format!("{}.weight", layer.param);
        let weight = result.params[&name].clone();
        let mut values = weight.f32().into_owned();
        let mut intercept = vec![0.0; layer.outputs];
        let transposed = matches!(layer.op, Op::Linear { transposed: true, .. });

        for (group, fit) in fits.into_iter().enumerate() {
            let Some(fit) = fit else { continue };
            for output in 0..each {
                let channel = group * each + output;
                if scale[channel].is_infinite() {
                    continue;
                }
                intercept[channel] = fit.intercept[output];
                for input in 0..layer.width {
                    let at = if transposed {
                        input * layer.outputs + channel
                    } else {
                        channel * layer.width + input
                    };
                    values[at] = (f64::from(values[at]) + fit.weight[(output, input)]) as f32;
                }
            }
        }
        let params = &mut result.params;
        params.insert(name, HostTensor::from_f32(weight.shape().to_vec(), values));

        match (self.norm(), before) {
            (Some((norm, eps)), Some(before)) => {
                result.step(self.site.layer);
                let after = moments(result.at(Operand::Node(self.site.layer)));
                renormalise(
                    &mut result.params,
                    Renormalisation {
                        norm,
                        eps,
                        before: &before,
                        after: &after,
                        intercept: &intercept,
                    },
                );
            }
            _ if layer.has_bias => {
                add(&mut result.params, &format!("{}.bias", layer.param), &intercept);
            }
            _ => {}
        }
        for &position in &self.site.path {
            result.step(position);
        }
    }
}

/// A layer to be fitted.
struct Layer<'l> {
    op: &'l Op,
    param: &'l str,
    groups: usize,
    outputs: usize,
    /// Inputs of one output: channels of a group × kernel positions.
    width: usize,
    has_bias: bool,
}

/// A norm behind a layer that changed, with what the layer put out before and after, and what is to be
/// added to that.
struct Renormalisation<'r> {
    norm: &'r str,
    eps: f64,
    before: &'r Moments,
    after: &'r Moments,
    intercept: &'r [f64],
}

/// Channels that a layer puts out.
fn outputs(op: &Op, weight: &HostTensor) -> usize {
    match op {
        Op::Linear { transposed: true, .. } => weight.shape()[1],
        _ => weight.shape()[0],
    }
}

/// Makes the norm by its new moments what it was by its old ones, with the intercept added: γ' = s σ',
/// β' = β + s (intercept + mean' − mean) with s = γ / σ.
fn renormalise(params: &mut Checkpoint, change: Renormalisation) {
    let Renormalisation { norm, eps, before, after, intercept } = change;
    let channels = before.mean.len();
    let (weight, bias) = (format!("{norm}.weight"), format!("{norm}.bias"));
    let gamma = vector(params, &weight).unwrap_or_else(|| vec![1.0; channels]);
    let deviation = |variance: f64| (variance + eps).sqrt();
    let slopes: Vec<f64> =
        gamma.iter().zip(&before.variance).map(|(gamma, &v)| gamma / deviation(v)).collect();

    let new_gamma = slopes.iter().zip(&after.variance).map(|(slope, &v)| slope * deviation(v));
    let new_gamma: Vec<f32> = new_gamma.map(|v| v as f32).collect();
    let shift: Vec<f64> = (0..channels)
        .map(|c| slopes[c] * (intercept[c] + after.mean[c] - before.mean[c]))
        .collect();

    if params.get(&weight).is_some() {
        params.insert(weight, HostTensor::from_f32(vec![channels], new_gamma));
    }
    add(params, &bias, &shift);
}

/// Adds to a vector, if it is there.
fn add(params: &mut Checkpoint, name: &str, shift: &[f64]) {
    let Some(values) = vector(params, name) else { return };
    let values: Vec<f32> = values.iter().zip(shift).map(|(v, shift)| (v + shift) as f32).collect();
    params.insert(name.to_owned(), HostTensor::from_f32(vec![values.len()], values));
}

fn vector(params: &Checkpoint, name: &str) -> Option<Vec<f64>> {
    let tensor = params.get(name)?;
    Some(tensor.f32().iter().map(|&v| f64::from(v)).collect())
}

/// Logits count up to a constant.
fn centre_rows(rows: &mut Mat<f64>) {
    for row in 0..rows.nrows() {
        let mean = rows.row(row).sum() / rows.ncols() as f64;
        for column in 0..rows.ncols() {
            rows[(row, column)] -= mean;
        }
    }
}

fn divide(rows: &mut Mat<f64>, scale: &[f64]) {
    for (column, scale) in scale.iter().enumerate() {
        for row in 0..rows.nrows() {
            rows[(row, column)] /= scale;
        }
    }
}
