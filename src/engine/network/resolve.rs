//! Checks a graph against its tensors' headers, and writes down the names and sizes that it runs with.

mod attention;
mod elementwise;
mod experts;
mod images;
mod linear;
mod tokens;

use std::collections::HashSet;

use super::{
    error::GraphError,
    graph::{Graph, Input, Node},
    op::Op,
    program::{
        Inputs, Instruction, Layer, Param, Program, SampleShape,
        layer::{Nonlinearity, NormKind, PoolKind, SelectToken},
    },
};
use crate::tensors::{Signature, TensorInfo};
use images::{Pooling, Window};
use tokens::Rows;

/// Values that a node may put out for one sample: 8 GiB in f32. A number in a small file must not ask for
/// more memory than a machine has before anybody has looked at it.
pub(in crate::network) const MAX_VALUES: usize = 1 << 31;

impl Graph {
    /// The graph as it runs with tensors of these headers. Of a network of which only the tensors are known
    /// nothing runs: its program is empty.
    ///
    /// # Errors
    /// A tensor missing, left over, of another shape or no float; nodes that do not fit together, or that
    /// put out more than 2^31 values for a sample.
    pub fn resolve(&self, signature: &Signature) -> Result<Program, GraphError> {
        self.check_left_over(signature)?;
        if self.by_names().is_some() {
            let (input, task) = (self.input.clone(), self.task);
            return Ok(Program {
                input,
                task,
                instructions: Vec::new(),
            });
        }

        let input = self.input.shape();
        if is_too_large(input) {
            let detail = format!("the input {input:?} has more than {MAX_VALUES} values a sample");
            return Err(GraphError::Malformed { detail });
        }

        let mut program = Program {
            input: self.input.clone(),
            task: self.task,
            instructions: Vec::with_capacity(self.nodes.len()),
        };
        for node in &self.nodes {
            let instruction = Resolver::of(node, &program, signature).instruction()?;
            program.instructions.push(instruction);
        }
        Ok(program)
    }

    fn check_left_over(&self, signature: &Signature) -> Result<(), GraphError> {
        let known: HashSet<String> = self.params().map(|(_, param)| param.name).collect();
        match signature.keys().find(|name| !known.contains(*name)) {
            Some(tensor) => Err(GraphError::UnexpectedTensor {
                tensor: tensor.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// Whether a sample of this shape has more values than a node may put out.
fn is_too_large(shape: &[usize]) -> bool {
    let values = shape
        .iter()
        .try_fold(1usize, |values, &axis| values.checked_mul(axis));
    values.is_none_or(|values| values > MAX_VALUES)
}

/// One node with what it reads.
struct Resolver<'a> {
    node: &'a Node,
    position: usize,
    inputs: Vec<&'a [usize]>,
    signature: &'a Signature,
    /// The network reads images.
    of_images: bool,
    /// It reads ids: the network's own, or those shifted.
    of_ids: bool,
}

/// What a node computes, and the shape that it puts out.
struct Resolved {
    layer: Layer,
    output: SampleShape,
}

impl<'a> Resolver<'a> {
    /// The next node after those of the program.
    fn of(node: &'a Node, before: &'a Program, signature: &'a Signature) -> Self {
        Self {
            node,
            position: before.instructions.len(),
            inputs: node
                .inputs
                .iter()
                .map(|operand| before.shape(*operand))
                .collect(),
            signature,
            of_images: matches!(before.input, Input::Image { .. }),
            of_ids: matches!(node.inputs[..], [operand] if before.is_ids(operand)),
        }
    }

    fn instruction(&self) -> Result<Instruction, GraphError> {
        let Resolved { layer, output } = self.resolved()?;
        if is_too_large(&output) {
            let detail = format!("puts out {output:?}, more than {MAX_VALUES} values a sample");
            return Err(self.fault(detail));
        }

        let Node { id, op, inputs } = self.node;
        let Some((&first, rest)) = inputs.split_first() else {
            return Err(self.fault("takes at least one input"));
        };
        let mut params = op.params();
        params.retain(|param| self.signature.contains_key(&param.name));

        Ok(Instruction {
            position: self.position,
            id: id.clone(),
            op: op.name(),
            layer,
            inputs: Inputs {
                first,
                rest: rest.to_vec(),
            },
            output,
            params,
        })
    }

    #[expect(clippy::too_many_lines, reason = "a line or two for every operation")]
    fn resolved(&self) -> Result<Resolved, GraphError> {
        match &self.node.op {
            Op::Linear { param, transposed } => self.linear(param, *transposed),
            Op::Relu {} => self.unchanged(Layer::Nonlinear(Nonlinearity::Relu)),
            Op::Gelu {} => self.unchanged(Layer::Nonlinear(Nonlinearity::Gelu)),
            Op::GeluTanh {} => self.unchanged(Layer::Nonlinear(Nonlinearity::GeluTanh)),
            Op::Silu {} => self.unchanged(Layer::Nonlinear(Nonlinearity::Silu)),
            Op::Tanh {} => self.unchanged(Layer::Nonlinear(Nonlinearity::Tanh)),
            Op::Sigmoid {} => self.unchanged(Layer::Nonlinear(Nonlinearity::Sigmoid)),
            Op::HardSigmoid {} => self.unchanged(Layer::Nonlinear(Nonlinearity::HardSigmoid)),
            Op::HardSwish {} => self.unchanged(Layer::Nonlinear(Nonlinearity::HardSwish)),
            Op::Relu6 {} => self.unchanged(Layer::Nonlinear(Nonlinearity::Relu6)),
            Op::QuickGelu {} => self.unchanged(Layer::Nonlinear(Nonlinearity::QuickGelu)),
            Op::Dropout { .. } => self.unchanged(Layer::Identity),
            Op::Flatten {} => {
                let output = vec![self.one()?.iter().product()];
                Ok(Resolved {
                    layer: Layer::Flatten,
                    output,
                })
            }
            Op::Add {} => self.elementwise(Layer::Add),
            Op::Gate {} => self.gate(),
            Op::Concat {} => self.concat(),

            &Op::Conv2d {
                ref param,
                stride,
                padding,
                dilation,
                groups,
                padding_end,
                same,
            } => self.conv2d(
                param,
                Window {
                    stride,
                    padding,
                    padding_end,
                    same,
                    dilation,
                },
                groups,
            ),
            Op::BatchNorm { param, eps, .. } => self.batch_norm(param, *eps),
            &Op::MaxPool {
                kernel,
                stride,
                padding,
                ceil_mode,
            } => self.pool(Pooling {
                kind: PoolKind::Max,
                kernel,
                stride,
                padding,
                ceil_mode,
            }),
            &Op::AvgPool {
                kernel,
                stride,
                padding,
                ceil_mode,
                count_include_pad,
            } => {
                let kind = PoolKind::Average { count_include_pad };
                self.pool(Pooling {
                    kind,
                    kernel,
                    stride,
                    padding,
                    ceil_mode,
                })
            }
            Op::AdaptiveAvgPool { output } => self.adaptive_avg_pool(*output),
            Op::GlobalAvgPool {} => self.global_avg_pool(),

            Op::LayerNorm { param, eps } => self.norm(param, NormKind::Layer, *eps),
            Op::GroupNorm { param, groups, eps } => self.group_norm(param, *groups, *eps),
            Op::GlobalResponseNorm { param, eps, .. } => self.response_norm(param, *eps),
            &Op::RmsNorm {
                ref param,
                eps,
                unit_offset,
            } => self.norm(param, NormKind::RootMeanSquare { unit_offset }, eps),
            &Op::Scale { factor } => self.scale(factor),
            &Op::SoftCap { cap } => self.soft_cap(cap),
            &Op::Split { parts, part } => self.split(parts, part),
            Op::LayerScale { param, tensor } => self.layer_scale(format!("{param}.{tensor}")),
            Op::Embedding { param } => self.embedding(param),
            Op::TokenTypeEmbedding { param } => self.token_type_embedding(param),
            &Op::PositionEmbedding {
                ref param,
                bare,
                offset,
                constant,
                padding,
                resampled,
            } => {
                let rows = Rows { offset, constant };
                match (padding, resampled) {
                    (None, Some(grid)) if offset == 0 && !constant => {
                        self.resampled_positions(param, bare, grid)
                    }
                    (_, Some(_)) => Err(self.fault("resampled goes with bare alone")),
                    (Some(padding), None) if !bare && !constant => {
                        self.counted_positions(param, padding)
                    }
                    (Some(_), None) => Err(self.fault(tokens::NO_COUNTED_POSITIONS)),
                    (None, None) if bare => self.bare_positions(param, rows),
                    (None, None) => self.positions(param, rows),
                }
            }
            Op::ClassToken { param, flat, at } => self.class_token(param, *flat, *at),
            Op::PatchEmbed { param } => self.patch_embed(param),
            Op::Table { param } => self.table(param),
            &Op::ShiftTokens { first } => self.shift_tokens(first),
            Op::MaskTokens {} => self.mask_tokens(),
            Op::Attention { .. } => self.attention(),
            &Op::SelectToken {
                position,
                padding,
                token,
            } => self.select_token(SelectToken {
                position,
                padding,
                token,
            }),
            Op::MeanTokens { skip } => self.mean_tokens(*skip),
            Op::Experts { .. } => self.experts(),
            Op::Opaque { network } => Err(GraphError::unknown(network)),
        }
    }

    fn fault(&self, detail: impl Into<String>) -> GraphError {
        GraphError::wiring(self.node, detail)
    }

    fn one(&self) -> Result<&[usize], GraphError> {
        match self.inputs[..] {
            [input] => Ok(input),
            _ => Err(self.fault(format!("takes one input, not {}", self.inputs.len()))),
        }
    }

    fn image(&self) -> Result<[usize; 3], GraphError> {
        let input = self.one()?;
        input
            .try_into()
            .map_err(|_| self.fault(format!("needs an input [C, H, W], not {input:?}")))
    }

    fn tensor(&self, name: &str) -> Result<Option<&TensorInfo>, GraphError> {
        match self.signature.get(name) {
            Some(info) if !info.dtype.is_float() => Err(GraphError::WrongDType {
                tensor: name.to_owned(),
                found: info.dtype.name().into(),
            }),
            found => Ok(found),
        }
    }

    fn missing(&self, tensor: String) -> GraphError {
        GraphError::MissingTensor {
            tensor,
            node: self.node.id.clone(),
        }
    }

    /// The weight, without empty axes.
    fn weight<const RANK: usize>(&self, param: &str) -> Result<Param<RANK>, GraphError> {
        let name = format!("{param}.weight");
        let Some(info) = self.tensor(&name)? else {
            return Err(self.missing(name));
        };

        match info.shape.as_slice().try_into() {
            Ok(shape) if !info.shape.contains(&0) => Ok(Param { name, shape }),
            _ => {
                let expected = format!("rank {RANK} without empty axes");
                Err(GraphError::WrongShape {
                    tensor: name,
                    expected,
                    found: info.shape.clone(),
                })
            }
        }
    }

    /// A vector with one entry a channel, where the model has it.
    fn vector(&self, name: String, channels: usize) -> Result<Option<Param<1>>, GraphError> {
        match self.tensor(&name)? {
            Some(info) if info.shape == [channels] => Ok(Some(Param {
                name,
                shape: [channels],
            })),
            Some(info) => {
                let expected = format!("[{channels}]");
                Err(GraphError::WrongShape {
                    tensor: name,
                    expected,
                    found: info.shape.clone(),
                })
            }
            None => Ok(None),
        }
    }

    fn needed_vector(&self, name: String, channels: usize) -> Result<Param<1>, GraphError> {
        let found = self.vector(name.clone(), channels)?;
        found.ok_or_else(|| self.missing(name))
    }
}

impl<const RANK: usize> Param<RANK> {
    fn misfit(&self, expected: String) -> GraphError {
        let (tensor, found) = (self.name.clone(), self.shape.to_vec());
        GraphError::WrongShape {
            tensor,
            expected,
            found,
        }
    }
}

#[cfg(test)]
mod tests;
