//! Checks a graph against its tensors' headers, and writes down the names and sizes that it runs with.

mod attention;
mod elementwise;
mod experts;
mod images;
mod linear;
mod parameters;
mod positions;
mod sequences;
mod tokens;
mod windows;

use std::collections::HashSet;

use super::{
    error::GraphError,
    graph::{Graph, Input, Node, Operand},
    op::Op,
    program::{
        Inputs, Instruction, Layer, Program, SampleShape, Sequence,
        layer::{Nonlinearity, NormKind, PoolKind, SelectToken, ShiftTokens},
    },
};
use crate::tensors::Signature;
use images::{Pooling, Window};
use positions::Rows;

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
                target: self.target,
                task,
                instructions: Vec::new(),
            });
        }

        let input = self.input.shape();
        let target = self.target.unwrap_or_default();
        if is_too_large(input) || is_too_large(&target) {
            let detail = format!(
                "the input {input:?} or the target {target:?} has more than {MAX_VALUES} values a sample"
            );
            return Err(GraphError::Malformed { detail });
        }

        let mut program = Program {
            input: self.input.clone(),
            target: self.target,
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
    /// Of each input.
    sequences: Vec<Sequence>,
    signature: &'a Signature,
    /// The network reads images.
    of_images: bool,
    /// It reads ids: the network's own, its target's, or some of these shifted.
    of_ids: bool,
    /// The largest id that it reads whatever the samples have.
    own_id: Option<u32>,
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
            sequences: node
                .inputs
                .iter()
                .map(|operand| before.sequence(*operand))
                .collect(),
            signature,
            of_images: matches!(before.input, Input::Image { .. }),
            of_ids: matches!(node.inputs[..], [operand] if before.is_ids(operand)),
            own_id: match node.inputs[..] {
                [Operand::Node(position)] => before.instructions[position].layer.own_id(),
                _ => None,
            },
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
        let sequence = self.sequence()?;
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
            sequence,
            params,
        })
    }

    #[expect(clippy::too_many_lines, reason = "a line or two for every operation")]
    fn resolved(&self) -> Result<Resolved, GraphError> {
        match &self.node.op {
            Op::Linear {
                param, transposed, ..
            } => self.linear(param, *transposed),
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
            &Op::Conv1d {
                ref param,
                stride,
                padding,
            } => self.conv1d(param, stride, padding),
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
            Op::Offset { param } => self.offset(param),
            &Op::Sinusoids { width } => self.sinusoids(width),
            Op::ToTokens {} => self.to_tokens(),
            &Op::MergeTokens { grid } => self.merge_tokens(grid),
            Op::Embedding { param, padding } => self.embedding(param, *padding),
            Op::TokenTypeEmbedding { param } => self.token_type_embedding(param),
            &Op::PositionEmbedding {
                ref param,
                bare,
                offset,
                constant,
                padding,
                frozen,
                resampled,
            } => {
                let rows = Rows {
                    offset,
                    constant,
                    frozen,
                };
                match (padding, resampled) {
                    _ if frozen && (bare || padding.is_some()) => {
                        Err(self.fault("frozen needs a table of rows, read from the first on"))
                    }
                    (None, Some(grid)) if offset == 0 && !constant && !frozen => {
                        self.resampled_positions(param, bare, grid)
                    }
                    (_, Some(_)) => Err(self.fault("resampled goes with bare alone")),
                    (Some(padding), None) if !bare && !constant => {
                        self.counted_positions(param, padding)
                    }
                    (Some(_), None) => Err(self.fault(positions::NO_COUNTED_POSITIONS)),
                    (None, None) if bare => self.bare_positions(param, rows),
                    (None, None) => self.positions(param, rows),
                }
            }
            Op::ClassToken { param, flat, at } => self.class_token(param, *flat, *at),
            Op::PatchEmbed { param } => self.patch_embed(param),
            Op::Table { param, bare } => self.table(param, *bare),
            &Op::ShiftTokens { first, padding } => {
                self.shift_tokens(ShiftTokens { first, padding })
            }
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
}

#[cfg(test)]
mod tests;
