//! Residual networks with the tensor names that timm and torchvision share: `conv1`, `bn1`,
//! `layer1.0.conv1` … `layer4.N.bn3`, `downsample.0`, `downsample.1`, `fc`.
//!
//! Basic or bottleneck block, width, classes and the presence of a downsampling branch are read
//! from the tensors. A 3 × 3 first convolution is the CIFAR form: stride 1 and no max-pooling.

use super::{Builder, PoolWindow, Source, settings};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::Op,
};

pub(super) fn build(source: &Source<'_>, depths: [usize; 4]) -> Result<Graph, GraphError> {
    settings::check_timm(source.config, &settings::TIMM_RESNET, "avg")?;
    let input = source.image("conv1.weight")?;
    let mut builder = Builder::default();
    let mut x = stem(&mut builder, source)?;

    for (stage, depth) in depths.into_iter().enumerate() {
        for block in 0..depth {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let prefix = format!("layer{}.{block}", stage + 1);
            x = residual_block(&mut builder, source, &prefix, stride, x);
        }
    }

    let pooled = builder.push("global_pool", Op::GlobalAvgPool {}, &[x]);
    builder.linear("fc", pooled);
    Ok(builder.finish(input))
}

fn stem(builder: &mut Builder, source: &Source<'_>) -> Result<Operand, GraphError> {
    let [_, _, kernel, _] = source.shape("conv1.weight")?;
    let small = kernel == 3;
    let x = builder.convolution(
        "conv1",
        if small { 1 } else { 2 },
        kernel / 2,
        Operand::Input,
    );
    let x = builder.batch_norm("bn1", x);
    let x = builder.push("relu", Op::Relu {}, &[x]);
    if small {
        return Ok(x);
    }
    let window = PoolWindow {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    Ok(builder.max_pool("maxpool", window, x))
}

/// Two 3 × 3 convolutions, or 1 × 1, 3 × 3, 1 × 1; the stride sits on the first 3 × 3.
fn residual_block(
    builder: &mut Builder,
    source: &Source<'_>,
    prefix: &str,
    stride: usize,
    input: Operand,
) -> Operand {
    let bottleneck = source.has(&format!("{prefix}.conv3.weight"));
    // (stride, padding) of each convolution.
    let convolutions: &[(usize, usize)] = if bottleneck {
        &[(1, 0), (stride, 1), (1, 0)]
    } else {
        &[(stride, 1), (1, 1)]
    };
    let mut x = input;

    for (i, &(stride, padding)) in convolutions.iter().enumerate() {
        if i > 0 {
            x = builder.push(format!("{prefix}.relu{i}"), Op::Relu {}, &[x]);
        }
        x = builder.convolution(&format!("{prefix}.conv{}", i + 1), stride, padding, x);
        x = builder.batch_norm(&format!("{prefix}.bn{}", i + 1), x);
    }

    let mut skip = input;
    if source.has(&format!("{prefix}.downsample.0.weight")) {
        skip = builder.convolution(&format!("{prefix}.downsample.0"), stride, 0, skip);
        skip = builder.batch_norm(&format!("{prefix}.downsample.1"), skip);
    }

    let sum = builder.push(format!("{prefix}.add"), Op::Add {}, &[x, skip]);
    builder.push(format!("{prefix}.relu"), Op::Relu {}, &[sum])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::signature;
    use super::*;
    use crate::tensors::Signature;

    /// A `ResNet` of this width and these depths.
    fn tensors(width: usize, depths: [usize; 4], bottleneck: bool, kernel: usize) -> Signature {
        let mut weights = vec![("conv1".to_owned(), vec![width, 3, kernel, kernel])];
        let mut norms = vec![("bn1".to_owned(), width)];
        let (mut from, expansion) = (width, if bottleneck { 4 } else { 1 });
        for (stage, depth) in depths.into_iter().enumerate() {
            let inner = width << stage;
            let to = inner * expansion;
            for block in 0..depth {
                let sizes = if bottleneck {
                    vec![(inner, from, 1), (inner, inner, 3), (to, inner, 1)]
                } else {
                    vec![(inner, from, 3), (to, inner, 3)]
                };
                let prefix = format!("layer{}.{block}", stage + 1);
                for (i, (out, input, k)) in sizes.into_iter().enumerate() {
                    weights.push((format!("{prefix}.conv{}", i + 1), vec![out, input, k, k]));
                    norms.push((format!("{prefix}.bn{}", i + 1), out));
                }
                if block == 0 && from != to {
                    weights.push((format!("{prefix}.downsample.0"), vec![to, from, 1, 1]));
                    norms.push((format!("{prefix}.downsample.1"), to));
                }
                from = to;
            }
        }
        weights.push(("fc".to_owned(), vec![7, from]));
        let names: Vec<String> = weights.iter().map(|(n, _)| format!("{n}.weight")).collect();
        let weights: Vec<(&str, &[usize])> = names
            .iter()
            .zip(&weights)
            .map(|(n, (_, s))| (n.as_str(), s.as_slice()))
            .collect();
        let norms: Vec<(&str, usize)> = norms.iter().map(|(n, c)| (n.as_str(), *c)).collect();
        signature(&weights, &norms)
    }

    #[test]
    fn the_graphs_use_every_tensor_and_halve_the_image_five_times() {
        for (name, depths, bottleneck) in [
            ("resnet18", [2, 2, 2, 2], false),
            ("resnet34.a1_in1k", [3, 4, 6, 3], false),
            ("resnet50", [3, 4, 6, 3], true),
        ] {
            let tensors = tensors(4, depths, bottleneck, 7);
            let config = json!({"architecture":name});
            let graph = Graph::from_config(&config, &tensors).unwrap();
            let program = graph.resolve(&tensors).unwrap();
            let last = if bottleneck { 128 } else { 32 };
            let body = &program.instructions[program.instructions.len() - 3];
            assert_eq!(body.output, [last, 7, 7], "{name}");
            assert_eq!(program.classes().unwrap(), 7);
            assert_eq!(graph.head(), Some("fc"));
        }
    }

    #[test]
    fn a_small_stem_keeps_the_size() {
        let tensors = tensors(4, [2, 2, 2, 2], false, 3);
        let config = json!({"architecture":"resnet18","pretrained_cfg":{"input_size":[3,32,32]}});
        let graph = Graph::from_config(&config, &tensors).unwrap();
        let instructions = graph.resolve(&tensors).unwrap().instructions;
        assert_eq!(instructions[0].output, [4, 32, 32]);
        assert_eq!(instructions[instructions.len() - 3].output, [32, 4, 4]);
    }
}
