//! `ConvNeXt` (Liu et al. 2022) and its second version (Woo et al. 2023), with timm's names or Hugging Face's.
//!
//! The form of the stem, the depths, kernels, factors of layers and response norms are read from the tensors.

use super::{
    Builder, Source, Timm,
    builder::{Sliding, Zeros},
    settings,
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::Op,
};

/// Those of timm's names that imply nothing that the tensors do not show, but for eps.
pub(super) const TIMM: Timm = Timm {
    names: &[
        "convnext_atto",
        "convnext_atto_ols",
        "convnext_femto",
        "convnext_femto_ols",
        "convnext_pico",
        "convnext_pico_ols",
        "convnext_nano",
        "convnext_nano_ols",
        "convnext_tiny_hnf",
        "convnext_tiny",
        "convnext_small",
        "convnext_base",
        "convnext_large",
        "convnext_large_mlp",
        "convnext_xlarge",
        "convnext_xxlarge",
        "convnextv2_atto",
        "convnextv2_femto",
        "convnextv2_pico",
        "convnextv2_nano",
        "convnextv2_tiny",
        "convnextv2_small",
        "convnextv2_base",
        "convnextv2_large",
        "convnextv2_huge",
    ],
    settings: &settings::TIMM_CONVNEXT,
    pool: "avg",
    build: timm,
};

/// The eps of a name, where it is another than all others'.
const OWN_EPS: (&str, f64) = ("convnext_xxlarge", 1e-5);
const EPS: f64 = 1e-6;

/// The tensors of a block, and what its factors are called.
struct Names {
    depthwise: &'static str,
    norm: &'static str,
    up: &'static str,
    response_norm: &'static str,
    down: &'static str,
    scale: &'static str,
}

const OF_TIMM: Names = Names {
    depthwise: "conv_dw",
    norm: "norm",
    up: "mlp.fc1",
    response_norm: "mlp.grn",
    down: "mlp.fc2",
    scale: "gamma",
};
const OF_TRANSFORMERS: Names = Names {
    depthwise: "dwconv",
    norm: "layernorm",
    up: "pwconv1",
    response_norm: "grn",
    down: "pwconv2",
    scale: "layer_scale_parameter",
};

/// Blocks of a network.
struct Blocks<'a> {
    source: &'a Source<'a>,
    names: &'a Names,
    activation: Op,
    eps: f64,
}

fn timm(source: &Source<'_>) -> Result<Graph, GraphError> {
    let (own, own_eps) = OWN_EPS;
    let is_own = source.architecture() == own;
    let eps = source.argument("norm_eps", if is_own { own_eps } else { EPS })?;
    let input = source.image("stem.0.weight")?;
    let blocks = Blocks {
        source,
        names: &OF_TIMM,
        activation: Op::Gelu {},
        eps,
    };
    let mut builder = Builder::default();
    let mut x = blocks.stem(&mut builder)?;

    for stage in 0..source.depth("stages", "blocks.0.conv_dw.weight") {
        let prefix = format!("stages.{stage}");
        x = blocks.downsampled(&mut builder, &format!("{prefix}.downsample"), x)?;
        let prefix = format!("{prefix}.blocks");
        for block in 0..source.depth(&prefix, "conv_dw.weight") {
            x = blocks.block(&mut builder, &format!("{prefix}.{block}"), x)?;
        }
    }

    if source.has("norm_pre.weight") {
        x = blocks.norm(&mut builder, "norm_pre", x)?;
    }
    let mut x = builder.push("head.global_pool", Op::GlobalAvgPool {}, &[x]);
    if source.has("head.norm.weight") {
        x = blocks.norm(&mut builder, "head.norm", x)?;
    }
    if source.has("head.pre_logits.fc.weight") {
        x = builder.linear("head.pre_logits.fc", x);
        x = builder.push("head.pre_logits.act", Op::Gelu {}, &[x]);
    }
    builder.linear("head.fc", x);

    Ok(builder.finish(input))
}

/// Hugging Face's `ConvNextForImageClassification` and `ConvNextV2ForImageClassification`.
pub(super) fn hugging_face(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.head("ForImageClassification")?;
    let body = if source.config["model_type"] == "convnextv2" {
        "convnextv2"
    } else {
        "convnext"
    };
    let patches = format!("{body}.embeddings.patch_embeddings");
    let input = source.image_of_any_size(&format!("{patches}.weight"))?;
    let blocks = Blocks {
        source,
        names: &OF_TRANSFORMERS,
        activation: source.activation("hidden_act", "gelu")?,
        eps: EPS,
    };
    let mut builder = Builder::default();
    let [_, _, side, _] = source.shape(&format!("{patches}.weight"))?;
    let x = builder.convolution(&patches, side, 0, Operand::Input);
    let mut x = blocks.norm(&mut builder, &format!("{body}.embeddings.layernorm"), x)?;

    let stages = format!("{body}.encoder.stages");
    for stage in 0..source.depth(&stages, "layers.0.dwconv.weight") {
        let prefix = format!("{stages}.{stage}");
        x = blocks.downsampled(&mut builder, &format!("{prefix}.downsampling_layer"), x)?;
        let prefix = format!("{prefix}.layers");
        for block in 0..source.depth(&prefix, "dwconv.weight") {
            x = blocks.block(&mut builder, &format!("{prefix}.{block}"), x)?;
        }
    }

    let pooled = builder.push("pool", Op::GlobalAvgPool {}, &[x]);
    let eps = source.number("layer_norm_eps", 1e-12)?;
    let normed = builder.layer_norm(&format!("{body}.layernorm"), eps, pooled);
    builder.linear("classifier", normed);

    Ok(builder.finish(input))
}

impl Blocks<'_> {
    /// A convolution of patches, or two that overlap, and a norm.
    fn stem(&self, builder: &mut Builder) -> Result<Operand, GraphError> {
        let [_, _, side, _] = self.source.shape("stem.0.weight")?;
        let second = self.source.signature.get("stem.1.weight");
        if second.is_none_or(|info| info.shape.len() == 1) {
            let x = builder.convolution("stem.0", side, 0, Operand::Input);
            return self.norm(builder, "stem.1", x);
        }
        let x = builder.convolution("stem.0", 2, 1, Operand::Input);
        let x = builder.convolution("stem.1", 2, 1, x);
        self.norm(builder, "stem.2", x)
    }

    /// A norm and a convolution whose stride is its kernel, where there are such.
    fn downsampled(
        &self,
        builder: &mut Builder,
        prefix: &str,
        x: Operand,
    ) -> Result<Operand, GraphError> {
        let (norm, layer) = (format!("{prefix}.0"), format!("{prefix}.1"));
        if !self.source.has(&format!("{layer}.weight")) {
            return Ok(x);
        }
        let [_, _, side, _] = self.source.shape(&format!("{layer}.weight"))?;
        let x = self.norm(builder, &norm, x)?;
        Ok(builder.convolution(&layer, side, 0, x))
    }

    /// Without a bias it is another norm, which no tensor tells otherwise.
    fn norm(&self, builder: &mut Builder, param: &str, x: Operand) -> Result<Operand, GraphError> {
        self.source.shape::<1>(&format!("{param}.bias"))?;
        Ok(builder.layer_norm(param, self.eps, x))
    }

    fn block(
        &self,
        builder: &mut Builder,
        prefix: &str,
        input: Operand,
    ) -> Result<Operand, GraphError> {
        let names = self.names;
        let depthwise = format!("{prefix}.{}", names.depthwise);
        let [channels, _, kernel, _] = self.source.shape(&format!("{depthwise}.weight"))?;
        let how = Sliding {
            stride: 1,
            zeros: Zeros::Around(kernel / 2),
            groups: channels,
        };
        let x = builder.convolution_of(&depthwise, how, input);
        let x = self.norm(builder, &format!("{prefix}.{}", names.norm), x)?;

        let x = self.of_pixels(builder, &format!("{prefix}.{}", names.up), x);
        let mut x = builder.push(format!("{prefix}.act"), self.activation.clone(), &[x]);
        let param = format!("{prefix}.{}", names.response_norm);
        if let Some(weight) = self.source.signature.get(&format!("{param}.weight")) {
            let op = Op::GlobalResponseNorm {
                param: param.clone(),
                eps: EPS,
                of_rank_four: weight.shape.len() == 4,
            };
            x = builder.push(param, op, &[x]);
        }
        let mut x = self.of_pixels(builder, &format!("{prefix}.{}", names.down), x);
        if self.source.has(&format!("{prefix}.{}", names.scale)) {
            x = builder.layer_scale(prefix, names.scale, x);
        }

        Ok(builder.add(format!("{prefix}.sum"), &[x, input]))
    }

    /// A linear layer of every pixel, or the convolution that is the same.
    fn of_pixels(&self, builder: &mut Builder, param: &str, x: Operand) -> Operand {
        let weight = self.source.signature.get(&format!("{param}.weight"));
        if weight.is_some_and(|info| info.shape.len() == 4) {
            return builder.convolution(param, 1, 0, x);
        }
        builder.linear(param, x)
    }
}
