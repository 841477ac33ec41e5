//! Experts: one set of shapes for all, and a router logit for each.

use super::{Resolved, Resolver};
use crate::network::{
    error::GraphError,
    op::{Activation, Op},
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
}

impl Resolver<'_> {
    pub(super) fn experts(&self) -> Result<Resolved, GraphError> {
        let Op::Experts { param, count, top_k, normalised, activation, layers } = &self.node.op
        else {
            return Err(self.fault("is no experts"));
        };
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
            let name = |layer: &str| format!("{param}.{expert}.{layer}");
            let first = experts.first();
            let hidden = first.map(|first| first.gate.outputs());
            let out = first.map(|first| first.down.outputs());
            let gate =
                self.of_expert(&name(&layers.gate), Sizes { inputs: width, outputs: hidden })?;
            let hidden = gate.outputs();
            let up = Sizes { inputs: width, outputs: Some(hidden) };
            let up = self.of_expert(&name(&layers.up), up)?;
            let down = Sizes { inputs: hidden, outputs: out };
            let down = self.of_expert(&name(&layers.down), down)?;
            experts.push(Expert { gate, up, down });
        }
        self.check_biases(&experts)?;

        let Some(out) = experts.first().map(|first| first.down.outputs()) else {
            return Err(self.fault("needs at least one expert"));
        };
        let activation = match activation {
            Activation::Silu => Nonlinearity::Silu,
            Activation::Gelu => Nonlinearity::Gelu,
            Activation::GeluTanh => Nonlinearity::GeluTanh,
            Activation::Relu => Nonlinearity::Relu,
        };
        let layer = Experts { experts, top_k: *top_k, normalised: *normalised, activation };
        Ok(Resolved { layer: Layer::Experts(layer), output: vec![tokens, out] })
    }

    fn of_expert(&self, param: &str, sizes: Sizes) -> Result<Linear, GraphError> {
        let Sizes { inputs, outputs } = sizes;
        let weight: Param<2> = self.weight(param)?;
        let [found, read] = weight.shape;
        if read != inputs || outputs.is_some_and(|outputs| outputs != found) {
            let rows = outputs.map_or_else(|| "out".to_owned(), |outputs| outputs.to_string());
            return Err(weight.misfit(format!("[{rows}, {inputs}]")));
        }
        let bias = self.vector(format!("{param}.bias"), found)?;
        Ok(Linear { weight, bias, transposed: false })
    }

    /// Where one expert has a bias all have it, so that any may take the place of any other.
    fn check_biases(&self, experts: &[Expert]) -> Result<(), GraphError> {
        let biases =
            |Expert { gate, up, down }: &Expert| [gate, up, down].map(|layer| layer.bias.is_some());
        match experts.split_first() {
            Some((first, rest)) if rest.iter().any(|other| biases(other) != biases(first)) => {
                Err(self.fault("some experts have a bias that others lack"))
            }
            _ => Ok(()),
        }
    }
}
