//! The backward steps of a transformer's layers. What has no kernel is differentiated by burn.

use crate::{
    execution::cpu::{
        activation::CpuActivation,
        attention::{Attention, Output},
        channels,
        embedding::Rows,
        forward::Trace,
        functions,
        gradients::Gradients,
        norm::RowNorm,
        patches::Patches,
        planes,
        pooling::{self, Shares},
        transformer::{is_last_axis, scaled},
    },
    network::{
        Instruction, Layer, Operand,
        program::layer::{self, Nonlinearity, PositionEmbedding},
    },
};

impl Trace<'_> {
    /// The gradients that a transformer's layer hands to those it reads; its own tensors' are added up.
    pub(super) fn step_of_transformer(
        &self,
        instruction: &Instruction,
        dy: CpuActivation,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, CpuActivation)> {
        let source = instruction.inputs.first;
        let shape = &self.shapes[&source];

        let dx = match &instruction.layer {
            Layer::Nonlinear(function) => differentiated(*function, dy, self.activation(source)),
            Layer::Gate => return self.step_of_gate(instruction, dy),
            Layer::ChannelGate { .. } => {
                let values = self.activation(instruction.inputs.rest[0]);
                let dxs = planes::gate_gradients(self.activation(source), values, dy);
                return handed_on(instruction, dxs.map(Some));
            }
            Layer::Concat => {
                let shapes = instruction
                    .inputs
                    .map(|operand| self.shapes[operand].clone());
                let dxs = planes::parted(&dy, &shapes);
                return handed_on(instruction, dxs.into_iter().map(Some));
            }
            Layer::Scale { factor } => scaled(dy, *factor),
            Layer::SoftCap { cap } => {
                let cap = *cap as f32;
                dy.zip(self.activation(source), |d, v| {
                    d * functions::tanh_slope(v / cap)
                })
            }
            Layer::Offset { .. } => dy,
            Layer::Sinusoids => return Vec::new(),
            Layer::ToTokens { .. } => channels::first(&dy, shape),
            Layer::Split { part, .. } => channels::whole(&dy, *part, shape),
            Layer::LayerScale { gamma } if shape.len() == 2 => {
                channels::add_gradient_of_factors(gamma, self.activation(source), &dy, gradients);
                channels::scaled(dy, &self.weights.host(gamma))
            }
            Layer::Norm(layer) if is_last_axis(layer, self.activation(source)) => {
                let x = self.activation(source);
                let norm = RowNorm::new(layer, self.weights);
                CpuActivation::new(
                    norm.backward(x.values(), dy.into_values(), gradients),
                    shape,
                )
            }
            Layer::Attention(layer) if !layer.is_left_to_burn() => {
                return self.step_of_attention(instruction, layer, &dy, gradients);
            }
            Layer::ClassToken { token, at } => {
                let (dx, of_token) = pooling::without_tokens(&dy, token.shape[1], *at);
                gradients.add(&token.name, of_token);
                dx
            }
            _ => return self.step_of_tokens(instruction, dy, gradients),
        };

        handed_on(instruction, [Some(dx)])
    }

    /// Tables, patches, and tokens that become one.
    fn step_of_tokens(
        &self,
        instruction: &Instruction,
        dy: CpuActivation,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, CpuActivation)> {
        let source = instruction.inputs.first;
        let x = self.activation(source);
        let second = instruction.inputs.rest.first();
        let ids = second.map(|ids| self.activation(*ids));

        let dx = match &instruction.layer {
            Layer::Embedding(layer) => {
                Rows::of_ids(layer, x).backward(&dy, gradients);
                None
            }
            Layer::TokenTypeEmbedding { table } => {
                Rows::of_types(table, x).backward(&dy, gradients);
                None
            }
            Layer::PositionEmbedding(PositionEmbedding::Rows { frozen: true, .. }) => None,
            Layer::PositionEmbedding(layer) => {
                Rows::of_positions(layer, x).backward(&dy, gradients);
                None
            }
            Layer::PatchEmbed(layer) => {
                let wanted = !source.is_given();
                Patches::new(layer, self.weights).backward(x, &dy, gradients, wanted)
            }
            Layer::SelectToken(chosen) => {
                Some(Shares::of_one(chosen, x, ids).backward(&dy, x.shape()))
            }
            Layer::MeanTokens { skip } => {
                Some(Shares::of_mean(x, ids, *skip).backward(&dy, x.shape()))
            }
            _ => return self.step_by_burn(instruction, &dy, gradients),
        };

        handed_on(instruction, [dx])
    }

    /// Of `a · b · …` each gets the product of the others.
    fn step_of_gate(
        &self,
        instruction: &Instruction,
        dy: CpuActivation,
    ) -> Vec<(Operand, CpuActivation)> {
        let operands: Vec<Operand> = instruction.inputs.iter().copied().collect();
        let others = (0..operands.len()).map(|own| {
            let others = operands.iter().enumerate().filter(|(i, _)| *i != own);
            let dx = others.fold(dy.clone(), |dx, (_, operand)| {
                dx.zip(self.activation(*operand), |d, v| d * v)
            });
            Some(dx.reshaped(&self.shapes[&operands[own]]))
        });
        handed_on(instruction, others)
    }

    fn step_of_attention(
        &self,
        instruction: &Instruction,
        layer: &layer::Attention,
        dy: &CpuActivation,
        gradients: &mut Gradients,
    ) -> Vec<(Operand, CpuActivation)> {
        let inputs = instruction
            .inputs
            .map(|operand| self.activation(*operand).clone());
        let output = Output {
            y: self.activation(Operand::Node(instruction.position)),
            dy,
            rows: &self.softmaxes[&instruction.position],
        };
        let dxs = Attention::new(layer, &inputs, self.weights).backward(output, gradients);
        handed_on(instruction, dxs)
    }
}

/// To whom each gradient goes; the sample itself needs none.
fn handed_on(
    instruction: &Instruction,
    dxs: impl IntoIterator<Item = Option<CpuActivation>>,
) -> Vec<(Operand, CpuActivation)> {
    instruction
        .inputs
        .iter()
        .zip(dxs)
        .filter(|(operand, _)| !operand.is_given())
        .filter_map(|(&operand, dx)| Some((operand, dx?)))
        .collect()
}

/// The gradient of a function's input.
fn differentiated(function: Nonlinearity, dy: CpuActivation, x: &CpuActivation) -> CpuActivation {
    match function {
        Nonlinearity::Relu => dy.zip(x, |d, v| if v > 0.0 { d } else { 0.0 }),
        Nonlinearity::Gelu => dy.zip(x, |d, v| d * functions::gelu_slope(v)),
        Nonlinearity::GeluTanh => dy.zip(x, |d, v| d * functions::gelu_tanh_slope(v)),
        Nonlinearity::Silu => dy.zip(x, |d, v| d * functions::silu_slope(v)),
        Nonlinearity::Tanh => dy.zip(x, |d, v| d * functions::tanh_slope(v)),
        Nonlinearity::Sigmoid => dy.zip(x, |d, v| d * functions::sigmoid_slope(v)),
        Nonlinearity::HardSigmoid => dy.zip(x, |d, v| d * functions::hard_sigmoid_slope(v)),
        Nonlinearity::HardSwish => dy.zip(x, |d, v| d * functions::hard_swish_slope(v)),
        Nonlinearity::Relu6 => dy.zip(x, |d, v| d * functions::relu6_slope(v)),
        Nonlinearity::QuickGelu => dy.zip(x, |d, v| d * functions::quick_gelu_slope(v)),
    }
}
