//! Transformers as graphs: separate, fused and transposed projections, grouped queries with rotary
//! positions, layer and root-mean-square norms before the blocks and after the sums, plain and gated
//! hidden layers.

use serde_json::{Value, json};

use super::networks::Network;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// BERT's: three linear maps, norms after the sums, plain MLP.
    Separate,
    /// Norms before the blocks, as in Hugging Face's `vit`; read by the mean of its tokens.
    Early,
    /// timm's: q|k|v in one tensor.
    Fused,
    /// GPT-2's: the same, `[in, out]`, causal.
    Transposed,
    /// Llama's: two key/value heads, rotary positions, causal, gated MLP.
    Grouped,
}

pub const ALL: [Projection; 5] = [
    Projection::Separate,
    Projection::Early,
    Projection::Fused,
    Projection::Transposed,
    Projection::Grouped,
];
/// The causal ones, of which language models are made.
pub const CAUSAL: [Projection; 2] = [Projection::Transposed, Projection::Grouped];
pub const VOCABULARY: usize = 40;
const TOKENS: usize = 9;
const HEADS: usize = 4;

struct Builder {
    nodes: Vec<Value>,
    shapes: Vec<(String, Vec<usize>)>,
}

impl Builder {
    fn network(self, task: &str) -> Network {
        let input = json!({"kind": "tokens", "shape": [TOKENS]});
        let config =
            json!({"model_type": "graph", "input": input, "task": task, "nodes": self.nodes});
        Network::of(&config, self.shapes)
    }

    fn linear(&mut self, param: &str, read: &str, [out, input]: [usize; 2], transposed: bool) {
        let weight = if transposed {
            vec![input, out]
        } else {
            vec![out, input]
        };
        let node =
            json!({"op": "linear", "param": param, "inputs": [read], "transposed": transposed});
        self.nodes.push(node);
        self.shapes.push((format!("{param}.weight"), weight));
        self.shapes.push((format!("{param}.bias"), vec![out]));
    }

    fn norm(&mut self, param: &str, read: &str, width: usize, centred: bool) {
        let op = if centred { "layer_norm" } else { "rms_norm" };
        self.nodes
            .push(json!({"op": op, "param": param, "inputs": [read]}));
        self.shapes.push((format!("{param}.weight"), vec![width]));
        if centred {
            self.shapes.push((format!("{param}.bias"), vec![width]));
        }
    }
}

/// How many blocks, and channels of a token.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub depth: usize,
    pub width: usize,
}

/// `depth` blocks of four heads over `width` channels, classifying into `classes` by the first token
/// (by the last where attention is causal, by the mean where [`Projection`] says so).
pub fn transformer(projection: Projection, size: Size, classes: usize) -> Network {
    let (mut b, causal) = body(projection, size);
    let select = if causal {
        json!({"op": "select_token", "id": "token", "position": "last", "inputs": ["norm", "input"]})
    } else if projection == Projection::Early {
        json!({"op": "mean_tokens", "id": "token", "inputs": ["norm", "input"]})
    } else {
        json!({"op": "select_token", "id": "token"})
    };
    b.nodes.push(select);
    b.linear("head", "token", [classes, size.width], false);
    b.network("classification")
}

/// The same body below an output matrix over the vocabulary, its own or the embedding.
pub fn language_model(projection: Projection, size: Size, tied: bool) -> Network {
    let (mut b, _) = body(projection, size);
    if tied {
        b.nodes
            .push(json!({"op": "linear", "id": "output", "param": "words"}));
    } else {
        b.nodes.push(json!({"op": "linear", "param": "output"}));
        b.shapes
            .push(("output.weight".into(), vec![VOCABULARY, size.width]));
    }
    b.network("next_token")
}

/// Everything up to the last norm, and whether its attention is causal. Norms stand before the blocks
/// and at the end, or after each sum.
fn body(projection: Projection, Size { depth, width }: Size) -> (Builder, bool) {
    let mut b = Builder {
        nodes: Vec::new(),
        shapes: Vec::new(),
    };
    let (size, hidden) = (width / HEADS, 2 * width);
    let grouped = projection == Projection::Grouped;
    let causal = grouped || projection == Projection::Transposed;
    let late = projection == Projection::Separate;
    let kv_heads = if grouped { 2 } else { HEADS };
    b.nodes.push(json!({"op": "embedding", "param": "words"}));
    b.nodes
        .push(json!({"op": "position_embedding", "param": "places", "inputs": ["input"]}));
    b.nodes
        .push(json!({"op": "add", "id": "stream", "inputs": ["words", "places"]}));
    b.shapes
        .push(("words.weight".into(), vec![VOCABULARY, width]));
    b.shapes.push(("places.weight".into(), vec![TOKENS, width]));
    let mut stream = "stream".to_owned();
    for block in 0..depth {
        let name = |part: &str| format!("block{block}.{part}");
        let mut read = stream.clone();
        if !late {
            read = name("norm1");
            b.norm(&read, &stream, width, !grouped);
        }
        let mut inputs = vec![name("q"), name("k"), name("v")];
        match projection {
            Projection::Fused | Projection::Transposed => {
                let transposed = projection == Projection::Transposed;
                b.linear(&name("qkv"), &read, [3 * width, width], transposed);
                inputs = vec![name("qkv")];
            }
            Projection::Separate | Projection::Early | Projection::Grouped => {
                for (part, heads) in [("q", HEADS), ("k", kv_heads), ("v", kv_heads)] {
                    b.linear(&name(part), &read, [heads * size, width], false);
                }
            }
        }
        inputs.push("input".into());
        let mut attention = json!({"op": "attention", "id": name("attention"), "heads": HEADS,
            "kv_heads": kv_heads, "causal": causal, "mask": true, "inputs": inputs});
        if grouped {
            attention["rotary"] = json!({"theta": 100.0});
        }
        b.nodes.push(attention);
        b.linear(&name("out"), &name("attention"), [width, width], false);
        b.nodes
            .push(json!({"op": "add", "id": name("middle"), "inputs": [stream, name("out")]}));
        let (mut middle, mut read) = (name("middle"), name("norm2"));
        if late {
            (middle, read) = (name("norm1"), name("norm1"));
            b.norm(&middle, &name("middle"), width, !grouped);
        } else {
            b.norm(&read, &middle, width, !grouped);
        }
        b.linear(&name("up"), &read, [hidden, width], false);
        if grouped {
            b.linear(&name("gate"), &read, [hidden, width], false);
            b.nodes.push(json!({"op": "silu", "id": name("silu")}));
            b.nodes.push(
                json!({"op": "gate", "id": name("act"), "inputs": [name("silu"), name("up")]}),
            );
        } else {
            b.nodes.push(json!({"op": "gelu_tanh", "id": name("act")}));
        }
        b.linear(&name("down"), &name("act"), [width, hidden], false);
        b.nodes
            .push(json!({"op": "add", "id": name("end"), "inputs": [middle, name("down")]}));
        stream = name("end");
        if late {
            stream = name("norm2");
            b.norm(&stream, &name("end"), width, !grouped);
        }
    }
    if !late {
        b.norm("norm", &stream, width, !grouped);
    }
    (b, causal)
}
