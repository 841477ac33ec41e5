//! `DenseNet`s (Huang et al. 2017) with timm's names, which are torchvision's: `features.conv0`, `features.norm0`,
//! `features.denseblock1.denselayer1.norm1` … `features.transition1.conv` … `features.norm5`, `classifier`.
//!
//! Every layer reads the channels of its block's input and of all layers before it.

use super::{Builder, PoolWindow, Source, Timm, settings};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::{Op, Pair},
};

pub(super) const TIMM: Timm = Timm {
    names: &[
        "densenet121",
        "densenet161",
        "densenet169",
        "densenet201",
        "densenet264d",
    ],
    settings: &settings::TIMM_DENSENET,
    pool: "avg",
    build,
};

fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let input = source.image("features.conv0.weight")?;
    let mut builder = Builder::default();
    let mut x = stem(&mut builder, source)?;

    for number in 1.. {
        let block = format!("features.denseblock{number}");
        if !source.has(&format!("{block}.denselayer1.conv1.weight")) {
            break;
        }
        x = dense_block(&mut builder, source, &block, x);
        let transition = format!("features.transition{number}");
        if source.has(&format!("{transition}.conv.weight")) {
            x = halved(&mut builder, &transition, x);
        }
    }

    let x = normed(&mut builder, "features.norm5", x);
    let pooled = builder.push("global_pool", Op::GlobalAvgPool {}, &[x]);
    builder.linear("classifier", pooled);

    Ok(builder.finish(input))
}

/// One convolution, or three small ones, and a pooling.
fn stem(builder: &mut Builder, source: &Source<'_>) -> Result<Operand, GraphError> {
    let [_, _, kernel, _] = source.shape("features.conv0.weight")?;
    let x = builder.convolution("features.conv0", 2, kernel / 2, Operand::Input);
    let mut x = normed(builder, "features.norm0", x);
    if source.has("features.conv2.weight") {
        for layer in [1, 2] {
            x = builder.convolution(&format!("features.conv{layer}"), 1, 1, x);
            x = normed(builder, &format!("features.norm{layer}"), x);
        }
    }
    let window = PoolWindow {
        kernel: 3,
        stride: 2,
        padding: 1,
    };

    Ok(builder.max_pool("features.pool0", window, x))
}

fn dense_block(
    builder: &mut Builder,
    source: &Source<'_>,
    prefix: &str,
    input: Operand,
) -> Operand {
    let mut made = vec![input];
    let mut x = input;
    for number in 1.. {
        let layer = format!("{prefix}.denselayer{number}");
        if !source.has(&format!("{layer}.conv1.weight")) {
            break;
        }
        let hidden = normed(builder, &format!("{layer}.norm1"), x);
        let hidden = builder.convolution(&format!("{layer}.conv1"), 1, 0, hidden);
        let hidden = normed(builder, &format!("{layer}.norm2"), hidden);
        made.push(builder.convolution(&format!("{layer}.conv2"), 1, 1, hidden));
        x = builder.push(format!("{layer}.concat"), Op::Concat {}, &made);
    }

    x
}

/// Between two blocks: fewer channels, and half as many rows and columns.
fn halved(builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
    let x = normed(builder, &format!("{prefix}.norm"), x);
    let x = builder.convolution(&format!("{prefix}.conv"), 1, 0, x);
    let op = Op::AvgPool {
        kernel: Pair(2, 2),
        stride: Some(Pair(2, 2)),
        padding: Pair(0, 0),
        ceil_mode: false,
        count_include_pad: true,
    };
    builder.push(format!("{prefix}.pool"), op, &[x])
}

fn normed(builder: &mut Builder, param: &str, x: Operand) -> Operand {
    let x = builder.batch_norm(param, x);
    builder.push(format!("{param}.relu"), Op::Relu {}, &[x])
}
