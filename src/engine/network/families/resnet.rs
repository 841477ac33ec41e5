//! Residual networks with the tensor names that timm and torchvision share: `conv1`, `bn1`,
//! `layer1.0.conv1` … `layer4.N.bn3`, `downsample.0`, `downsample.1`, `fc`.
//!
//! Basic or bottleneck block, depth, width, groups, classes, the form of the stem and of a downsampling branch, and
//! squeeze and excitation are read from the tensors. A 3 × 3 first convolution is the CIFAR form: stride 1 and no
//! max-pooling.

use super::{
    Builder, PoolWindow, Source, Timm,
    builder::{Sliding, SqueezeExcitation, Zeros},
    settings,
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::{Op, Pair},
};

/// Those of timm's names that imply nothing that the tensors do not show.
pub(super) const TIMM: Timm = Timm {
    names: &[
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "wide_resnet50_2",
        "wide_resnet101_2",
        "resnet10t",
        "resnet14t",
        "resnet18d",
        "resnet26",
        "resnet26d",
        "resnet26t",
        "resnet34d",
        "resnet50c",
        "resnet50d",
        "resnet50s",
        "resnet50t",
        "resnet101c",
        "resnet101d",
        "resnet101s",
        "resnet152c",
        "resnet152d",
        "resnet152s",
        "resnet200",
        "resnet200d",
        "resnext50_32x4d",
        "resnext50d_32x4d",
        "resnext101_32x4d",
        "resnext101_32x8d",
        "resnext101_32x16d",
        "resnext101_32x32d",
        "resnext101_64x4d",
        "seresnet18",
        "seresnet34",
        "seresnet50",
        "seresnet50t",
        "seresnet101",
        "seresnet152",
        "seresnet152d",
        "seresnet200d",
        "seresnet269d",
        "seresnext26d_32x4d",
        "seresnext26t_32x4d",
        "seresnext50_32x4d",
        "seresnext101_32x4d",
        "seresnext101_32x8d",
        "seresnext101_64x4d",
        "seresnext101d_32x8d",
        "senet154",
    ],
    settings: &settings::TIMM_RESNET,
    pool: "avg",
    build,
};

const STAGES: usize = 4;

fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let first = if source.has(&format!("{}.weight", DEEP_STEM[0])) {
        DEEP_STEM[0]
    } else {
        "conv1"
    };
    let input = source.image(&format!("{first}.weight"))?;
    let mut builder = Builder::default();
    let mut x = stem(&mut builder, source, first)?;

    for stage in 0..STAGES {
        let prefix = format!("layer{}", stage + 1);
        for block in 0..source.depth(&prefix, "conv1.weight") {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let block = Block {
                source,
                prefix: format!("{prefix}.{block}"),
                stride,
            };
            x = block.build(&mut builder, x)?;
        }
    }

    let pooled = builder.push("global_pool", Op::GlobalAvgPool {}, &[x]);
    builder.linear("fc", pooled);

    Ok(builder.finish(input))
}

/// Three convolutions in the place of one, and the norms behind the first two.
const DEEP_STEM: [&str; 3] = ["conv1.0", "conv1.3", "conv1.6"];
const DEEP_NORMS: [&str; 2] = ["conv1.1", "conv1.4"];

fn stem(builder: &mut Builder, source: &Source<'_>, first: &str) -> Result<Operand, GraphError> {
    let [_, _, kernel, _] = source.shape(&format!("{first}.weight"))?;
    let is_deep = first == DEEP_STEM[0];
    let is_small = kernel == 3 && !is_deep;
    let stride = if is_small { 1 } else { 2 };
    let mut x = builder.convolution(first, stride, kernel / 2, Operand::Input);

    if is_deep {
        for (norm, next) in DEEP_NORMS.into_iter().zip(&DEEP_STEM[1..]) {
            x = builder.batch_norm(norm, x);
            x = builder.push(format!("{norm}.relu"), Op::Relu {}, &[x]);
            x = builder.convolution(next, 1, 1, x);
        }
    }
    let x = builder.batch_norm("bn1", x);
    let x = builder.push("relu", Op::Relu {}, &[x]);
    if is_small {
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
struct Block<'a> {
    source: &'a Source<'a>,
    prefix: String,
    stride: usize,
}

impl Block<'_> {
    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }

    fn has(&self, part: &str) -> bool {
        self.source.has(&self.name(&format!("{part}.weight")))
    }

    fn build(&self, builder: &mut Builder, input: Operand) -> Result<Operand, GraphError> {
        let is_bottleneck = self.has("conv3");
        let (convolutions, strided) = if is_bottleneck { (3, 1) } else { (2, 0) };
        let mut x = input;
        // Channels that the next convolution reads; those of the block are told by its first.
        let mut channels = None;

        for i in 0..convolutions {
            if i > 0 {
                x = builder.push(self.name(&format!("relu{i}")), Op::Relu {}, &[x]);
            }
            let param = self.name(&format!("conv{}", i + 1));
            let [outputs, read, kernel, _] = self.source.shape(&format!("{param}.weight"))?;
            let how = Sliding {
                stride: if i == strided { self.stride } else { 1 },
                zeros: Zeros::Around(kernel / 2),
                groups: channels.map_or(1, |channels: usize| channels / read.max(1)),
            };
            x = builder.convolution_of(&param, how, x);
            x = builder.batch_norm(&self.name(&format!("bn{}", i + 1)), x);
            channels = Some(outputs);
        }
        if self.has("se.fc1") {
            let module = SqueezeExcitation {
                prefix: &self.name("se"),
                layers: ["fc1", "fc2"],
                activation: Op::Relu {},
                gate: Op::Sigmoid {},
            };
            x = builder.squeeze_excitation(&module, x);
        }

        let skip = self.skip(builder, input)?;
        let sum = builder.push(self.name("add"), Op::Add {}, &[x, skip]);

        Ok(builder.push(self.name("relu"), Op::Relu {}, &[sum]))
    }

    /// The branch beside the convolutions: nothing, or one convolution, behind a pooling where it is the second
    /// module.
    fn skip(&self, builder: &mut Builder, input: Operand) -> Result<Operand, GraphError> {
        let weight = self.name("downsample.1.weight");
        let is_pooled = self
            .source
            .signature
            .get(&weight)
            .is_some_and(|info| info.shape.len() == 4);
        if is_pooled {
            let mut x = input;
            if self.stride > 1 {
                let op = Op::AvgPool {
                    kernel: Pair(2, 2),
                    stride: Some(Pair(self.stride, self.stride)),
                    padding: Pair(0, 0),
                    ceil_mode: true,
                    count_include_pad: false,
                };
                x = builder.push(self.name("downsample.0"), op, &[x]);
            }
            let x = builder.convolution(&self.name("downsample.1"), 1, 0, x);
            return Ok(builder.batch_norm(&self.name("downsample.2"), x));
        }
        if !self.has("downsample.0") {
            return Ok(input);
        }

        let param = self.name("downsample.0");
        let [_, _, kernel, _] = self.source.shape(&format!("{param}.weight"))?;
        let padding = (self.stride + kernel).saturating_sub(2) / 2;
        let x = builder.convolution(&param, self.stride, padding, input);

        Ok(builder.batch_norm(&self.name("downsample.1"), x))
    }
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
