//! Writes a layer's fit into its result: into weight and bias, or into the norm behind it.

use rayon::prelude::*;

use super::{
    layer::{Layer, vector},
    ridge::RidgeFit,
    sites::Site,
    walk::Walk,
};
use crate::{
    execution::{Moments, cpu::moments},
    network::{Op, Operand},
    tensors::{Checkpoint, HostTensor},
};

/// A change of one layer.
pub struct Change<'c> {
    pub site: &'c Site,
    pub layer: &'c Layer<'c>,
    /// The batch norm right behind the layer, and its ε.
    pub norm: Option<(&'c str, f64)>,
    /// What a change of the layer's output is multiplied by at the point, by channel; infinite where a
    /// channel is left alone.
    pub scale: &'c [f64],
    /// Whether tensors are rounded to the dtypes of those that they replace.
    pub rounds: bool,
}

impl Change<'_> {
    /// Writes the fits, one for each group of channels, into the result and walks its path once more; the
    /// tensors that changed.
    pub fn apply(&self, result: &mut Walk, fits: &[Option<RidgeFit>]) -> Checkpoint {
        let Layer {
            param, has_bias, ..
        } = *self.layer;
        let own = Operand::Node(self.site.layer);
        let before = self.norm.map(|_| moments(result.at(own)));
        let (name, bias) = (format!("{param}.weight"), self.layer.bias.clone());
        let (values, intercept) = self.weight(&result.params[&name], fits);
        let shape = result.params[&name].shape().to_vec();
        self.replace(
            &mut result.params,
            &name,
            HostTensor::from_f32(shape, values),
        );

        let mut changed = vec![name];
        match (self.norm, before) {
            (Some((norm, eps)), Some(before)) => {
                result.step(self.site.layer);
                let after = moments(result.at(own));
                let moved = Renormalisation {
                    eps,
                    before: &before,
                    after: &after,
                    intercept: &intercept,
                };
                self.renormalise(&mut result.params, norm, moved);
                changed.extend(["weight", "bias"].map(|part| format!("{norm}.{part}")));
            }
            _ if has_bias => {
                self.add(&mut result.params, &bias, &intercept);
                changed.push(bias);
            }
            _ => {}
        }
        self.site
            .path
            .iter()
            .for_each(|&position| result.step(position));

        let changed = changed.into_iter().filter_map(|name| {
            let tensor = result.params.get(&name)?.clone();
            Some((name, tensor))
        });

        changed.collect()
    }

    /// The layer's weight with the fits added, and what is to be added to its output, by channel.
    fn weight(&self, weight: &HostTensor, fits: &[Option<RidgeFit>]) -> (Vec<f32>, Vec<f64>) {
        let Layer {
            op,
            groups,
            outputs,
            width,
            ..
        } = *self.layer;
        let mut values = weight.f32().into_owned();
        let mut intercept = vec![0.0; outputs];
        let is_transposed = matches!(
            op,
            Op::Linear {
                transposed: true,
                ..
            }
        );
        let each = outputs / groups;

        for (group, fit) in fits.iter().enumerate() {
            let Some(fit) = fit else { continue };
            let scale = &self.scale[group * each..][..each];
            for output in (0..each).filter(|&output| scale[output].is_finite()) {
                intercept[group * each + output] = fit.intercept[output];
            }
            if is_transposed {
                for (input, row) in values.chunks_mut(outputs).enumerate() {
                    for (output, value) in row.iter_mut().enumerate() {
                        if scale[output].is_finite() {
                            *value = (f64::from(*value) + fit.weight[(output, input)]) as f32;
                        }
                    }
                }
            } else {
                let rows = values.par_chunks_mut(width).skip(group * each).take(each);
                rows.enumerate()
                    .filter(|(output, _)| scale[*output].is_finite())
                    .for_each(|(output, row)| {
                        for (input, value) in row.iter_mut().enumerate() {
                            *value = (f64::from(*value) + fit.weight[(output, input)]) as f32;
                        }
                    });
            }
        }

        (values, intercept)
    }

    /// Makes the norm by its new moments what it was by its old ones, with the intercept added: γ' = s σ',
    /// β' = β + s (intercept + mean' − mean) with s = γ / σ.
    fn renormalise(&self, params: &mut Checkpoint, norm: &str, change: Renormalisation) {
        let Renormalisation {
            eps,
            before,
            after,
            intercept,
        } = change;
        let channels = before.mean.len();
        let (weight, bias) = (format!("{norm}.weight"), format!("{norm}.bias"));
        let gamma = vector(params, &weight).unwrap_or_else(|| vec![1.0; channels]);
        let slopes: Vec<f64> = gamma
            .iter()
            .zip(&before.variance)
            .map(|(gamma, &v)| gamma / deviation(v, eps))
            .collect();

        let new_gamma = slopes
            .iter()
            .zip(&after.variance)
            .map(|(slope, &v)| slope * deviation(v, eps));
        let new_gamma: Vec<f32> = new_gamma.map(|v| v as f32).collect();
        let shift: Vec<f64> = (0..channels)
            .map(|c| slopes[c] * (intercept[c] + after.mean[c] - before.mean[c]))
            .collect();

        if params.get(&weight).is_some() {
            self.replace(
                params,
                &weight,
                HostTensor::from_f32(vec![channels], new_gamma),
            );
        }

        self.add(params, &bias, &shift);
    }

    /// Adds to a vector, if it is there.
    fn add(&self, params: &mut Checkpoint, name: &str, shift: &[f64]) {
        let Some(values) = vector(params, name) else {
            return;
        };

        let values: Vec<f32> = values
            .iter()
            .zip(shift)
            .map(|(v, shift)| (v + shift) as f32)
            .collect();

        self.replace(
            params,
            name,
            HostTensor::from_f32(vec![values.len()], values),
        );
    }

    /// Puts a tensor in the place of another.
    fn replace(&self, params: &mut Checkpoint, name: &str, tensor: HostTensor) {
        let dtype = params[name].dtype();
        let tensor = if self.rounds {
            HostTensor::from_f32_as(dtype, tensor.shape().to_vec(), tensor.f32().into_owned())
        } else {
            tensor
        };
        params.insert(name, tensor);
    }
}

/// What a layer put out before and after, and what is to be added to that.
struct Renormalisation<'r> {
    eps: f64,
    before: &'r Moments,
    after: &'r Moments,
    intercept: &'r [f64],
}

/// What a batch norm divides by.
fn deviation(variance: f64, eps: f64) -> f64 {
    (variance + eps).sqrt()
}
