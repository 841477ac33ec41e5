//! Nodes in the making.

use crate::network::{
    graph::{Graph, Input, Node, Operand, Task},
    op::{Op, Pair},
};

/// `PyTorch`'s default.
pub(super) const BATCH_NORM_EPS: f64 = 1e-5;

/// How a square kernel goes over an image.
#[derive(Clone, Copy)]
pub(super) struct Sliding {
    pub stride: usize,
    pub zeros: Zeros,
    pub groups: usize,
}

/// Zeros around an image.
#[derive(Clone, Copy)]
pub(super) enum Zeros {
    /// As many on every side.
    Around(usize),
    /// Before the first row and column, and behind the last.
    Apart { before: usize, behind: usize },
    /// As `TensorFlow`'s SAME has it.
    Same,
}

/// Squeeze and excitation (Hu et al. 2018): one factor for each channel, from what all pixels say.
pub(super) struct SqueezeExcitation<'a> {
    pub prefix: &'a str,
    /// Its two convolutions, behind the prefix.
    pub layers: [&'a str; 2],
    /// Between them.
    pub activation: Op,
    /// Behind them.
    pub gate: Op,
}

/// A square window of pooling.
#[derive(Clone, Copy)]
pub(super) struct PoolWindow {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

/// Nodes in the making. Every function returns the node it added.
#[derive(Default)]
pub(super) struct Builder {
    pub nodes: Vec<Node>,
}

impl Builder {
    pub fn push(&mut self, id: impl Into<String>, op: Op, inputs: &[Operand]) -> Operand {
        self.nodes.push(Node {
            id: id.into(),
            op,
            inputs: inputs.to_vec(),
        });
        Operand::Node(self.nodes.len() - 1)
    }

    pub fn convolution(
        &mut self,
        param: &str,
        stride: usize,
        padding: usize,
        x: Operand,
    ) -> Operand {
        let how = Sliding {
            stride,
            zeros: Zeros::Around(padding),
            groups: 1,
        };
        self.convolution_of(param, how, x)
    }

    /// A convolution with zeros on some sides, or in groups.
    pub fn convolution_of(&mut self, param: &str, how: Sliding, x: Operand) -> Operand {
        let Sliding {
            stride,
            zeros,
            groups,
        } = how;
        let (padding, padding_end) = match zeros {
            Zeros::Around(zeros) => (zeros, None),
            Zeros::Apart { before, behind } => (before, Some(Pair(behind, behind))),
            Zeros::Same => (0, None),
        };
        let op = Op::Conv2d {
            param: param.to_owned(),
            stride: Pair(stride, stride),
            padding: Pair(padding, padding),
            dilation: Pair(1, 1),
            groups,
            padding_end,
            same: matches!(zeros, Zeros::Same),
        };

        self.push(param, op, &[x])
    }

    pub fn batch_norm(&mut self, param: &str, x: Operand) -> Operand {
        self.batch_norm_of(param, BATCH_NORM_EPS, x)
    }

    pub fn batch_norm_of(&mut self, param: &str, eps: f64, x: Operand) -> Operand {
        let op = Op::BatchNorm {
            param: param.to_owned(),
            eps,
            momentum: None,
        };
        self.push(param, op, &[x])
    }

    pub fn squeeze_excitation(&mut self, module: &SqueezeExcitation<'_>, x: Operand) -> Operand {
        let SqueezeExcitation {
            prefix,
            layers: [reduce, expand],
            activation,
            gate,
        } = module;
        let output = Pair(1, 1);
        let pooled = self.push(
            format!("{prefix}.pool"),
            Op::AdaptiveAvgPool { output },
            &[x],
        );
        let hidden = self.convolution(&format!("{prefix}.{reduce}"), 1, 0, pooled);
        let hidden = self.push(format!("{prefix}.act"), activation.clone(), &[hidden]);
        let factors = self.convolution(&format!("{prefix}.{expand}"), 1, 0, hidden);
        let factors = self.push(format!("{prefix}.gate"), gate.clone(), &[factors]);

        self.push(format!("{prefix}.scaled"), Op::Gate {}, &[x, factors])
    }

    pub fn layer_scale(&mut self, param: &str, tensor: &str, x: Operand) -> Operand {
        let op = Op::LayerScale {
            param: param.to_owned(),
            tensor: tensor.to_owned(),
        };
        self.push(format!("{param}.{tensor}"), op, &[x])
    }

    pub fn max_pool(&mut self, id: &str, window: PoolWindow, x: Operand) -> Operand {
        let PoolWindow {
            kernel,
            stride,
            padding,
        } = window;
        let op = Op::MaxPool {
            kernel: Pair(kernel, kernel),
            stride: Some(Pair(stride, stride)),
            padding: Pair(padding, padding),
            ceil_mode: false,
        };

        self.push(id, op, &[x])
    }

    pub fn linear(&mut self, param: &str, x: Operand) -> Operand {
        self.linear_as(param.to_owned(), param.to_owned(), x)
    }

    /// A linear layer that others may read too, by a node of its own name.
    pub fn linear_as(&mut self, id: String, param: String, x: Operand) -> Operand {
        let op = Op::Linear {
            param,
            transposed: false,
            bias: None,
        };
        self.push(id, op, &[x])
    }

    pub fn finish(self, input: Input) -> Graph {
        self.finish_for(Task::Classification, input)
    }

    pub fn finish_for(self, task: Task, input: Input) -> Graph {
        Graph {
            input,
            target: None,
            task,
            nodes: self.nodes,
        }
    }

    /// A network that writes a target sequence, of so many tokens at most.
    pub fn finish_writing(self, longest: usize, input: Input) -> Graph {
        Graph {
            target: Some([longest]),
            ..self.finish_for(Task::SequenceToSequence, input)
        }
    }
}
