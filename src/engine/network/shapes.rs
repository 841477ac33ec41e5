//! Checks a graph against its tensors' headers and infers the shape every node puts out.

use super::{
    error::GraphError,
    graph::{Graph, Input, Node, Operand, Task},
    op::{Op, Pair},
};
use crate::tensors::{Signature, TensorInfo};

mod tokens;

/// Shape of one sample, without the batch axis: `[F]`, `[C, H, W]` or tokens `[S, D]`.
pub type SampleShape = Vec<usize>;

/// Values that a node may put out for one sample: 8 GiB in f32. A number in a small file must not ask for
/// more memory than a machine has before anybody has looked at it.
const MAX_VALUES: usize = 1 << 31;

/// The most of a window's size, padding, stride and dilation, in pixels.
const MAX_PIXELS: usize = 1 << 16;

/// Channels of a sample: last in tokens, first elsewhere.
pub fn channels(shape: &[usize]) -> usize {
    if let [_, channels] = shape { *channels } else { shape[0] }
}

impl Graph {
    /// The shape each node puts out.
    ///
    /// # Errors
    /// A tensor missing, left over, of another shape or no float; nodes that do not fit together, or that
    /// put out more than 2^31 values for a sample.
    pub fn shapes(&self, signature: &Signature) -> Result<Vec<SampleShape>, GraphError> {
        self.check_left_over(signature)?;
        if values_of(self.input.shape()).is_none() {
            let shape = self.input.shape();
            let detail = format!("the input {shape:?} has more than {MAX_VALUES} values a sample");
            return Err(GraphError::Malformed { detail });
        }
        let mut shapes: Vec<SampleShape> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<&[usize]> = node
                .inputs
                .iter()
                .map(|operand| match operand {
                    Operand::Input => self.input.shape(),
                    Operand::Node(i) => &shapes[*i],
                })
                .collect();
            let of_images = matches!(self.input, Input::Image { .. });
            let shape = Step { node, inputs, signature, of_images }.output()?;
            if values_of(&shape).is_none() {
                let detail = format!("puts out {shape:?}, more than {MAX_VALUES} values a sample");
                return Err(GraphError::wiring(node, detail));
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Width of the output: classes, or tokens of the vocabulary.
    ///
    /// # Errors
    /// As [`Graph::shapes`], and an output that is not what the task needs.
    pub fn classes(&self, signature: &Signature) -> Result<usize, GraphError> {
        let shapes = self.shapes(signature)?;
        let last = self.nodes.last().expect("a graph has nodes");
        let output = shapes.last().map_or(&[][..], Vec::as_slice);
        match (self.task, output, &self.input) {
            // Its loss is 0 and its accuracy 1, whatever it computes.
            (Task::Classification, [1], _) => {
                let detail = "the output must be the logits of at least two classes; one number is a \
                              regression or a reward, which is not supported";
                Err(GraphError::wiring(last, detail))
            }
            (Task::Classification, [classes], _) => Ok(*classes),
            (Task::NextToken, [tokens, classes], Input::Tokens { shape })
                if shape == &[*tokens] =>
            {
                Ok(*classes)
            }
            (Task::Classification, ..) => {
                let detail = format!("the output must be [classes], not {output:?}");
                Err(GraphError::wiring(last, detail))
            }
            (Task::NextToken, ..) => {
                let detail =
                    format!("the output must be [S, vocabulary] of S token ids, not {output:?}");
                Err(GraphError::wiring(last, detail))
            }
        }
    }

    fn check_left_over(&self, signature: &Signature) -> Result<(), GraphError> {
        let known: std::collections::HashSet<String> = self.params().map(|(_, p)| p.name).collect();
        match signature.keys().find(|name| !known.contains(*name)) {
            Some(tensor) => Err(GraphError::UnexpectedTensor { tensor: tensor.clone() }),
            None => Ok(()),
        }
    }
}

/// How many values a sample of this shape has, if they are not too many.
fn values_of(shape: &[usize]) -> Option<usize> {
    let values = shape.iter().try_fold(1usize, |values, &axis| values.checked_mul(axis));
    values.filter(|values| *values <= MAX_VALUES)
}

/// One node with what it reads.
struct Step<'a> {
    node: &'a Node,
    inputs: Vec<&'a [usize]>,
    signature: &'a Signature,
    /// The network reads images.
    of_images: bool,
}

impl Step<'_> {
    fn output(&self) -> Result<SampleShape, GraphError> {
        match &self.node.op {
            Op::Linear { param, transposed } => self.linear(param, *transposed),
            Op::Conv2d { param, stride, padding, dilation, groups } => {
                self.conv2d(param, [*stride, *padding, *dilation], *groups)
            }
            Op::BatchNorm { param, .. } => self.batch_norm(param),
            Op::Relu {}
            | Op::Gelu {}
            | Op::GeluTanh {}
            | Op::Silu {}
            | Op::Tanh {}
            | Op::Dropout { .. } => Ok(self.one()?.to_vec()),
            Op::MaxPool { kernel, stride, padding, ceil_mode }
            | Op::AvgPool { kernel, stride, padding, ceil_mode, .. } => {
                self.pool(*kernel, stride.unwrap_or(*kernel), *padding, *ceil_mode)
            }
            Op::AdaptiveAvgPool { output } => {
                self.positive(*output, "output")?;
                Ok(vec![self.image()?[0], output.0, output.1])
            }
            Op::GlobalAvgPool {} => Ok(vec![self.image()?[0]]),
            Op::Flatten {} => Ok(vec![self.one()?.iter().product()]),
            Op::Gate {} if self.inputs.len() > 2 => Err(self.fault("takes two inputs")),
            Op::Add {} | Op::Gate {} => self.add(),
            op => self.of_tokens(op),
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
        input.try_into().map_err(|_| self.fault(format!("needs an input [C, H, W], not {input:?}")))
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

    /// The weight, of the given rank.
    fn weight(&self, param: &str, rank: usize) -> Result<&[usize], GraphError> {
        let name = format!("{param}.weight");
        let Some(info) = self.tensor(&name)? else {
            return Err(GraphError::MissingTensor { tensor: name, node: self.node.id.clone() });
        };
        if info.shape.len() != rank || info.shape.contains(&0) {
            return Err(wrong_shape(&name, format!("rank {rank} without empty axes"), info));
        }
        Ok(&info.shape)
    }

    /// A vector with one entry a channel.
    fn vector(&self, name: &str, channels: usize, required: bool) -> Result<(), GraphError> {
        match self.tensor(name)? {
            Some(info) if info.shape == [channels] => Ok(()),
            Some(info) => Err(wrong_shape(name, format!("[{channels}]"), info)),
            None if required => Err(GraphError::MissingTensor {
                tensor: name.to_owned(),
                node: self.node.id.clone(),
            }),
            None => Ok(()),
        }
    }

    fn linear(&self, param: &str, transposed: bool) -> Result<SampleShape, GraphError> {
        let input = self.one()?;
        let weight = self.weight(param, 2)?;
        let (tokens, features) = match *input {
            [features] => (None, features),
            [tokens, features] => (Some(tokens), features),
            _ => {
                let detail =
                    format!("needs an input [F] or [S, D], not {input:?}; flatten it first");
                return Err(self.fault(detail));
            }
        };
        let (out, read) = if transposed { (weight[1], weight[0]) } else { (weight[0], weight[1]) };
        if read != features {
            let name = format!("{param}.weight");
            let expected = if transposed {
                format!("[{features}, out]")
            } else {
                format!("[out, {features}]")
            };
            return Err(wrong_shape(&name, expected, &self.signature[&name]));
        }
        self.vector(&format!("{param}.bias"), out, false)?;
        Ok(tokens.into_iter().chain([out]).collect())
    }

    fn conv2d(
        &self,
        param: &str,
        window: [Pair; 3],
        groups: usize,
    ) -> Result<SampleShape, GraphError> {
        let [stride, padding, dilation] = window;
        let [channels, height, width] = self.image()?;
        let weight = self.weight(param, 4)?;
        self.positive(stride, "stride")?;
        self.positive(dilation, "dilation")?;
        self.moderate(padding, "padding")?;
        if groups == 0 || !channels.is_multiple_of(groups) || !weight[0].is_multiple_of(groups) {
            return Err(self.fault(format!(
                "groups {groups} must divide the channels {channels} and {}",
                weight[0]
            )));
        }
        if weight[1] != channels / groups {
            let info = &self.signature[&format!("{param}.weight")];
            let expected = format!("[out, {}, kh, kw]", channels / groups);
            return Err(wrong_shape(&format!("{param}.weight"), expected, info));
        }
        self.vector(&format!("{param}.bias"), weight[0], false)?;
        let size = |n: usize, k: usize, p: usize, d: usize, s: usize| {
            let span = d.checked_mul(k - 1)?.checked_add(1)?;
            Some(p.checked_mul(2)?.checked_add(n)?.checked_sub(span)? / s + 1)
        };
        let height = size(height, weight[2], padding.0, dilation.0, stride.0);
        let width = size(width, weight[3], padding.1, dilation.1, stride.1);
        match (height, width) {
            (Some(height), Some(width)) => Ok(vec![weight[0], height, width]),
            _ => Err(self.fault("the kernel is larger than the padded input")),
        }
    }

    fn batch_norm(&self, param: &str) -> Result<SampleShape, GraphError> {
        let input = self.one()?.to_vec();
        if input.len() == 2 {
            return Err(self.fault(format!("needs an input [F] or [C, H, W], not {input:?}")));
        }
        for (suffix, required) in
            [("weight", false), ("bias", false), ("running_mean", true), ("running_var", true)]
        {
            self.vector(&format!("{param}.{suffix}"), input[0], required)?;
        }
        Ok(input)
    }

    fn pool(
        &self,
        kernel: Pair,
        stride: Pair,
        padding: Pair,
        ceil: bool,
    ) -> Result<SampleShape, GraphError> {
        let [channels, height, width] = self.image()?;
        self.positive(kernel, "kernel")?;
        self.positive(stride, "stride")?;
        self.moderate(padding, "padding")?;
        // PyTorch's rule: a window must start inside the input or its left padding.
        let size = |n: usize, k: usize, p: usize, s: usize| {
            if p > k / 2 {
                return None;
            }
            let room = p.checked_mul(2)?.checked_add(n)?.checked_sub(k)?;
            let windows = if ceil { room.div_ceil(s) } else { room / s } + 1;
            Some(if ceil && (windows - 1) * s >= n + p { windows - 1 } else { windows })
        };
        match (
            size(height, kernel.0, padding.0, stride.0),
            size(width, kernel.1, padding.1, stride.1),
        ) {
            (Some(height), Some(width)) => Ok(vec![channels, height, width]),
            _ => {
                Err(self
                    .fault("the window does not fit the input, or the padding exceeds half of it"))
            }
        }
    }

    fn add(&self) -> Result<SampleShape, GraphError> {
        match self.inputs.split_first() {
            Some((first, rest)) if !rest.is_empty() => {
                if rest.iter().any(|other| other != first) {
                    return Err(self.fault(format!("reads different shapes: {:?}", self.inputs)));
                }
                Ok(first.to_vec())
            }
            _ => Err(self.fault("needs at least two inputs")),
        }
    }

    fn positive(&self, pair: Pair, what: &str) -> Result<(), GraphError> {
        if pair.0 == 0 || pair.1 == 0 {
            return Err(self.fault(format!("{what} must be at least 1")));
        }
        self.moderate(pair, what)
    }

    fn moderate(&self, pair: Pair, what: &str) -> Result<(), GraphError> {
        if pair.0.max(pair.1) > MAX_PIXELS {
            let detail = format!("{what} {:?} is more than {MAX_PIXELS}", pair.array());
            return Err(self.fault(detail));
        }
        Ok(())
    }
}

fn wrong_shape(tensor: &str, expected: String, info: &TensorInfo) -> GraphError {
    GraphError::WrongShape { tensor: tensor.to_owned(), expected, found: info.shape.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tensors::DType;

    fn signature(tensors: &[(&str, &[usize])]) -> Signature {
        tensors
            .iter()
            .map(|(name, shape)| {
                ((*name).to_owned(), TensorInfo { dtype: DType::F32, shape: shape.to_vec() })
            })
            .collect()
    }

    fn cnn() -> Graph {
        Graph::from_document(&json!({"input":{"kind":"image","shape":[3,9,9]},"nodes":[
            {"op":"conv2d","param":"c","stride":2,"padding":1},{"op":"max_pool","kernel":2,"ceil_mode":true},
            {"op":"flatten"},{"op":"linear","param":"fc"}]}))
        .unwrap()
    }

    #[test]
    fn sizes_follow_pytorchs_rules() {
        let tensors =
            signature(&[("c.weight", &[4, 3, 3, 3]), ("fc.weight", &[2, 36]), ("fc.bias", &[2])]);
        let shapes = cnn().shapes(&tensors).unwrap();
        assert_eq!(shapes, [vec![4, 5, 5], vec![4, 3, 3], vec![36], vec![2]]);
        assert_eq!(cnn().classes(&tensors).unwrap(), 2);
    }

    /// Numbers with which products overflow, or which no memory holds.
    #[test]
    fn numbers_that_no_memory_holds_are_refused() {
        let tensors = signature(&[("c.weight", &[4, 3, 3, 3]), ("fc.weight", &[2, 4])]);
        let code = |node: serde_json::Value, side: usize| {
            let input = json!({"kind":"image","shape":[3, side, side]});
            let nodes = json!([node, {"op":"global_avg_pool"},{"op":"linear","param":"fc"}]);
            let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
            graph.shapes(&tensors).unwrap_err().code()
        };
        let conv = |padding: u64| json!({"op":"conv2d","param":"c","padding":padding});
        for padding in [100_000, 1 << 31, 1 << 62, u64::MAX] {
            assert_eq!(code(conv(padding), 8), "malformed_graph", "{padding}");
        }
        assert_eq!(code(conv(0), 1 << 62), "malformed_config");
        for kernel in [1u64 << 62, 1 << 63, u64::MAX] {
            let pool = json!({"op":"max_pool","kernel":kernel,"padding":kernel / 2});
            let nodes = json!([pool]);
            let graph = Graph::from_document(
                &json!({"input":{"kind":"image","shape":[3,8,8]},"nodes":nodes}),
            );
            assert_eq!(
                graph.unwrap().shapes(&signature(&[])).unwrap_err().code(),
                "malformed_graph"
            );
        }
        let wide = json!({"op":"adaptive_avg_pool","output":1u64 << 40});
        let graph =
            Graph::from_document(&json!({"input":{"kind":"image","shape":[3,8,8]},"nodes":[wide]}));
        assert_eq!(graph.unwrap().shapes(&signature(&[])).unwrap_err().code(), "malformed_graph");
    }

    #[test]
    fn faults_name_the_tensor() {
        let code =
            |tensors: &[(&str, &[usize])]| cnn().shapes(&signature(tensors)).unwrap_err().code();
        assert_eq!(code(&[("fc.weight", &[2, 36])]), "missing_tensor");
        assert_eq!(code(&[("c.weight", &[4, 3, 3, 3]), ("fc.weight", &[2, 35])]), "wrong_shape");
        assert_eq!(code(&[("c.weight", &[4, 2, 3, 3]), ("fc.weight", &[2, 36])]), "wrong_shape");
        assert_eq!(
            code(&[("c.weight", &[4, 3, 3, 3]), ("fc.weight", &[2, 36]), ("x", &[1])]),
            "unexpected_tensor"
        );
        assert_eq!(
            code(&[("c.weight", &[4, 3, 30, 3]), ("fc.weight", &[2, 36])]),
            "malformed_graph"
        );
    }
}
