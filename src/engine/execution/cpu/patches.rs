//! Patches of images as tokens: a convolution whose stride is its kernel is one matrix product.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{activation::CpuActivation, gradients::Gradients, loops::sum_of_rows};
use crate::{
    execution::weights::Weights,
    network::program::layer::PatchEmbed,
    tensors::matmul::{matrix, product},
};

/// A patch embedding with its values.
pub(super) struct Patches<'a> {
    layer: &'a PatchEmbed,
    /// `[D, C · kh · kw]`
    weight: Cow<'a, [f32]>,
    bias: Option<Cow<'a, [f32]>>,
}

impl<'a> Patches<'a> {
    pub fn new(layer: &'a PatchEmbed, weights: &'a Weights) -> Self {
        Self {
            layer,
            weight: weights.host(&layer.weight),
            bias: layer.bias.as_ref().map(|bias| weights.host(bias)),
        }
    }

    /// Values of a patch.
    fn size(&self) -> usize {
        self.layer.weight.shape[1..].iter().product()
    }

    fn outputs(&self) -> usize {
        self.layer.weight.shape[0]
    }

    /// Patches of an image along its height and its width.
    fn grid(&self) -> [usize; 2] {
        let ([_, height, width], [_, _, rows, columns]) =
            (self.layer.input, self.layer.weight.shape);
        [height / rows, width / columns]
    }

    /// `[B, C, H, W]` to `[B, S, D]`.
    pub fn forward(&self, x: &CpuActivation) -> CpuActivation {
        let (size, outputs) = (self.size(), self.outputs());
        let patches = self.patches(x.values());
        let mut y = product(
            matrix(&patches, size),
            matrix(&self.weight, size).transpose(),
        );
        if let Some(bias) = &self.bias {
            y.par_chunks_mut(outputs)
                .with_min_len(16)
                .for_each(|row| row.iter_mut().zip(bias.iter()).for_each(|(v, b)| *v += b));
        }
        CpuActivation::new(y, &[self.grid().iter().product(), outputs])
    }

    /// `dW = dyᵀ patches`, `db = Σ dy`, and the patches' gradients where they lie in the image.
    pub fn backward(
        &self,
        x: &CpuActivation,
        dy: &CpuActivation,
        gradients: &mut Gradients,
        wanted: bool,
    ) -> Option<CpuActivation> {
        let patches = self.patches(x.values());
        let weight = product(dy.rows().transpose(), matrix(&patches, self.size()));
        gradients.add(&self.layer.weight.name, weight);
        if let Some(bias) = &self.layer.bias {
            gradients.add(&bias.name, sum_of_rows(dy.values(), self.outputs()));
        }

        wanted.then(|| {
            let patches = product(dy.rows(), matrix(&self.weight, self.size()));
            CpuActivation::new(self.images(&patches, x.values().len()), x.shape())
        })
    }

    /// `[B · S, C · kh · kw]`
    fn patches(&self, images: &[f32]) -> Vec<f32> {
        let image: usize = self.layer.input.iter().product();
        let of_image = self.grid().iter().product::<usize>() * self.size();
        let mut patches = vec![0.0; images.len() / image * of_image];
        patches
            .par_chunks_mut(of_image)
            .zip(images.par_chunks(image))
            .for_each(|(patches, image)| {
                let rows = patches.chunks_mut(self.layer.weight.shape[3]);
                for (i, row) in rows.enumerate() {
                    row.copy_from_slice(&image[self.start(i)..][..row.len()]);
                }
            });
        patches
    }

    /// The other way round.
    fn images(&self, patches: &[f32], size: usize) -> Vec<f32> {
        let image: usize = self.layer.input.iter().product();
        let of_image = self.grid().iter().product::<usize>() * self.size();
        let mut images = vec![0.0; size];
        images
            .par_chunks_mut(image)
            .zip(patches.par_chunks(of_image))
            .for_each(|(image, patches)| {
                let rows = patches.chunks(self.layer.weight.shape[3]);
                for (i, row) in rows.enumerate() {
                    image[self.start(i)..][..row.len()].copy_from_slice(row);
                }
            });
        images
    }

    /// Where the row `i` of all patches' rows begins in its image: they are counted by patch, channel and
    /// height.
    fn start(&self, i: usize) -> usize {
        let ([_, height, width], [_, channels, rows, columns]) =
            (self.layer.input, self.layer.weight.shape);
        let (patch, channel, row) = (i / (channels * rows), i / rows % channels, i % rows);
        let [_, across] = self.grid();
        let (y, x) = (patch / across * rows + row, patch % across * columns);
        (channel * height + y) * width + x
    }
}
