//! `MobileNetV3`s (Howard et al. 2019) with timm's names: `conv_stem`, `bn1`, `blocks.0.0.conv_dw` …, `conv_head`,
//! `classifier`. The head's convolution stands behind the pooling.

use super::{
    Builder, Source, Timm,
    builder::BATCH_NORM_EPS,
    efficientnet::{TENSORFLOW_EPS, is_padded_as_same},
    inverted_residual::{Block, Blocks},
    settings,
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::{Op, Pair},
};

pub(super) const TIMM: Timm = Timm {
    names: &[
        "mobilenetv3_large_075",
        "mobilenetv3_large_100",
        "mobilenetv3_large_150d",
        "mobilenetv3_small_050",
        "mobilenetv3_small_075",
        "mobilenetv3_small_100",
        "tf_mobilenetv3_large_075",
        "tf_mobilenetv3_large_100",
        "tf_mobilenetv3_large_minimal_100",
        "tf_mobilenetv3_small_075",
        "tf_mobilenetv3_small_100",
        "tf_mobilenetv3_small_minimal_100",
    ],
    settings: &settings::TIMM_EFFICIENTNET,
    pool: "avg",
    build,
};

/// The stages of a size: their strides, and how many of the first have `relu`.
struct Stages {
    strides: &'static [usize],
    with_relu: usize,
}

const LARGE: Stages = Stages {
    strides: &[1, 2, 2, 2, 1, 2, 1],
    with_relu: 3,
};
const SMALL: Stages = Stages {
    strides: &[2, 2, 2, 1, 2, 1],
    with_relu: 2,
};

fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let name = source.architecture();
    let is_of_tensorflow = name.starts_with("tf_");
    let activation = if name.contains("_minimal") {
        Op::Relu {}
    } else {
        Op::HardSwish {}
    };
    let stages = if name.contains("_small") {
        SMALL
    } else {
        LARGE
    };
    let blocks = Blocks {
        source,
        eps: if is_of_tensorflow {
            TENSORFLOW_EPS
        } else {
            BATCH_NORM_EPS
        },
        same: is_padded_as_same(source)?,
        squeezed: Some(Op::Relu {}),
        gate: Op::HardSigmoid {},
        skips_single: false,
    };

    let input = source.image("conv_stem.weight")?;
    let mut builder = Builder::default();
    let x = blocks.convolution(&mut builder, "conv_stem", 2, Operand::Input)?;
    let x = blocks.norm(&mut builder, "bn1", x);
    let mut x = builder.push("bn1.act", activation.clone(), &[x]);
    for (stage, &stride) in stages.strides.iter().enumerate() {
        let own = if stage < stages.with_relu {
            Op::Relu {}
        } else {
            activation.clone()
        };
        for number in 0..source.depth(&format!("blocks.{stage}"), "bn1.weight") {
            let block = Block {
                prefix: format!("blocks.{stage}.{number}"),
                stride: if number == 0 { stride } else { 1 },
                activation: own.clone(),
            };
            x = blocks.build(&mut builder, &block, x)?;
        }
    }

    let output = Pair(1, 1);
    let pooled = builder.push("global_pool", Op::AdaptiveAvgPool { output }, &[x]);
    let x = builder.convolution("conv_head", 1, 0, pooled);
    let x = builder.push("act2", activation, &[x]);
    let x = builder.push("flatten", Op::Flatten {}, &[x]);
    builder.linear("classifier", x);

    Ok(builder.finish(input))
}
