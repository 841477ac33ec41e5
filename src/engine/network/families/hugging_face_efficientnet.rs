//! Hugging Face's `EfficientNetForImageClassification`. Its blocks are numbered through: which of them begin a stage
//! the configuration tells.

use super::{
    Builder, Source,
    builder::{Sliding, SqueezeExcitation, Zeros},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Operand},
    op::Op,
};

const STEM: &str = "efficientnet.embeddings";
const ENCODER: &str = "efficientnet.encoder";
/// Blocks of a stage, at most: a number in a small file must not ask for time.
const MAX_BLOCKS: f64 = 1000.0;

/// What all blocks have in common.
struct Blocks<'a> {
    source: &'a Source<'a>,
    activation: Op,
    eps: f64,
}

/// Where a block stands.
struct Place {
    stride: usize,
    begins_a_stage: bool,
    /// There are as many zeros before the image as behind it.
    is_even: bool,
}

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.head("ForImageClassification")?;
    let blocks = Blocks {
        source,
        activation: source.activation("hidden_act", "swish")?,
        eps: source.number("batch_norm_eps", 1e-3)?,
    };
    let places = places(source)?;
    let found = source.depth(
        &format!("{ENCODER}.blocks"),
        "projection.project_conv.weight",
    );
    if places.len() != found {
        let detail = format!(
            "num_block_repeats and depth_coefficient tell {} blocks, but the file has {found}",
            places.len()
        );
        return Err(GraphError::Malformed { detail });
    }
    let input = source.image_of_any_size(&format!("{STEM}.convolution.weight"))?;

    let mut builder = Builder::default();
    let how = Sliding {
        stride: 2,
        zeros: Zeros::Apart {
            before: 0,
            behind: 1,
        },
        groups: 1,
    };
    let x = builder.convolution_of(&format!("{STEM}.convolution"), how, Operand::Input);
    let mut x = blocks.normed(&mut builder, &format!("{STEM}.batchnorm"), x);
    for (number, place) in places.iter().enumerate() {
        let prefix = format!("{ENCODER}.blocks.{number}");
        x = blocks.block(&mut builder, &prefix, place, x)?;
    }

    let x = builder.convolution(&format!("{ENCODER}.top_conv"), 1, 0, x);
    let x = blocks.normed(&mut builder, &format!("{ENCODER}.top_bn"), x);
    let pooled = builder.push("efficientnet.pooler", Op::GlobalAvgPool {}, &[x]);
    builder.linear("classifier", pooled);

    Ok(builder.finish(input))
}

/// A list of whole numbers of the configuration.
fn numbers(source: &Source<'_>, key: &str) -> Result<Option<Vec<usize>>, GraphError> {
    let value = &source.config[key];
    if value.is_null() {
        return Ok(None);
    }
    let read = serde_json::from_value(value.clone());
    read.map(Some).map_err(|_| GraphError::Malformed {
        detail: format!("{key}: give a list of whole numbers, not {value}"),
    })
}

/// The library's own strides and repetitions, those of B0.
const STRIDES: [usize; 7] = [1, 2, 2, 2, 1, 2, 1];
const REPEATS: [usize; 7] = [1, 2, 2, 3, 3, 4, 1];
/// Its own coefficient, that of B7.
const DEPTH: f64 = 3.1;

fn places(source: &Source<'_>) -> Result<Vec<Place>, GraphError> {
    let strides = numbers(source, "strides")?.unwrap_or(STRIDES.into());
    let repeats = numbers(source, "num_block_repeats")?.unwrap_or(REPEATS.into());
    let depth = source.number("depth_coefficient", DEPTH)?;
    let even = numbers(source, "depthwise_padding")?.unwrap_or_default();
    if strides.len() != repeats.len() || strides.contains(&0) {
        let detail = "strides: give one above 0 for each of num_block_repeats".to_owned();
        return Err(GraphError::Malformed { detail });
    }

    let mut places = Vec::new();
    for (stride, repeats) in strides.into_iter().zip(repeats) {
        let count = (depth * repeats as f64).ceil();
        if count > MAX_BLOCKS {
            let detail = format!("num_block_repeats: {count} blocks in a stage are too many");
            return Err(GraphError::Malformed { detail });
        }
        for number in 0..count as usize {
            let begins_a_stage = number == 0;
            places.push(Place {
                stride: if begins_a_stage { stride } else { 1 },
                begins_a_stage,
                is_even: even.contains(&places.len()),
            });
        }
    }

    Ok(places)
}

impl Blocks<'_> {
    fn batch_norm(&self, builder: &mut Builder, param: &str, x: Operand) -> Operand {
        builder.batch_norm_of(param, self.eps, x)
    }

    fn normed(&self, builder: &mut Builder, param: &str, x: Operand) -> Operand {
        let x = self.batch_norm(builder, param, x);
        builder.push(format!("{param}.act"), self.activation.clone(), &[x])
    }

    fn block(
        &self,
        builder: &mut Builder,
        prefix: &str,
        place: &Place,
        input: Operand,
    ) -> Result<Operand, GraphError> {
        let mut x = input;
        let expansion = format!("{prefix}.expansion");
        if self.source.has(&format!("{expansion}.expand_conv.weight")) {
            x = builder.convolution(&format!("{expansion}.expand_conv"), 1, 0, x);
            x = self.normed(builder, &format!("{expansion}.expand_bn"), x);
        }

        let depthwise = format!("{prefix}.depthwise_conv");
        let param = format!("{depthwise}.depthwise_conv");
        let [channels, _, kernel, _] = self.source.shape(&format!("{param}.weight"))?;
        let half = kernel / 2;
        // At a stride of two the library leaves out the zeros before the image, for those of TensorFlow.
        let is_shifted = place.stride == 2 && !place.is_even;
        let how = Sliding {
            stride: place.stride,
            zeros: if is_shifted {
                Zeros::Apart {
                    before: half.saturating_sub(1),
                    behind: half,
                }
            } else {
                Zeros::Around(half)
            },
            groups: channels,
        };
        x = builder.convolution_of(&param, how, x);
        x = self.normed(builder, &format!("{depthwise}.depthwise_norm"), x);

        let module = SqueezeExcitation {
            prefix: &format!("{prefix}.squeeze_excite"),
            layers: ["reduce", "expand"],
            activation: self.activation.clone(),
            gate: Op::Sigmoid {},
        };
        x = builder.squeeze_excitation(&module, x);
        x = builder.convolution(&format!("{prefix}.projection.project_conv"), 1, 0, x);
        x = self.batch_norm(builder, &format!("{prefix}.projection.project_bn"), x);
        if place.stride == 1 && !place.begins_a_stage {
            x = builder.add(format!("{prefix}.sum"), &[x, input]);
        }

        Ok(x)
    }
}
