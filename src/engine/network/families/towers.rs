//! The pictures' side of CLIP (Radford et al. 2021) and `SigLIP` (Zhai et al. 2023) in Hugging Face's form: vision
//! transformers below a classifier of the patches' mean. The configuration of the side stands under `vision_config`.

use serde_json::Value;

use super::{
    Builder, Source, settings,
    transformer::{Attending, LAYERS},
    vit::sides,
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::Op,
};

const SIDE: &str = "vision_config";
/// The library's own numbers.
const SIDE_OF_IMAGES: usize = 224;
const HEADS: usize = 12;

/// Hugging Face's `CLIPForImageClassification`: the norm behind the blocks is not read.
pub(super) fn clip(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.head("ForImageClassification")?;
    let config = side_of(source, &settings::CLIP_VISION)?;
    let source = &source.with(&config);
    let mut builder = Builder::default();
    let tower = Tower::of(source, "quick_gelu", 1e-5)?;
    let x = tower.clip(&mut builder)?;

    let mean = builder.push("patches.mean", Op::MeanTokens { skip: 1 }, &[x]);
    builder.linear("classifier", mean);
    Ok(builder.finish(tower.input))
}

/// Hugging Face's `CLIPVisionModel`: the tokens, and the first of them behind a norm.
pub(super) fn clip_body(source: &Source<'_>) -> Result<Graph, GraphError> {
    if !source.is_body() {
        let name = source.config["architectures"][0].as_str();
        return Err(GraphError::UnknownArchitecture {
            name: name.unwrap_or("a model without a class").to_owned(),
            known: "CLIPVisionModel".to_owned(),
        });
    }
    let mut builder = Builder::default();
    let tower = Tower::of(source, "quick_gelu", 1e-5)?;
    let x = tower.clip(&mut builder)?;

    let first = builder.first_token(x);
    let pooled = builder.layer_norm("vision_model.post_layernorm", tower.eps, first);
    let mean = builder.push("mean", Op::MeanTokens { skip: 0 }, &[x]);
    builder.add("output".into(), &[mean, pooled]);

    Ok(builder.finish_for(Task::Representation, tower.input))
}

/// Hugging Face's `SiglipForImageClassification`: the head that pools by attention is not read.
pub(super) fn siglip(source: &Source<'_>) -> Result<Graph, GraphError> {
    source.head("ForImageClassification")?;
    let config = side_of(source, &settings::SIGLIP_VISION)?;
    let source = &source.with(&config);
    let mut builder = Builder::default();
    let tower = Tower::of(source, "gelu_pytorch_tanh", 1e-6)?;
    let patches = tower.patches(&mut builder, 0)?;
    let x = Tower::positions(&mut builder, patches);
    let x = tower.blocks(&mut builder, x)?;

    let normed = builder.layer_norm("vision_model.post_layernorm", tower.eps, x);
    let mean = builder.push("patches.mean", Op::MeanTokens { skip: 0 }, &[normed]);
    builder.linear("classifier", mean);

    Ok(builder.finish(tower.input))
}

/// The configuration of the pictures' side.
fn side_of(source: &Source<'_>, known: &settings::Settings) -> Result<Value, GraphError> {
    let config = source.config[SIDE].clone();
    settings::check_part(&format!("{SIDE}."), &config, known)?;
    Ok(config)
}

/// A vision transformer.
struct Tower<'a> {
    source: &'a Source<'a>,
    input: Input,
    heads: Attending,
    eps: f64,
    activation: Op,
}

impl<'a> Tower<'a> {
    fn of(source: &'a Source<'a>, activation: &str, eps: f64) -> Result<Self, GraphError> {
        let weight = "vision_model.embeddings.patch_embedding.weight";
        let [_, channels, ..] = source.shape::<4>(weight)?;
        // A part of a configuration leaves out what is as the library has it.
        let [height, width] = match &source.config["image_size"] {
            Value::Null => [SIDE_OF_IMAGES; 2],
            size => sides("image_size", size)?,
        };
        let heads = match source.config["num_attention_heads"] {
            Value::Null => HEADS,
            _ => source.count("num_attention_heads")?,
        };

        Ok(Self {
            source,
            input: Input::Image {
                shape: [channels, height, width],
            },
            heads: Attending::plain(heads, false),
            eps: source.number("layer_norm_eps", eps)?,
            activation: source.activation("hidden_act", activation)?,
        })
    }

    /// A class token before the patches, and a norm before the blocks.
    fn clip(&self, builder: &mut Builder) -> Result<Operand, GraphError> {
        let patches = self.patches(builder, 1)?;
        let class = "vision_model.embeddings.class_embedding";
        let op = Op::ClassToken {
            param: class.to_owned(),
            flat: true,
            at: 0,
        };
        let x = builder.push(class, op, &[patches]);
        let x = Self::positions(builder, x);
        // The library's own spelling.
        let x = builder.layer_norm("vision_model.pre_layrnorm", self.eps, x);

        self.blocks(builder, x)
    }

    /// The patches, as many as the table of positions has rows behind those of so many other tokens.
    fn patches(&self, builder: &mut Builder, others: usize) -> Result<Operand, GraphError> {
        let param = "vision_model.embeddings.patch_embedding";
        let positions = "vision_model.embeddings.position_embedding.weight";
        let [_, _, height, width] = self.source.shape(&format!("{param}.weight"))?;
        let [rows, _] = self.source.shape(positions)?;
        let size = self.input.shape();
        let tokens = (size[1] / height.max(1)).checked_mul(size[2] / width.max(1));
        let tokens = tokens.and_then(|patches| patches.checked_add(others));
        if tokens != Some(rows) {
            let expected = Value::from(size);
            let detail =
                format!("{positions} has {rows} rows, which images {expected} do not make");
            return Err(GraphError::Malformed { detail });
        }
        let op = Op::PatchEmbed {
            param: param.to_owned(),
        };

        Ok(builder.push(param, op, &[Operand::Input]))
    }

    fn positions(builder: &mut Builder, x: Operand) -> Operand {
        let param = "vision_model.embeddings.position_embedding";
        let op = Op::PositionEmbedding {
            param: param.to_owned(),
            bare: false,
            offset: 0,
            constant: false,
            padding: None,
            frozen: false,
            resampled: None,
        };
        let places = builder.push(param, op, &[x]);

        builder.add(format!("{param}.sum"), &[x, places])
    }

    fn blocks(&self, builder: &mut Builder, input: Operand) -> Result<Operand, GraphError> {
        let layers = "vision_model.encoder.layers";
        let mut x = input;
        for layer in 0..self.source.layers(layers, "mlp.fc1.weight", LAYERS)? {
            let name = format!("{layers}.{layer}");
            let normed = builder.layer_norm(&format!("{name}.layer_norm1"), self.eps, x);
            let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{name}.self_attn.{part}"));
            let attended = builder.attend(qkv, &self.heads, normed);
            let attended = builder.linear(&format!("{name}.self_attn.out_proj"), attended);
            x = builder.add(format!("{name}.self_attn.sum"), &[attended, x]);

            let normed = builder.layer_norm(&format!("{name}.layer_norm2"), self.eps, x);
            let hidden = builder.linear(&format!("{name}.mlp.fc1"), normed);
            let hidden = builder.push(format!("{name}.act"), self.activation.clone(), &[hidden]);
            let output = builder.linear(&format!("{name}.mlp.fc2"), hidden);
            x = builder.add(format!("{name}.sum"), &[output, x]);
        }

        Ok(x)
    }
}
