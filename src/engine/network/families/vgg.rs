//! VGG with torchvision's names (`features.N`, `classifier.0`, `classifier.3`, `classifier.6`) or
//! timm's (`features.N`, `pre_logits.fc1`, `pre_logits.fc2`, `head.fc`), told apart by the tensors.

use super::{Builder, PoolWindow, Source, Timm, settings};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand},
    op::{Op, Pair},
};

/// Side of the feature map that the classifier was made for.
const SIDE: usize = 7;

pub(super) const TIMM: Timm = Timm {
    names: &[
        "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
    ],
    settings: &settings::TIMM_VGG,
    pool: "avg",
    build,
};

fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let name = source.architecture();
    let norms = name.ends_with("_bn");
    let convolutions = match name.trim_end_matches("_bn") {
        "vgg11" => [1, 1, 2, 2, 2],
        "vgg13" => [2, 2, 2, 2, 2],
        "vgg16" => [2, 2, 3, 3, 3],
        _ => [2, 2, 4, 4, 4],
    };
    let input = source.image("features.0.weight")?;
    let mut builder = Builder::default();
    let (mut x, mut position, mut last) = (Operand::Input, 0, String::new());

    // Modules are numbered in order: convolution, batch norm if any, relu; then the stage's pool.
    for stage in convolutions {
        for _ in 0..stage {
            last = format!("features.{position}");
            x = builder.convolution(&last, 1, 1, x);
            position += 1;
            if norms {
                x = builder.batch_norm(&format!("features.{position}"), x);
                position += 1;
            }
            x = builder.push(format!("features.{position}"), Op::Relu {}, &[x]);
            position += 1;
        }
        let window = PoolWindow {
            kernel: 2,
            stride: 2,
            padding: 0,
        };
        x = builder.max_pool(&format!("features.{position}"), window, x);
        position += 1;
    }

    if source.has("pre_logits.fc1.weight") {
        timm_head(&mut builder, source, &input, x)?;
    } else {
        let [channels, ..] = source.shape::<4>(&format!("{last}.weight"))?;
        torchvision_head(&mut builder, source, channels, x)?;
    }

    Ok(builder.finish(input))
}

/// Pooled to 7 × 7, unless the first layer is so narrow that it reads the features as they are
/// (the CIFAR form).
fn torchvision_head(
    builder: &mut Builder,
    source: &Source<'_>,
    channels: usize,
    mut x: Operand,
) -> Result<(), GraphError> {
    let [_, columns] = source.shape("classifier.0.weight")?;
    if columns == channels * SIDE * SIDE {
        x = builder.push(
            "avgpool",
            Op::AdaptiveAvgPool {
                output: Pair(SIDE, SIDE),
            },
            &[x],
        );
    }
    x = builder.push("flatten", Op::Flatten {}, &[x]);
    for hidden in [0, 3] {
        x = builder.linear(&format!("classifier.{hidden}"), x);
        x = builder.push(format!("classifier.{}", hidden + 1), Op::Relu {}, &[x]);
    }
    builder.linear("classifier.6", x);

    Ok(())
}

/// The hidden layers are convolutions over the feature map; one that is smaller than the kernel is
/// pooled up to it first.
fn timm_head(
    builder: &mut Builder,
    source: &Source<'_>,
    input: &Input,
    mut x: Operand,
) -> Result<(), GraphError> {
    let [_, _, kernel, _] = source.shape("pre_logits.fc1.weight")?;
    // Five poolings have halved the image, rounding down.
    let (height, width) = (input.shape()[1] >> 5, input.shape()[2] >> 5);
    if height.min(width) < kernel {
        let output = Pair(height.max(kernel), width.max(kernel));
        x = builder.push("pre_logits.pool", Op::AdaptiveAvgPool { output }, &[x]);
    }

    for (layer, activation) in [
        ("pre_logits.fc1", "pre_logits.act1"),
        ("pre_logits.fc2", "pre_logits.act2"),
    ] {
        x = builder.convolution(layer, 1, 0, x);
        x = builder.push(activation, Op::Relu {}, &[x]);
    }
    let pooled = builder.push("head.global_pool", Op::GlobalAvgPool {}, &[x]);
    builder.linear("head.fc", pooled);

    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::signature;
    use super::*;

    /// Convolutions and norms of `vgg11_bn`, eight channels throughout.
    const FEATURES: [usize; 8] = [0, 4, 8, 11, 15, 18, 22, 25];

    fn graph_of(side: usize, head: &[(&str, &[usize])]) -> (Graph, crate::tensors::Signature) {
        let names: Vec<String> = FEATURES
            .iter()
            .map(|i| format!("features.{i}.weight"))
            .collect();
        let norms: Vec<String> = FEATURES
            .iter()
            .map(|i| format!("features.{}", i + 1))
            .collect();
        let mut weights: Vec<(&str, &[usize])> = names
            .iter()
            .map(|name| (name.as_str(), &[8usize, 8, 3, 3] as &[usize]))
            .collect();
        weights[0].1 = &[8, 3, 3, 3];
        weights.extend(head);
        let norms: Vec<(&str, usize)> = norms.iter().map(|name| (name.as_str(), 8)).collect();
        let tensors = signature(&weights, &norms);
        let config = json!({"architecture":"vgg11_bn","input_size":[3,side,side]});

        (Graph::from_config(&config, &tensors).unwrap(), tensors)
    }

    #[test]
    fn heads_are_told_apart_by_their_tensors() {
        let torchvision: [(&str, &[usize]); 3] = [
            ("classifier.0.weight", &[16, 8 * 49]),
            ("classifier.3.weight", &[16, 16]),
            ("classifier.6.weight", &[5, 16]),
        ];
        let timm: [(&str, &[usize]); 3] = [
            ("pre_logits.fc1.weight", &[16, 8, 7, 7]),
            ("pre_logits.fc2.weight", &[16, 16, 1, 1]),
            ("head.fc.weight", &[5, 16]),
        ];
        for (head, name) in [(torchvision, "classifier.6"), (timm, "head.fc")] {
            for side in [64, 224, 256] {
                let (graph, tensors) = graph_of(side, &head);
                let program = graph.resolve(&tensors).unwrap();
                assert_eq!(program.classes().unwrap(), 5, "{name} at {side}");
                assert_eq!(graph.head(), Some(name));
            }
        }
        let small: [(&str, &[usize]); 3] = [
            ("classifier.0.weight", &[16, 8]),
            ("classifier.3.weight", &[16, 16]),
            ("classifier.6.weight", &[5, 16]),
        ];
        let (graph, tensors) = graph_of(32, &small);

        assert_eq!(graph.resolve(&tensors).unwrap().classes().unwrap(), 5);
    }
}
