//! The networks of the evidence table, for grey 28 × 28 images of ten classes.

use std::error::Error;

use retune::engine::{
    network::Graph,
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
};
use serde_json::{Value, json};

pub const SIDE: usize = 28;
pub const CLASSES: usize = 10;

/// A network as its `config.json` has it, with the shapes of its tensors.
#[derive(Clone)]
pub struct Network {
    pub config: Value,
    pub graph: Graph,
    pub signature: Signature,
    /// Deep, with nothing that keeps the signal at its scale.
    without_norms: bool,
}

impl Network {
    /// `mlp-<width>` (two hidden layers), `mlp1-<width>` (one), `conv8`, `resnet18` (both at a quarter of their width) or `vit`.
    ///
    /// # Errors
    /// For another name.
    pub fn named(name: &str) -> Result<Self, Box<dyn Error>> {
        let mut b = Builder::default();
        match name.split_once('-') {
            Some(("mlp", width)) => b.mlp(&[width.parse()?; 2]),
            Some(("mlp1", width)) => b.mlp(&[width.parse()?]),
            None if name == "conv8" => b.conv8([16, 16, 32, 32, 64, 64, 128, 128]),
            None if name == "resnet18" => b.resnet18(16),
            None if name == "vit" => b.vit(3, 64, 4),
            _ => return Err(format!("no network is called {name:?}").into()),
        }
        let config = json!({"model_type": "graph", "task": "classification",
            "input": {"kind": "image", "shape": [1, SIDE, SIDE]}, "nodes": b.nodes});
        Ok(Self {
            graph: Graph::from_document(&config)?,
            config,
            signature: b.signature,
            without_norms: name == "conv8",
        })
    }

    /// Fresh parameters; where no norm keeps up the signal of many layers, weights uniform in
    /// `±√(6/fan_in)` (He et al., "Delving Deep into Rectifiers", 2015).
    pub fn initial(&self, seed: u64) -> Checkpoint {
        let mut params = self.graph.initial(&self.signature, seed);
        let weights = self
            .signature
            .iter()
            .filter(|(_, info)| info.shape.len() > 1);
        for (name, info) in weights.filter(|_| self.without_norms) {
            let larger = params[name].f32().iter().map(|w| w * 6f32.sqrt()).collect();
            params.insert(
                name.clone(),
                HostTensor::from_f32(info.shape.clone(), larger),
            );
        }
        params
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Value>,
    signature: Signature,
}

impl Builder {
    fn tensor(&mut self, name: &str, shape: &[usize]) {
        let info = TensorInfo {
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        self.signature.insert(name.to_owned(), info);
    }

    fn op(&mut self, op: &str) {
        self.nodes.push(json!({"op": op}));
    }

    fn linear(&mut self, param: &str, [out, input]: [usize; 2]) {
        self.nodes.push(json!({"op": "linear", "param": param}));
        self.tensor(&format!("{param}.weight"), &[out, input]);
        self.tensor(&format!("{param}.bias"), &[out]);
    }

    fn mlp(&mut self, hidden: &[usize]) {
        self.op("flatten");
        let mut from = SIDE * SIDE;
        for (i, &width) in (1..).zip(hidden) {
            self.linear(&format!("fc{i}"), [width, from]);
            self.op("relu");
            from = width;
        }
        self.linear("head", [CLASSES, from]);
    }

    /// Conv8 of Chijiwa's table: a pooling after every second convolution, three linear layers.
    fn conv8(&mut self, channels: [usize; 8]) {
        let mut from = 1;
        for (i, to) in channels.into_iter().enumerate() {
            let param = format!("conv{}", i + 1);
            self.nodes
                .push(json!({"op": "conv2d", "param": param, "padding": 1}));
            self.tensor(&format!("{param}.weight"), &[to, from, 3, 3]);
            self.tensor(&format!("{param}.bias"), &[to]);
            self.op("relu");
            if i % 2 == 1 {
                self.nodes.push(json!({"op": "max_pool", "kernel": 2}));
            }
            from = to;
        }
        // 28 is halved four times.
        self.op("flatten");
        self.linear("fc1", [64, from]);
        self.op("relu");
        self.linear("fc2", [64, 64]);
        self.op("relu");
        self.linear("fc3", [CLASSES, 64]);
    }

    fn norm(&mut self, param: &str, channels: usize) {
        self.nodes.push(json!({"op": "batch_norm", "param": param}));
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            self.tensor(&format!("{param}.{suffix}"), &[channels]);
        }
    }

    /// A convolution with its norm; reads `read`, or the node before it.
    fn convolution(
        &mut self,
        param: &str,
        read: Option<&str>,
        [to, from, kernel, stride]: [usize; 4],
    ) {
        let mut node = json!({"op": "conv2d", "param": param, "stride": stride,
            "padding": kernel / 2});
        if let Some(read) = read {
            node["inputs"] = json!([read]);
        }
        self.nodes.push(node);
        self.tensor(&format!("{param}.weight"), &[to, from, kernel, kernel]);
        self.norm(&format!("{param}_bn"), to);
    }

    /// For small images: a 3 × 3 stem of stride 2 and no pooling after it.
    fn resnet18(&mut self, width: usize) {
        self.convolution("conv1", None, [width, 1, 3, 2]);
        self.nodes.push(json!({"op": "relu", "id": "x"}));
        let (mut from, mut x) = (width, "x".to_owned());
        for stage in 0..4 {
            let to = width << stage;
            for block in 0..2 {
                let at = format!("layer{}.{block}", stage + 1);
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                self.convolution(&format!("{at}.conv1"), Some(&x), [to, from, 3, stride]);
                self.op("relu");
                self.convolution(&format!("{at}.conv2"), None, [to, to, 3, 1]);
                let mut shortcut = x;
                if from != to {
                    self.convolution(
                        &format!("{at}.down"),
                        Some(&shortcut),
                        [to, from, 1, stride],
                    );
                    shortcut = format!("{at}.down_bn");
                }
                self.nodes
                    .push(json!({"op": "add", "id": format!("{at}.sum"),
                    "inputs": [format!("{at}.conv2_bn"), shortcut]}));
                x = format!("{at}.out");
                self.nodes.push(json!({"op": "relu", "id": x}));
                from = to;
            }
        }
        self.op("global_avg_pool");
        self.linear("fc", [CLASSES, from]);
    }

    /// Patches of 7 × 7, hidden layers of twice the width, norms before the sums.
    fn vit(&mut self, depth: usize, width: usize, heads: usize) {
        self.nodes
            .push(json!({"op": "patch_embed", "param": "patch"}));
        self.tensor("patch.weight", &[width, 1, 7, 7]);
        self.tensor("patch.bias", &[width]);
        self.nodes
            .push(json!({"op": "class_token", "param": "cls"}));
        self.tensor("cls", &[1, 1, width]);
        self.nodes
            .push(json!({"op": "position_embedding", "param": "pos", "bare": true}));
        self.tensor("pos", &[1, (SIDE / 7) * (SIDE / 7) + 1, width]);
        let mut x = "x".to_owned();
        self.nodes
            .push(json!({"op": "add", "id": x, "inputs": ["pos", "cls"]}));
        for block in 0..depth {
            let at = |part: &str| format!("blocks.{block}.{part}");
            self.layer_norm(&at("norm1"), &x, width);
            self.linear(&at("qkv"), [3 * width, width]);
            self.nodes.push(json!({"op": "attention", "heads": heads}));
            self.linear(&at("proj"), [width, width]);
            let middle = at("middle");
            self.nodes
                .push(json!({"op": "add", "id": middle, "inputs": [at("proj"), x]}));
            self.layer_norm(&at("norm2"), &middle, width);
            self.linear(&at("fc1"), [2 * width, width]);
            self.op("gelu");
            self.linear(&at("fc2"), [width, 2 * width]);
            x = at("out");
            self.nodes
                .push(json!({"op": "add", "id": x, "inputs": [at("fc2"), middle]}));
        }
        self.layer_norm("norm", &x, width);
        self.nodes.push(json!({"op": "select_token"}));
        self.linear("head", [CLASSES, width]);
    }

    fn layer_norm(&mut self, param: &str, read: &str, width: usize) {
        self.nodes
            .push(json!({"op": "layer_norm", "param": param, "inputs": [read]}));
        self.tensor(&format!("{param}.weight"), &[width]);
        self.tensor(&format!("{param}.bias"), &[width]);
    }
}
