//! Synthetic Llama classifiers of any size, written as they are computed: models of gigabytes
//! without their memory.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::Range,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use retune::{
    artifacts::tensors,
    engine::tensors::{Checkpoint, DType, Elements, HostTensor},
};
use serde_json::{Value, json};

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub struct Llama {
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub vocabulary: usize,
    pub positions: usize,
    pub classes: usize,
}

impl Llama {
    /// `config.json`.
    pub fn config(&self) -> Value {
        json!({
            "model_type": "llama",
            "architectures": ["LlamaForSequenceClassification"],
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
            "num_labels": self.classes,
        })
    }

    /// Names and shapes.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let (width, inner) = (self.hidden, self.intermediate);
        let kv = width / self.heads * self.kv_heads;
        let mut shapes = vec![("model.embed_tokens.weight".into(), vec![self.vocabulary, width])];
        for layer in 0..self.layers {
            let mut add = |part: &str, shape: &[usize]| {
                shapes.push((format!("model.layers.{layer}.{part}.weight"), shape.to_vec()));
            };
            add("input_layernorm", &[width]);
            add("self_attn.q_proj", &[width, width]);
            add("self_attn.k_proj", &[kv, width]);
            add("self_attn.v_proj", &[kv, width]);
            add("self_attn.o_proj", &[width, width]);
            add("post_attention_layernorm", &[width]);
            add("mlp.gate_proj", &[inner, width]);
            add("mlp.up_proj", &[inner, width]);
            add("mlp.down_proj", &[width, inner]);
        }
        shapes.push(("model.norm.weight".into(), vec![width]));
        shapes.push(("score.weight".into(), vec![self.classes, width]));
        shapes
    }

    pub fn parameters(&self) -> usize {
        self.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Numbers drawn from `seed`, with those of `change`, `(seed, share)`, mixed in: a tuning or a
    /// relative is the same seed with a small share of another.
    pub fn model(&self, dtype: DType, seed: u64, change: Option<(u64, f32)>) -> Checkpoint {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let centre = if shape.len() == 1 { 1.0 } else { 0.0 };
            let spread = (3.0 / *shape.last().expect("no scalars") as f32).sqrt();
            let salt = name.bytes().fold(0, |hash, b| mix(hash ^ u64::from(b)));
            let change = change.map(|(seed, share)| (salt ^ mix(seed), share));
            let noise = Noise { dtype, seed: salt ^ mix(seed), change, centre, spread };
            (name, HostTensor::lazy(dtype, shape, Arc::new(noise)))
        };
        self.shapes().into_iter().map(tensor).collect()
    }

    /// Writes a model folder, in `shards` files.
    pub fn write(&self, folder: &Path, model: &Checkpoint, shards: usize) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut config = self.config();
        let dtype = model["score.weight"].dtype();
        config["torch_dtype"] = json!(if dtype == DType::BF16 { "bfloat16" } else { "float32" });
        fs::write(folder.join("config.json"), format!("{config:#}\n"))?;
        if shards == 1 {
            return write_tensors(&folder.join("model.safetensors"), model);
        }
        let mut parts = vec![Checkpoint::new(); shards];
        let mut weight_map = serde_json::Map::new();
        for (i, (name, tensor)) in model.iter().enumerate() {
            let part = i * shards / model.len();
            weight_map.insert(name.into(), json!(file_name(part, shards)));
            parts[part].insert(name, tensor.clone());
        }
        for (i, part) in parts.iter().enumerate() {
            write_tensors(&folder.join(file_name(i, shards)), part)?;
        }
        let index = json!({"weight_map": weight_map});
        fs::write(folder.join("model.safetensors.index.json"), index.to_string())
    }
}

fn file_name(part: usize, of: usize) -> String {
    format!("model-{:05}-of-{of:05}.safetensors", part + 1)
}

/// Writes a safetensors file as it is computed.
pub fn write_tensors(path: &Path, model: &Checkpoint) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    tensors::to_pieces(model).pieces.try_for_each(|piece| file.write_all(&piece))?;
    file.flush()
}

/// Numbers that follow from their positions.
#[derive(Debug)]
struct Noise {
    dtype: DType,
    seed: u64,
    change: Option<(u64, f32)>,
    centre: f32,
    spread: f32,
}

impl Elements for Noise {
    fn floats(&self, range: Range<usize>) -> Vec<f32> {
        let draw = |seed: u64, i: usize| {
            let bits = mix(seed.wrapping_add(i as u64)) >> 40;
            self.spread * (bits as f32 / (1u64 << 23) as f32 - 1.0)
        };
        let value = |i: usize| {
            let changed = self.change.map_or(0.0, |(seed, share)| share * draw(seed, i));
            self.dtype.round(self.centre + draw(self.seed, i) + changed)
        };
        range.map(value).collect()
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
