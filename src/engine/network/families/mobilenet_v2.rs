//! Hugging Face's `MobileNetV2ForImageClassification` (Sandler et al. 2018).

use super::{
    Builder, Source,
    builder::{Sliding, Zeros},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::Op,
};

/// Strides of the layers behind the stem.
const STRIDES: [usize; 16] = [2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];
const STEM: &str = "mobilenet_v2.conv_stem";

/// What all layers have in common.
struct Layers<'a> {
    source: &'a Source<'a>,
    activation: Op,
    eps: f64,
    /// Zeros are as `TensorFlow`'s SAME has them.
    same: bool,
}

/// A convolution of a block.
struct Layer {
    name: String,
    stride: usize,
    is_depthwise: bool,
    is_active: bool,
}

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.head("ForImageClassification")?;
    let layers = Layers {
        source,
        activation: source.activation("hidden_act", "relu6")?,
        eps: source.number("layer_norm_eps", 1e-3)?,
        same: source.config["tf_padding"] != false,
    };
    let input = source.image_of_any_size(&format!("{STEM}.first_conv.convolution.weight"))?;

    let mut builder = Builder::default();
    let first = Layer::plain(format!("{STEM}.first_conv")).with_stride(2);
    let mut x = layers.layer(&mut builder, &first, Operand::Input)?;
    x = layers.block(&mut builder, STEM, 1, x)?;
    for (number, stride) in STRIDES.into_iter().enumerate() {
        let prefix = format!("mobilenet_v2.layer.{number}");
        let input = x;
        x = layers.block(&mut builder, &prefix, stride, input)?;
        if stride == 1 && layers.keeps_its_channels(&prefix)? {
            x = builder.add(format!("{prefix}.sum"), &[input, x]);
        }
    }

    let last = Layer::plain("mobilenet_v2.conv_1x1".to_owned());
    let x = layers.layer(&mut builder, &last, x)?;
    let pooled = builder.push("mobilenet_v2.pooler", Op::GlobalAvgPool {}, &[x]);
    builder.linear("classifier", pooled);

    Ok(builder.finish(input))
}

impl Layer {
    fn plain(name: String) -> Self {
        Self {
            name,
            stride: 1,
            is_depthwise: false,
            is_active: true,
        }
    }

    fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

impl Layers<'_> {
    fn layer(
        &self,
        builder: &mut Builder,
        layer: &Layer,
        x: Operand,
    ) -> Result<Operand, GraphError> {
        let param = format!("{}.convolution", layer.name);
        let [outputs, _, kernel, _] = self.source.shape(&format!("{param}.weight"))?;
        let how = Sliding {
            stride: layer.stride,
            zeros: if self.same && kernel > 1 {
                Zeros::Same
            } else {
                Zeros::Around(kernel.saturating_sub(1) / 2)
            },
            groups: if layer.is_depthwise { outputs } else { 1 },
        };
        let x = builder.convolution_of(&param, how, x);
        let x = builder.batch_norm_of(&format!("{}.normalization", layer.name), self.eps, x);
        if !layer.is_active {
            return Ok(x);
        }
        let id = format!("{}.activation", layer.name);

        Ok(builder.push(id, self.activation.clone(), &[x]))
    }

    /// An expansion where there is one, a depthwise convolution, and a linear layer.
    fn block(
        &self,
        builder: &mut Builder,
        prefix: &str,
        stride: usize,
        input: Operand,
    ) -> Result<Operand, GraphError> {
        let expansion = Layer::plain(format!("{prefix}.expand_1x1"));
        let depthwise = Layer {
            is_depthwise: true,
            ..Layer::plain(format!("{prefix}.conv_3x3")).with_stride(stride)
        };
        let projection = Layer {
            is_active: false,
            ..Layer::plain(format!("{prefix}.reduce_1x1"))
        };

        let mut x = input;
        if self
            .source
            .has(&format!("{}.convolution.weight", expansion.name))
        {
            x = self.layer(builder, &expansion, x)?;
        }
        let x = self.layer(builder, &depthwise, x)?;

        self.layer(builder, &projection, x)
    }

    fn keeps_its_channels(&self, prefix: &str) -> Result<bool, GraphError> {
        let first = format!("{prefix}.expand_1x1.convolution.weight");
        let last = format!("{prefix}.reduce_1x1.convolution.weight");
        let [_, read, ..] = self.source.shape::<4>(&first)?;
        let [made, ..] = self.source.shape::<4>(&last)?;
        Ok(read == made)
    }
}
