//! Hugging Face's `ResNetForImageClassification`: timm's `ResNet`s under other names. The stride may stand in a
//! bottleneck's first convolution, and before the first stage.

use super::{Builder, PoolWindow, Source};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::Op,
};

const STEM: &str = "resnet.embedder.embedder";
const STAGES: &str = "resnet.encoder.stages";

/// What all blocks have in common.
struct Blocks<'a> {
    source: &'a Source<'a>,
    activation: Op,
    /// The stride stands in a bottleneck's first convolution.
    strides_first: bool,
}

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.head("ForImageClassification")?;
    let blocks = Blocks {
        source,
        activation: source.activation("hidden_act", "relu")?,
        strides_first: source.config["downsample_in_bottleneck"] == true,
    };
    let halves_first = source.config["downsample_in_first_stage"] == true;
    let input = source.image_of_any_size(&format!("{STEM}.convolution.weight"))?;

    let mut builder = Builder::default();
    let x = blocks.layer(&mut builder, STEM, 2, Operand::Input)?;
    let x = blocks.activated(&mut builder, STEM, x);
    let window = PoolWindow {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let mut x = builder.max_pool("resnet.embedder.pooler", window, x);
    for stage in 0..source.depth(STAGES, "layers.0.layer.0.convolution.weight") {
        let prefix = format!("{STAGES}.{stage}.layers");
        for number in 0..source.depth(&prefix, "layer.0.convolution.weight") {
            let halves = number == 0 && (stage > 0 || halves_first);
            let stride = if halves { 2 } else { 1 };
            x = blocks.block(&mut builder, &format!("{prefix}.{number}"), stride, x)?;
        }
    }

    let pooled = builder.push("resnet.pooler", Op::GlobalAvgPool {}, &[x]);
    builder.linear("classifier.1", pooled);

    Ok(builder.finish(input))
}

impl Blocks<'_> {
    /// A convolution and its norm.
    fn layer(
        &self,
        builder: &mut Builder,
        prefix: &str,
        stride: usize,
        x: Operand,
    ) -> Result<Operand, GraphError> {
        let param = format!("{prefix}.convolution");
        let [_, _, kernel, _] = self.source.shape(&format!("{param}.weight"))?;
        let x = builder.convolution(&param, stride, kernel / 2, x);
        Ok(builder.batch_norm(&format!("{prefix}.normalization"), x))
    }

    fn activated(&self, builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
        builder.push(
            format!("{prefix}.activation"),
            self.activation.clone(),
            &[x],
        )
    }

    fn block(
        &self,
        builder: &mut Builder,
        prefix: &str,
        stride: usize,
        input: Operand,
    ) -> Result<Operand, GraphError> {
        let layers = self
            .source
            .depth(&format!("{prefix}.layer"), "convolution.weight");
        let is_bottleneck = layers == 3;
        let strided = usize::from(is_bottleneck && !self.strides_first);
        let mut x = input;
        for number in 0..layers {
            let name = format!("{prefix}.layer.{number}");
            let own = if number == strided { stride } else { 1 };
            x = self.layer(builder, &name, own, x)?;
            // Inside a block the library has `relu`, whatever the configuration says.
            if number + 1 < layers {
                x = builder.push(format!("{name}.activation"), Op::Relu {}, &[x]);
            }
        }

        let shortcut = format!("{prefix}.shortcut");
        let mut skip = input;
        if self.source.has(&format!("{shortcut}.convolution.weight")) {
            skip = self.layer(builder, &shortcut, stride, skip)?;
        }
        let sum = builder.add(format!("{prefix}.sum"), &[x, skip]);

        Ok(self.activated(builder, prefix, sum))
    }
}
