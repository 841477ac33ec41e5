//! Small networks under the names that users have.

use serde_json::json;

use crate::{
    network::Graph,
    tensors::{DType, Signature, TensorInfo},
};

/// Tensors of f32 by name; what counts batches is i64.
pub fn signature(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Signature {
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let is_counter = name.ends_with("num_batches_tracked");
            (
                name,
                TensorInfo {
                    dtype: if is_counter { DType::I64 } else { DType::F32 },
                    shape,
                },
            )
        })
        .collect()
}

/// Linear layers `fc0`, `fc1` … with biases and `ReLU` between them; `widths` begins with the features.
///
/// # Panics
/// With fewer than two widths.
pub fn mlp(widths: &[usize]) -> (Graph, Signature) {
    let mut nodes = Vec::new();
    let mut shapes = Vec::new();
    for (i, pair) in widths.windows(2).enumerate() {
        let param = format!("fc{i}");
        shapes.push((format!("{param}.weight"), vec![pair[1], pair[0]]));
        shapes.push((format!("{param}.bias"), vec![pair[1]]));
        nodes.push(json!({"op": "linear", "param": param}));
        nodes.push(json!({"op": "relu"}));
    }
    // None after the last layer.
    nodes.pop();

    let input = json!({"kind": "features", "shape": [widths[0]]});
    let graph = Graph::from_document(&json!({"input": input, "nodes": nodes}));
    (graph.expect("layers of given widths"), signature(shapes))
}

/// A residual network under timm's and torchvision's names, for ten classes.
#[derive(Clone, Copy, Debug)]
pub struct ResNet {
    /// `resnet18`, `resnet34` or `resnet50`.
    pub name: &'static str,
    /// Channels of the first stage.
    pub width: usize,
    /// Height and width of the first convolution's kernel: 7, or 3 for small images.
    pub kernel: usize,
    /// Height and width of an image.
    pub image: usize,
}

impl ResNet {
    /// ResNet-18 of CIFAR size.
    pub const CIFAR: Self = Self {
        name: "resnet18",
        width: 64,
        kernel: 3,
        image: 32,
    };

    /// What it computes, and its tensors.
    ///
    /// # Panics
    /// Where the name is none of a residual network.
    pub fn build(&self) -> (Graph, Signature) {
        let signature = signature(self.shapes());
        let config = json!({"architecture": self.name, "input_size": [3, self.image, self.image]});
        let graph = Graph::from_config(&config, &signature).expect("a residual network");
        (graph, signature)
    }

    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (depths, is_bottleneck) = match self.name {
            "resnet18" => ([2, 2, 2, 2], false),
            "resnet34" => ([3, 4, 6, 3], false),
            _ => ([3, 4, 6, 3], true),
        };
        let mut shapes = convolution("conv1", "bn1", [self.width, 3, self.kernel]);
        let mut from = self.width;
        for (stage, depth) in depths.into_iter().enumerate() {
            let inner = self.width << stage;
            let to = if is_bottleneck { 4 * inner } else { inner };
            for block in 0..depth {
                let at = format!("layer{}.{block}", stage + 1);
                let sizes: &[[usize; 3]] = if is_bottleneck {
                    &[[inner, from, 1], [inner, inner, 3], [to, inner, 1]]
                } else {
                    &[[inner, from, 3], [to, inner, 3]]
                };
                for (i, size) in (1..).zip(sizes) {
                    shapes.extend(convolution(
                        &format!("{at}.conv{i}"),
                        &format!("{at}.bn{i}"),
                        *size,
                    ));
                }
                if block == 0 && from != to {
                    let branch = format!("{at}.downsample");
                    let (kernel, norm) = (format!("{branch}.0"), format!("{branch}.1"));
                    shapes.extend(convolution(&kernel, &norm, [to, from, 1]));
                }
                from = to;
            }
        }
        shapes.push(("fc.weight".into(), vec![10, from]));
        shapes.push(("fc.bias".into(), vec![10]));
        shapes
    }
}

/// A convolution without bias, and the batch norm after it; `[out, in, kernel]`.
fn convolution(
    name: &str,
    norm: &str,
    [to, from, kernel]: [usize; 3],
) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![(format!("{name}.weight"), vec![to, from, kernel, kernel])];
    for suffix in ["weight", "bias", "running_mean", "running_var"] {
        shapes.push((format!("{norm}.{suffix}"), vec![to]));
    }
    shapes.push((format!("{norm}.num_batches_tracked"), vec![]));
    shapes
}
