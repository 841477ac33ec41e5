//! A Llama of any size, classifier or language model, whose numbers are computed when they are read.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::tensors::{Checkpoint, DType, Elements, HostTensor};

/// The sizes of a Llama.
#[derive(Clone, Copy, Debug)]
pub struct Llama {
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub vocabulary: usize,
    pub positions: usize,
    /// 0: it is a language model.
    pub classes: usize,
}

impl Llama {
    /// A hundred million numbers, as language models of that size have them.
    pub const HUNDRED_MILLION: Self = Self {
        hidden: 640,
        intermediate: 1728,
        layers: 13,
        heads: 10,
        kv_heads: 5,
        vocabulary: 32_000,
        positions: 256,
        classes: 0,
    };

    /// `config.json`.
    pub fn config(&self) -> Value {
        let task = if self.classes == 0 {
            "ForCausalLM"
        } else {
            "ForSequenceClassification"
        };
        let mut config = json!({
            "model_type": "llama",
            "architectures": [format!("Llama{task}")],
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
        });
        if self.classes > 0 {
            config["num_labels"] = json!(self.classes);
        }
        config
    }

    /// Names and shapes.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (width, inner) = (self.hidden, self.intermediate);
        let kv = width / self.heads * self.kv_heads;
        let matrices = [
            ("input_layernorm", vec![width]),
            ("self_attn.q_proj", vec![width, width]),
            ("self_attn.k_proj", vec![kv, width]),
            ("self_attn.v_proj", vec![kv, width]),
            ("self_attn.o_proj", vec![width, width]),
            ("post_attention_layernorm", vec![width]),
            ("mlp.gate_proj", vec![inner, width]),
            ("mlp.up_proj", vec![inner, width]),
            ("mlp.down_proj", vec![width, inner]),
        ];

        let mut shapes = vec![(
            "model.embed_tokens.weight".into(),
            vec![self.vocabulary, width],
        )];
        for layer in 0..self.layers {
            for (part, shape) in &matrices {
                shapes.push((format!("model.layers.{layer}.{part}.weight"), shape.clone()));
            }
        }
        shapes.push(("model.norm.weight".into(), vec![width]));
        shapes.push(match self.classes {
            0 => ("lm_head.weight".into(), vec![self.vocabulary, width]),
            classes => ("score.weight".into(), vec![classes, width]),
        });
        shapes
    }

    /// How many numbers it has.
    pub fn parameters(&self) -> usize {
        self.shapes()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    /// Numbers drawn from `seed`, with those of `change` mixed in; computed when they are read.
    pub fn model(&self, dtype: DType, seed: u64, change: Option<Change>) -> Checkpoint {
        let shapes = self.shapes().into_iter();
        shapes
            .map(|(name, shape)| {
                let noise = Noise::of(&name, &shape, dtype, seed, change);
                (name, HostTensor::lazy(dtype, shape, Arc::new(noise)))
            })
            .collect()
    }
}

/// What sets a tuning or a relative apart from a model: a small share of the numbers of another seed.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub seed: u64,
    /// By which those numbers are multiplied before they are added.
    pub share: f32,
}

/// Numbers that follow from their positions.
#[derive(Debug)]
struct Noise {
    dtype: DType,
    seed: u64,
    change: Option<Change>,
    centre: f32,
    spread: f32,
}

impl Noise {
    /// The numbers of one tensor: norms around one, matrices around zero, scaled by their fan-in.
    fn of(name: &str, shape: &[usize], dtype: DType, seed: u64, change: Option<Change>) -> Self {
        let salt = name.bytes().fold(0, |hash, b| mix(hash ^ u64::from(b)));
        let fan_in = *shape.last().expect("no scalars");
        Self {
            dtype,
            seed: salt ^ mix(seed),
            change: change.map(|change| Change {
                seed: salt ^ mix(change.seed),
                ..change
            }),
            centre: if shape.len() == 1 { 1.0 } else { 0.0 },
            spread: (3.0 / fan_in as f32).sqrt(),
        }
    }

    /// Uniform in ±`spread`.
    fn draw(&self, seed: u64, position: usize) -> f32 {
        let bits = mix(seed.wrapping_add(position as u64)) >> 40;
        self.spread * (bits as f32 / (1u64 << 23) as f32 - 1.0)
    }

    fn value(&self, position: usize) -> f32 {
        let changed = self.change.map_or(0.0, |Change { seed, share }| {
            share * self.draw(seed, position)
        });
        self.centre + self.draw(self.seed, position) + changed
    }
}

impl Elements for Noise {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let mut values: Vec<f32> = range.map(|position| self.value(position)).collect();
        self.dtype.round(&mut values);
        values
    }

    fn bytes(&self, range: Range<usize>) -> Bytes {
        self.dtype.encode(&self.floats(range))
    }
}

/// A mixing of 64 bits (splitmix64, Steele et al. 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
