//! Transformers of published sizes under the names that users have, with ten classes.

use serde_json::{Value, json};

use super::networks::signature;
use crate::{network::Graph, tensors::Signature};

/// A transformer whose tokens all have this many channels, and four times as many within a layer.
#[derive(Clone, Copy, Debug)]
pub struct Transformer {
    pub width: usize,
    pub layers: usize,
}

impl Transformer {
    /// BERT-base and `ViT`-B.
    pub const BASE: Self = Self {
        width: 768,
        layers: 12,
    };

    /// A BERT of 512 positions under transformers' names.
    ///
    /// # Panics
    /// When the width is not made of heads of 64 channels.
    pub fn bert(&self) -> (Graph, Signature) {
        let config = json!({
            "model_type": "bert", "architectures": ["BertForSequenceClassification"],
            "hidden_size": self.width, "num_hidden_layers": self.layers,
            "num_attention_heads": self.width / 64, "intermediate_size": 4 * self.width,
            "hidden_act": "gelu", "layer_norm_eps": 1e-12, "vocab_size": 30522,
            "max_position_embeddings": 512, "type_vocab_size": 2, "pad_token_id": 0});
        let width = self.width;
        let mut shapes = Shapes::default();
        for (table, rows) in [("word", 30522), ("position", 512), ("token_type", 2)] {
            let name = format!("bert.embeddings.{table}_embeddings.weight");
            shapes.0.push((name, vec![rows, width]));
        }
        shapes.norm("bert.embeddings.LayerNorm", width);
        for layer in 0..self.layers {
            let at = format!("bert.encoder.layer.{layer}");
            for part in ["query", "key", "value"] {
                shapes.linear(&format!("{at}.attention.self.{part}"), width, width);
            }
            shapes.linear(&format!("{at}.attention.output.dense"), width, width);
            shapes.norm(&format!("{at}.attention.output.LayerNorm"), width);
            shapes.linear(&format!("{at}.intermediate.dense"), 4 * width, width);
            shapes.linear(&format!("{at}.output.dense"), width, 4 * width);
            shapes.norm(&format!("{at}.output.LayerNorm"), width);
        }
        shapes.linear("bert.pooler.dense", width, width);
        shapes.linear("classifier", 10, width);
        shapes.graph(&config)
    }

    /// A `ViT` of images of 224 × 224 in patches of 16 × 16, under timm's names.
    ///
    /// # Panics
    /// When the width is not that of a `ViT`-B.
    pub fn vit(&self) -> (Graph, Signature) {
        let config = json!({"architecture": "vit_base_patch16_224", "input_size": [3, 224, 224]});
        let width = self.width;
        let mut shapes = Shapes::default();
        let bare = [
            ("cls_token", vec![1, 1, width]),
            ("pos_embed", vec![1, 197, width]),
        ];
        let bare = bare.map(|(name, shape)| (name.to_owned(), shape));
        shapes.0.extend(bare);
        let patches = ("patch_embed.proj.weight".into(), vec![width, 3, 16, 16]);
        shapes.0.push(patches);
        shapes.0.push(("patch_embed.proj.bias".into(), vec![width]));
        for block in 0..self.layers {
            let at = format!("blocks.{block}");
            shapes.norm(&format!("{at}.norm1"), width);
            shapes.linear(&format!("{at}.attn.qkv"), 3 * width, width);
            shapes.linear(&format!("{at}.attn.proj"), width, width);
            shapes.norm(&format!("{at}.norm2"), width);
            shapes.linear(&format!("{at}.mlp.fc1"), 4 * width, width);
            shapes.linear(&format!("{at}.mlp.fc2"), width, 4 * width);
        }
        shapes.norm("norm", width);
        shapes.linear("head", 10, width);
        shapes.graph(&config)
    }
}

/// Names and shapes of tensors.
#[derive(Default)]
struct Shapes(Vec<(String, Vec<usize>)>);

impl Shapes {
    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        let weight = (format!("{name}.weight"), vec![outputs, inputs]);
        self.0
            .extend([weight, (format!("{name}.bias"), vec![outputs])]);
    }

    fn norm(&mut self, name: &str, width: usize) {
        for part in ["weight", "bias"] {
            self.0.push((format!("{name}.{part}"), vec![width]));
        }
    }

    fn graph(self, config: &Value) -> (Graph, Signature) {
        let signature = signature(self.0);
        let graph = Graph::from_config(config, &signature);
        (graph.expect("a transformer of a known family"), signature)
    }
}
