//! One layer: what should stand at its point, and the regression that brings it there.

use faer::Mat;

use super::{
    Functions, LayerFit, apply,
    frame::Frame,
    is_output,
    layer::{Layer, vector},
    may_be_shifted,
    ridge::RidgeFit,
    rows::{self, Counted, Drawn, Row, Window},
    sites::Site,
    store::FittedLayer,
    system::System,
    walk::Walk,
    walks::Walks,
};
use crate::{
    execution::cpu::moments,
    network::{self, Op, Operand, op::Pair},
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

/// What regressions on the rows that a result's layers read last have in common: query, key and value read the same.
pub struct SharedSystem {
    pub operand: Operand,
    rows: Vec<Row>,
    has_intercept: bool,
    system: System,
}

/// Fits one layer.
pub struct Fitter<'f> {
    pub functions: &'f Functions<'f>,
    pub counted: &'f Counted,
    pub site: &'f Site,
}

impl Fitter<'_> {
    /// What should stand at the point, for every variant the same.
    pub fn wanted(&self, walks: &Walks) -> Result<Wanted, TransferError> {
        let point = Operand::Node(self.site.point());
        let Functions { graph, seed, .. } = *self.functions;
        let most = rows::most_rows(self.width());
        let new = walks.new_base().at(point);
        let rows = self.counted.rows(Drawn {
            activation: new,
            sequence: self.functions.program.sequence(point),
            most,
            seed,
        });

        let tuned = rows::matrix(walks.old_tuned().at(point), &rows);
        if is_output(graph, self.site) {
            return Ok(Wanted {
                rows,
                values: tuned,
            });
        }

        let old = rows::matrix(walks.old_base().at(point), &rows);
        let new = rows::matrix(new, &rows);
        let frame = Frame::between(old.as_ref(), new.as_ref())?;
        let moved = tuned - old;
        let values = new + frame.carried(moved.as_ref());

        Ok(Wanted { rows, values })
    }

    /// Fits the layer and walks its path once more.
    pub fn fit(
        &self,
        wanted: &Wanted,
        result: &mut Walk,
        shared: &mut Option<SharedSystem>,
    ) -> FittedLayer {
        self.fitted(wanted, result, shared).unwrap_or_default()
    }

    /// `None` where the inputs tell nothing of what is missing.
    fn fitted(
        &self,
        wanted: &Wanted,
        result: &mut Walk,
        shared: &mut Option<SharedSystem>,
    ) -> Option<FittedLayer> {
        let layer = Layer::of(
            &self.functions.graph.nodes[self.site.layer].op,
            &result.params,
        );
        let now = rows::matrix(result.at(Operand::Node(self.site.point())), &wanted.rows);
        let mut residuals = &wanted.values - &now;
        if may_be_shifted(self.functions.graph, self.site) {
            centre_rows(&mut residuals);
        }
        let scale = self.scale(result, &layer);
        divide(&mut residuals, &scale);

        let fits = if matches!(layer.op, Op::Linear { .. }) {
            let system = self.system(result, &layer, &wanted.rows, shared);
            vec![system.fit(residuals.as_ref())]
        } else {
            self.regress(result, &layer, &wanted.rows, &residuals)
        };
        let chosen = fits.iter().flatten().map(|fit| fit.chosen).next()?;

        let change = apply::Change {
            site: self.site,
            layer: &layer,
            norm: self.norm(),
            scale: &scale,
            rounds: self.functions.rounds,
        };
        let tensors = change.apply(result, &fits);
        let rows = wanted.rows.len();
        let fit = Some(LayerFit {
            layer: layer.param.to_owned(),
            rows,
            factor: chosen.factor,
            left: chosen.left,
        });

        Some(FittedLayer { fit, tensors })
    }

    /// What the rows that a linear layer reads have in common with those of another that reads the same.
    fn system<'s>(
        &self,
        result: &Walk,
        layer: &Layer,
        rows: &[Row],
        shared: &'s mut Option<SharedSystem>,
    ) -> &'s System {
        let operand = self.functions.graph.nodes[self.site.layer].inputs[0];
        let has_intercept = self.has_intercept(layer);
        let found = shared.take().filter(|shared| {
            shared.operand == operand
                && shared.has_intercept == has_intercept
                && shared.rows == rows
        });
        let shared = shared.insert(found.unwrap_or_else(|| {
            let x = result.at(operand);
            SharedSystem {
                operand,
                rows: rows.to_vec(),
                has_intercept,
                system: System::of(
                    rows::matrix(x, rows),
                    held_back(x.batch(), rows),
                    has_intercept,
                ),
            }
        }));

        &shared.system
    }

    /// Whether the regression has an intercept: somewhere it can be put.
    fn has_intercept(&self, layer: &Layer) -> bool {
        layer.has_bias || self.norm().is_some()
    }

    /// Inputs of one output of the layer, or its outputs where they are more.
    fn width(&self) -> usize {
        let node = &self.functions.graph.nodes[self.site.layer];
        let layer = Layer::of(&node.op, self.functions.new_base);
        layer.outputs.max(layer.width)
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
                    gamma
                        .iter()
                        .zip(inverse)
                        .map(|(gamma, inverse)| gamma * inverse)
                        .collect()
                }
                Op::LayerScale { param, tensor } => {
                    vector(&result.params, &format!("{param}.{tensor}")).unwrap_or_default()
                }
                Op::Scale { factor } => vec![*factor; layer.outputs],
                _ => continue,
            };
            scale
                .iter_mut()
                .zip(factors)
                .for_each(|(scale, factor): (&mut f64, f64)| *scale *= factor);
        }

        let largest = scale
            .iter()
            .fold(0f64, |largest, scale| largest.max(scale.abs()));
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
    ) -> Vec<Option<RidgeFit>> {
        let x = result.at(self.functions.graph.nodes[self.site.layer].inputs[0]);
        let output = result.at(Operand::Node(self.site.layer));
        let kernel = match result.params[&format!("{}.weight", layer.param)].shape() {
            &[_, _, height, width] => Pair(height, width),
            _ => Pair(1, 1),
        };
        // As it is for images of this size: TensorFlow's padding depends on it.
        let padding = match &self.functions.program.instructions[self.site.layer].layer {
            network::Layer::Conv2d(layer) => layer.padding,
            _ => Pair(0, 0),
        };
        let held_back = held_back(x.batch(), rows);
        let has_intercept = self.has_intercept(layer);
        let each = layer.outputs / layer.groups;
        let channels = rows::channels(x) / layer.groups;

        (0..layer.groups)
            .map(|group| {
                let window = Window {
                    channels: group * channels..(group + 1) * channels,
                    kernel,
                    padding,
                    output_width: output.shape().last().copied().unwrap_or(1),
                };
                let x = rows::inputs(layer.op, x, window, rows);
                let system = System::of(x, held_back, has_intercept);
                system.fit(residuals.subcols(group * each, each))
            })
            .collect()
    }
}

/// Rows of the samples by which ridges are chosen: the last.
pub fn held_back(samples: usize, rows: &[Row]) -> usize {
    let first = samples - (samples as f64 * HELD_BACK).round() as usize;
    rows.iter().filter(|row| row.0 >= first).count()
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
