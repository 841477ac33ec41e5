//! Experts: one set of shapes for all, and a router logit for each.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    op::{Activation, Clamp, ExpertLayers, Op},
    program::{
        Layer, Param,
        layer::{Expert, Experts, Linear, Nonlinearity},
    },
};

/// Inputs and outputs of a layer.
#[derive(Clone, Copy)]
struct Sizes {
    inputs: usize,
    /// Any where absent.
    outputs: Option<usize>,
    /// The weight is `[in, out]`.
    transposed: bool,
}

fn nonlinearity(activation: Activation) -> Nonlinearity {
    match activation {
        Activation::Silu => Nonlinearity::Silu,
        Activation::Gelu => Nonlinearity::Gelu,
        Activation::GeluTanh => Nonlinearity::GeluTanh,
        Activation::Relu => Nonlinearity::Relu,
    }
}

impl Resolver<'_> {
    pub(super) fn experts(&self) -> Result<Resolved, GraphError> {
        let Op::Experts {
            param,
            count,
            top_k,
            normalised,
            activation,
            layers,
            interleaved,
            clamp,
        } = &self.node.op
        else {
            return Err(self.fault("is no experts"));
        };
        if clamp.is_some_and(|Clamp { alpha, limit }| !(alpha.is_finite() && limit > 0.0)) {
            return Err(self.fault("clamp needs a limit above 0"));
        }
        if self.inputs.len() != 2 {
            return Err(self.fault("reads the tokens and the logits of their router"));
        }
        let ([tokens, width], [positions, logits]) = (self.tokens(0)?, self.tokens(1)?);
        if positions != tokens || logits != *count {
            let detail = format!(
                "needs logits [{tokens}, {count}], one for each expert, not {:?}",
                self.inputs[1]
            );
            return Err(self.fault(detail));
        }
        if *top_k == 0 || top_k > count {
            return Err(self.fault(format!("top_k must be between 1 and {count}, not {top_k}")));
        }

        let mut experts: Vec<Expert> = Vec::with_capacity(*count);
        for expert in 0..*count {
            let names = layers.of(&format!("{param}.{expert}"));
            let expert = if *interleaved {
                self.fused_expert(&names, width, experts.first())?
            } else {
                self.expert(&names, width, experts.first())?
            };
            experts.push(expert);
        }
        self.check_biases(&experts)?;

        let Some(out) = experts.first().map(|first| first.down.outputs()) else {
            return Err(self.fault("needs at least one expert"));
        };
        let activation = nonlinearity(*activation);
        let (top_k, normalised, clamp) = (*top_k, *normalised, *clamp);
        let layer = Experts {
            experts,
            top_k,
            normalised,
            activation,
            clamp,
        };

        Ok(Resolved {
            layer: Layer::Experts(layer),
            output: vec![tokens, out],
        })
    }

    /// An expert of the shapes of the first.
    fn expert(
        &self,
        names: &ExpertLayers,
        width: usize,
        first: Option<&Expert>,
    ) -> Result<Expert, GraphError> {
        let hidden = first.map(|first| first.gate.outputs());
        let gate = Sizes {
            inputs: width,
            outputs: hidden,
            transposed: false,
        };
        let gate = self.of_expert(&names.gate, gate)?;
        let hidden = gate.outputs();
        let up = Sizes {
            inputs: width,
            outputs: Some(hidden),
            transposed: false,
        };
        let up = Some(self.of_expert(&names.up, up)?);
        let outputs = first.map(|first| first.down.outputs());
        let down = Sizes {
            inputs: hidden,
            outputs,
            transposed: false,
        };

        Ok(Expert {
            gate,
            up,
            down: self.of_expert(&names.down, down)?,
        })
    }

    /// The same where gate and up are one layer.
    fn fused_expert(
        &self,
        names: &ExpertLayers,
        width: usize,
        first: Option<&Expert>,
    ) -> Result<Expert, GraphError> {
        let both = first.map(|first| first.gate.outputs());
        let gate = Sizes {
            inputs: width,
            outputs: both,
            transposed: true,
        };
        let gate = self.of_expert(&names.gate, gate)?;
        if !gate.outputs().is_multiple_of(2) {
            return Err(gate.weight.misfit(format!("[{width}, an even number]")));
        }
        let outputs = first.map(|first| first.down.outputs());
        let down = Sizes {
            inputs: gate.outputs() / 2,
            outputs,
            transposed: true,
        };

        Ok(Expert {
            gate,
            up: None,
            down: self.of_expert(&names.down, down)?,
        })
    }

    fn of_expert(&self, param: &str, sizes: Sizes) -> Result<Linear, GraphError> {
        let Sizes {
            inputs,
            outputs,
            transposed,
        } = sizes;
        let weight: Param<2> = self.weight(param)?;
        let [rows, columns] = weight.shape;
        let (found, read) = if transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        if read != inputs || outputs.is_some_and(|outputs| outputs != found) {
            let out = outputs.map_or_else(|| "out".to_owned(), |outputs| outputs.to_string());
            return Err(weight.misfit(if transposed {
                format!("[{inputs}, {out}]")
            } else {
                format!("[{out}, {inputs}]")
            }));
        }
        let bias = self.vector(format!("{param}.bias"), found)?;

        Ok(Linear {
            weight,
            bias,
            transposed,
        })
    }

    /// Where one expert has a bias all have it, so that any may take the place of any other.
    fn check_biases(&self, experts: &[Expert]) -> Result<(), GraphError> {
        match experts.split_first() {
            Some((first, rest)) if rest.iter().any(|other| other.biases() != first.biases()) => {
                Err(self.fault("some experts have a bias that others lack"))
            }
            _ => Ok(()),
        }
    }
}

impl Expert {
    /// Which of its layers have a bias.
    fn biases(&self) -> [bool; 3] {
        let Self { gate, up, down } = self;
        [Some(gate), up.as_ref(), Some(down)]
            .map(|layer| layer.is_some_and(|layer| layer.bias.is_some()))
    }
}

impl ExpertLayers {
    /// The layers of the expert of this name.
    fn of(&self, expert: &str) -> Self {
        let [gate, up, down] =
            [&self.gate, &self.up, &self.down].map(|layer| format!("{expert}.{layer}"));
        Self { gate, up, down }
    }
}
