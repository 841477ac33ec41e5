//! Blocks of depthwise convolutions that the mobile networks are made of, with timm's names: which kind a block is,
//! its kernels, widths and squeeze and excitation are read from the tensors (Howard et al. 2017, Sandler et al. 2018,
//! Tan & Le 2019 and 2021).

use super::{
    Builder, Source,
    builder::{Sliding, SqueezeExcitation, Zeros},
};
use crate::network::{error::GraphError, graph::Operand, op::Op};

/// What all blocks of a network have in common and no tensor tells.
pub(super) struct Blocks<'a> {
    pub source: &'a Source<'a>,
    /// Of batch norms.
    pub eps: f64,
    /// Zeros are as `TensorFlow`'s SAME has them.
    pub same: bool,
    /// Inside squeeze and excitation; that of the block where absent.
    pub squeezed: Option<Op>,
    /// Behind squeeze and excitation.
    pub gate: Op,
    /// A block that is one convolution is added to its input, where both have the same shape.
    pub skips_single: bool,
}

/// One block.
pub(super) struct Block {
    /// What its tensors' names begin with.
    pub prefix: String,
    pub stride: usize,
    pub activation: Op,
}

/// A layer: a convolution, its norm, and an activation behind them.
struct Layer {
    convolution: &'static str,
    norm: &'static str,
    stride: usize,
    is_depthwise: bool,
    is_active: bool,
}

/// How a convolution goes over an image, and whether every channel has a kernel of its own.
#[derive(Clone, Copy)]
struct Reach {
    stride: usize,
    is_depthwise: bool,
}

/// The layers of each kind of block, told by its first: squeeze and excitation stands before the last layer.
const KINDS: [&[Layer]; 4] = [
    // Inverted residual.
    &[
        Layer::plain("conv_pw", "bn1"),
        Layer::strided("conv_dw", "bn2", true),
        Layer::linear("conv_pwl", "bn3"),
    ],
    // Depthwise separable.
    &[
        Layer::strided("conv_dw", "bn1", true),
        Layer::linear("conv_pw", "bn2"),
    ],
    // Fused inverted residual.
    &[
        Layer::strided("conv_exp", "bn1", false),
        Layer::linear("conv_pwl", "bn2"),
    ],
    // One convolution.
    &[Layer::strided("conv", "bn1", false)],
];

/// In the place of a block's stride.
const OF_BLOCK: usize = 0;

impl Layer {
    const fn plain(convolution: &'static str, norm: &'static str) -> Self {
        Self {
            convolution,
            norm,
            stride: 1,
            is_depthwise: false,
            is_active: true,
        }
    }

    const fn strided(convolution: &'static str, norm: &'static str, is_depthwise: bool) -> Self {
        Self {
            stride: OF_BLOCK,
            is_depthwise,
            ..Self::plain(convolution, norm)
        }
    }

    const fn linear(convolution: &'static str, norm: &'static str) -> Self {
        Self {
            is_active: false,
            ..Self::plain(convolution, norm)
        }
    }
}

impl Blocks<'_> {
    /// A convolution in the network's way of padding.
    pub fn convolution(
        &self,
        builder: &mut Builder,
        param: &str,
        stride: usize,
        x: Operand,
    ) -> Result<Operand, GraphError> {
        let reach = Reach {
            stride,
            is_depthwise: false,
        };
        self.convolved(builder, param, reach, x)
    }

    pub fn norm(&self, builder: &mut Builder, param: &str, x: Operand) -> Operand {
        builder.batch_norm_of(param, self.eps, x)
    }

    fn convolved(
        &self,
        builder: &mut Builder,
        param: &str,
        reach: Reach,
        x: Operand,
    ) -> Result<Operand, GraphError> {
        let Reach {
            stride,
            is_depthwise,
        } = reach;
        let [outputs, _, kernel, _] = self.source.shape(&format!("{param}.weight"))?;
        let how = Sliding {
            stride,
            zeros: if self.same && kernel > 1 {
                Zeros::Same
            } else {
                Zeros::Around(kernel / 2)
            },
            groups: if is_depthwise { outputs } else { 1 },
        };

        Ok(builder.convolution_of(param, how, x))
    }

    pub fn build(
        &self,
        builder: &mut Builder,
        block: &Block,
        input: Operand,
    ) -> Result<Operand, GraphError> {
        let Block {
            prefix,
            stride,
            activation,
        } = block;
        let layers = self.kind(prefix);
        let mut x = input;
        for (i, layer) in layers.iter().enumerate() {
            let is_last = i + 1 == layers.len();
            if is_last && self.source.has(&format!("{prefix}.se.conv_reduce.weight")) {
                let module = SqueezeExcitation {
                    prefix: &format!("{prefix}.se"),
                    layers: ["conv_reduce", "conv_expand"],
                    activation: self.squeezed.as_ref().unwrap_or(activation).clone(),
                    gate: self.gate.clone(),
                };
                x = builder.squeeze_excitation(&module, x);
            }
            let param = format!("{prefix}.{}", layer.convolution);
            let reach = Reach {
                stride: if layer.stride == OF_BLOCK {
                    *stride
                } else {
                    layer.stride
                },
                is_depthwise: layer.is_depthwise,
            };
            x = self.convolved(builder, &param, reach, x)?;
            x = self.norm(builder, &format!("{prefix}.{}", layer.norm), x);
            if layer.is_active {
                x = builder.push(format!("{param}.act"), activation.clone(), &[x]);
            }
        }

        if self.is_added(block, layers)? {
            x = builder.push(format!("{prefix}.sum"), Op::Add {}, &[x, input]);
        }

        Ok(x)
    }

    fn kind(&self, prefix: &str) -> &'static [Layer] {
        let found = KINDS.into_iter().find(|layers| {
            layers.iter().all(|layer| {
                self.source
                    .has(&format!("{prefix}.{}.weight", layer.convolution))
            })
        });
        found.unwrap_or(KINDS[0])
    }

    /// Whether a block's input is added to what it puts out: where both have the same shape.
    fn is_added(&self, block: &Block, layers: &[Layer]) -> Result<bool, GraphError> {
        let Block { prefix, stride, .. } = block;
        let (Some(first), Some(last)) = (layers.first(), layers.last()) else {
            return Ok(false);
        };
        if *stride != 1 || (layers.len() == 1 && !self.skips_single) {
            return Ok(false);
        }
        let first_weight = format!("{prefix}.{}.weight", first.convolution);
        let [first_outputs, first_inputs, ..] = self.source.shape::<4>(&first_weight)?;
        let read = if first.is_depthwise {
            first_outputs
        } else {
            first_inputs
        };
        let last_weight = format!("{prefix}.{}.weight", last.convolution);
        let [made, ..] = self.source.shape::<4>(&last_weight)?;

        Ok(read == made)
    }
}
