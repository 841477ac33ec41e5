//! `EfficientNet`s and `MobileNetV2`s with timm's names: `conv_stem`, `bn1`, `blocks.0.0.conv_dw` …, `conv_head`, `bn2`,
//! `classifier`.

use super::{
    Builder, Source, Timm,
    builder::BATCH_NORM_EPS,
    inverted_residual::{Block, Blocks},
    settings,
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::Op,
};

pub(super) const TIMM: Timm = Timm {
    names: &[
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_b4",
        "efficientnet_b5",
        "efficientnet_b6",
        "efficientnet_b7",
        "efficientnet_b8",
        "efficientnet_lite0",
        "efficientnet_lite1",
        "efficientnet_lite2",
        "efficientnet_lite3",
        "efficientnet_lite4",
        "efficientnetv2_s",
        "efficientnetv2_m",
        "efficientnetv2_l",
        "efficientnetv2_xl",
        "tf_efficientnet_b0",
        "tf_efficientnet_b1",
        "tf_efficientnet_b2",
        "tf_efficientnet_b3",
        "tf_efficientnet_b4",
        "tf_efficientnet_b5",
        "tf_efficientnet_b6",
        "tf_efficientnet_b7",
        "tf_efficientnet_b8",
        "tf_efficientnet_lite0",
        "tf_efficientnet_lite1",
        "tf_efficientnet_lite2",
        "tf_efficientnet_lite3",
        "tf_efficientnet_lite4",
        "tf_efficientnetv2_b0",
        "tf_efficientnetv2_b1",
        "tf_efficientnetv2_b2",
        "tf_efficientnetv2_b3",
        "tf_efficientnetv2_s",
        "tf_efficientnetv2_m",
        "tf_efficientnetv2_l",
        "tf_efficientnetv2_xl",
        "mobilenetv2_035",
        "mobilenetv2_050",
        "mobilenetv2_075",
        "mobilenetv2_100",
        "mobilenetv2_110d",
        "mobilenetv2_120d",
        "mobilenetv2_140",
    ],
    settings: &settings::TIMM_EFFICIENTNET,
    pool: "avg",
    build,
};

/// Strides of the stages, as many as a network has.
const STRIDES: [usize; 7] = [1, 2, 2, 2, 1, 2, 1];
/// The eps of networks that were made with `TensorFlow`.
pub(super) const TENSORFLOW_EPS: f64 = 1e-3;

/// Whether zeros are as `TensorFlow`'s SAME has them, by the argument or by the name.
pub(super) fn is_padded_as_same(source: &Source<'_>) -> Result<bool, GraphError> {
    let given = &source.config["model_args"]["pad_type"];
    match given.as_str() {
        None if given.is_null() => Ok(source.architecture().starts_with("tf_")),
        Some("same") => Ok(true),
        Some("") => Ok(false),
        _ => Err(GraphError::Malformed {
            detail: format!("model_args.pad_type: {given} is not supported; only \"same\""),
        }),
    }
}

fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let name = source.architecture();
    let is_of_tensorflow = name.starts_with("tf_");
    let activation = if name.starts_with("mobilenetv2") || name.contains("_lite") {
        Op::Relu6 {}
    } else {
        Op::Silu {}
    };
    let blocks = Blocks {
        source,
        eps: if is_of_tensorflow {
            TENSORFLOW_EPS
        } else {
            BATCH_NORM_EPS
        },
        same: is_padded_as_same(source)?,
        squeezed: None,
        gate: Op::Sigmoid {},
        skips_single: true,
    };

    let input = source.image("conv_stem.weight")?;
    let mut builder = Builder::default();
    let x = blocks.convolution(&mut builder, "conv_stem", 2, Operand::Input)?;
    let x = blocks.norm(&mut builder, "bn1", x);
    let mut x = builder.push("bn1.act", activation.clone(), &[x]);
    for (stage, stride) in STRIDES.into_iter().enumerate() {
        for number in 0..source.depth(&format!("blocks.{stage}"), "bn1.weight") {
            let block = Block {
                prefix: format!("blocks.{stage}.{number}"),
                stride: if number == 0 { stride } else { 1 },
                activation: activation.clone(),
            };
            x = blocks.build(&mut builder, &block, x)?;
        }
    }

    let x = blocks.convolution(&mut builder, "conv_head", 1, x)?;
    let x = blocks.norm(&mut builder, "bn2", x);
    let x = builder.push("bn2.act", activation, &[x]);
    let pooled = builder.push("global_pool", Op::GlobalAvgPool {}, &[x]);
    builder.linear("classifier", pooled);

    Ok(builder.finish(input))
}
