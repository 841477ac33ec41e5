//! Nodes in the making.

use crate::network::{
    graph::{Graph, Input, Node, Operand, Task},
    op::{Op, Pair},
};

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
        let op = Op::Conv2d {
            param: param.to_owned(),
            stride: Pair(stride, stride),
            padding: Pair(padding, padding),
            dilation: Pair(1, 1),
            groups: 1,
        };
        self.push(param, op, &[x])
    }

    pub fn batch_norm(&mut self, param: &str, x: Operand) -> Operand {
        let op = Op::BatchNorm {
            param: param.to_owned(),
            eps: 1e-5,
            momentum: None,
        };
        self.push(param, op, &[x])
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
