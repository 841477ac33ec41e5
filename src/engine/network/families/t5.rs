//! T5 and mT5 with Hugging Face's names: the encoder for classes of tokens and as a body, and both sides for
//! classes of sentences and from sequence to sequence.
//!
//! Scores are not scaled; every layer of a side adds the biases of one table to them. A decoder reads its tokens
//! a position late: the target sequence, or for a sentence's class the sentence itself, whose class it tells at
//! its end.

use super::{
    Builder, OUTPUT, Source,
    transformer::{Attending, CLASSIFIER, TOKEN_CLASSIFIER, WRITER},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{FullyMasked, Op, PositionBias},
};

const EMBEDDING: &str = "transformer.shared";
/// Tokens of a sentence, and of a target sequence. The library has no limit.
const LONGEST: usize = 4096;

/// What a configuration is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Model {
    Encoder,
    OfTokens,
    OfSentences,
    /// From sequence to sequence.
    Writer,
}

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let model = model_of(source)?;
    let blocks = Blocks::read(source)?;
    let input = Input::Tokens { shape: [LONGEST] };

    let mut builder = Builder::default();
    let encoded = blocks.encoder(source, &mut builder)?;
    let task = match model {
        Model::Encoder => Task::Representation,
        Model::OfTokens => {
            builder.linear("classifier", encoded);
            Task::TokenClassification
        }
        Model::OfSentences => {
            let last = source.token_id("eos_token_id", Some(1))?;
            let read = Decoded::read(source, Operand::Input)?;
            let decoded = blocks.decoder(source, &mut builder, encoded, read)?;
            builder.head_at_end(decoded, last);
            Task::Classification
        }
        Model::Writer => {
            let read = Decoded::read(source, Operand::Target)?;
            let decoded = blocks.decoder(source, &mut builder, encoded, read)?;
            output(source, &mut builder, decoded)?;
            return Ok(builder.finish_writing(LONGEST, input));
        }
    };

    Ok(builder.finish_for(task, input))
}

fn model_of(source: &Source<'_>) -> Result<Model, GraphError> {
    match source.config["architectures"][0].as_str() {
        Some(class) if class.ends_with("EncoderModel") => Ok(Model::Encoder),
        Some(class) if class.ends_with(TOKEN_CLASSIFIER) => {
            source.head(TOKEN_CLASSIFIER).map(|()| Model::OfTokens)
        }
        Some(class) if class.ends_with(WRITER) => Ok(Model::Writer),
        _ => source.head(CLASSIFIER).map(|()| Model::OfSentences),
    }
}

/// The next token by the output matrix, or by the embedding where the file has none.
fn output(
    source: &Source<'_>,
    builder: &mut Builder,
    mut decoded: Operand,
) -> Result<(), GraphError> {
    if scales_output(source)? {
        let [_, width] = source.shape(&format!("{EMBEDDING}.weight"))?;
        let factor = (width as f64).sqrt().recip();
        decoded = builder.push("scaled", Op::Scale { factor }, &[decoded]);
    }
    let has_own = source.has(OUTPUT);
    let param = if has_own { "lm_head" } else { EMBEDDING };
    builder.linear_as("lm_head".into(), param.into(), decoded);
    Ok(())
}

/// Whether the decoder's output is divided by the root of its width. Version 5 of the library has a key for it;
/// before, it was where the output is tied, and T5 1.1 is read so still. mT5 in version 5 never does.
fn scales_output(source: &Source<'_>) -> Result<bool, GraphError> {
    if source.config["model_type"] == "mt5" {
        return Ok(false);
    }
    let is_tied = source.config["tie_word_embeddings"] != false;
    source.switch("scale_decoder_outputs", is_tied)
}

/// What a decoder reads, a position late.
#[derive(Clone, Copy)]
struct Decoded {
    ids: Operand,
    first: u32,
    /// The id in the place of no token; a sentence has none of these.
    padding: Option<u32>,
}

impl Decoded {
    fn read(source: &Source<'_>, ids: Operand) -> Result<Self, GraphError> {
        let is_mt5 = source.config["model_type"] == "mt5";
        // The library shifts no sequence without it, be there places to fill or not.
        let padding = source.token_id("pad_token_id", Some(0))?;

        Ok(Self {
            ids,
            first: source.token_id("decoder_start_token_id", is_mt5.then_some(0))?,
            padding: (ids == Operand::Target).then_some(padding),
        })
    }
}

/// What all blocks have in common.
struct Blocks {
    heads: usize,
    eps: f64,
    activation: Op,
    is_gated: bool,
    buckets: usize,
    max_distance: usize,
}

/// A block's side, and where its parts begin.
#[derive(Clone, Copy)]
struct Side<'a> {
    name: &'a str,
    is_decoder: bool,
    /// What the other side puts out.
    encoded: Option<Operand>,
    /// The other side reads another sequence.
    cross: bool,
}

impl Blocks {
    fn read(source: &Source<'_>) -> Result<Self, GraphError> {
        let is_mt5 = source.config["model_type"] == "mt5";
        let default = if is_mt5 { "gated-gelu" } else { "relu" };
        let feed_forward = Feed::read(source, default)?;

        Ok(Self {
            heads: source.count_of(&["num_heads", "num_attention_heads"])?,
            eps: source.number("layer_norm_epsilon", 1e-6)?,
            activation: feed_forward.activation,
            is_gated: feed_forward.is_gated,
            buckets: or(source, "relative_attention_num_buckets", 32)?,
            max_distance: or(source, "relative_attention_max_distance", 128)?,
        })
    }

    fn encoder(&self, source: &Source<'_>, builder: &mut Builder) -> Result<Operand, GraphError> {
        let side = Side {
            name: "transformer.encoder",
            is_decoder: false,
            encoded: None,
            cross: false,
        };
        let words = builder.embedding(EMBEDDING);
        self.stack(source, builder, side, words)
    }

    fn decoder(
        &self,
        source: &Source<'_>,
        builder: &mut Builder,
        encoded: Operand,
        read: Decoded,
    ) -> Result<Operand, GraphError> {
        let side = Side {
            name: "transformer.decoder",
            is_decoder: true,
            encoded: Some(encoded),
            cross: read.ids == Operand::Target,
        };
        let op = Op::ShiftTokens {
            first: Some(read.first),
            padding: read.padding,
        };
        let shifted = builder.push("transformer.decoder.input", op, &[read.ids]);
        let op = Op::Embedding {
            param: EMBEDDING.into(),
            padding: None,
        };
        let words = builder.push("transformer.decoder.words", op, &[shifted]);

        self.stack(source, builder, side, words)
    }

    fn stack(
        &self,
        source: &Source<'_>,
        builder: &mut Builder,
        side: Side<'_>,
        mut x: Operand,
    ) -> Result<Operand, GraphError> {
        let prefix = format!("{}.block", side.name);
        let own: &[&str] = match (side.is_decoder, &source.config["num_decoder_layers"]) {
            (true, told) if !told.is_null() => &["num_decoder_layers"],
            _ => &["num_layers", "num_hidden_layers"],
        };
        let depth = source.layers(&prefix, "layer.0.SelfAttention.q.weight", own)?;
        for layer in 0..depth {
            x = self.block(builder, side, &format!("{prefix}.{layer}"), x);
        }
        Ok(self.norm(builder, &format!("{}.final_layer_norm", side.name), x))
    }

    fn block(&self, builder: &mut Builder, side: Side<'_>, prefix: &str, x: Operand) -> Operand {
        let first = format!("{prefix}.layer.0");
        let normed = self.norm(builder, &format!("{first}.layer_norm"), x);
        let heads = self.self_attention(side);
        let attention = format!("{first}.SelfAttention");
        let attended = Self::attended(builder, &attention, &heads, [normed, normed]);
        let mut x = builder.add(format!("{first}.sum"), &[x, attended]);

        let mut last = 1;
        if let Some(encoded) = side.encoded {
            let second = format!("{prefix}.layer.1");
            let normed = self.norm(builder, &format!("{second}.layer_norm"), x);
            let attention = format!("{second}.EncDecAttention");
            let heads = Attending {
                cross: side.cross,
                ..self.attending(true)
            };
            let attended = Self::attended(builder, &attention, &heads, [normed, encoded]);
            x = builder.add(format!("{second}.sum"), &[x, attended]);
            last = 2;
        }

        let last = format!("{prefix}.layer.{last}");
        let normed = self.norm(builder, &format!("{last}.layer_norm"), x);
        let output = self.feed_forward(builder, &format!("{last}.DenseReluDense"), normed);

        builder.add(format!("{last}.sum"), &[x, output])
    }

    /// Scores that are not scaled.
    fn attending(&self, masked: bool) -> Attending {
        Attending {
            scale: Some(1.0),
            fully_masked: FullyMasked::Mean,
            ..Attending::plain(self.heads, masked)
        }
    }

    /// The first block of a side has the table of all. A decoder sees all of its own tokens before each.
    fn self_attention(&self, side: Side<'_>) -> Attending {
        let bias = PositionBias {
            param: format!(
                "{}.block.0.layer.0.SelfAttention.relative_attention_bias",
                side.name
            ),
            buckets: self.buckets,
            max_distance: self.max_distance,
            one_sided: side.is_decoder,
        };

        Attending {
            causal: side.is_decoder,
            position_bias: Some(bias),
            ..self.attending(!side.is_decoder)
        }
    }

    /// What queries take of keys and values: those of the first of two operands of the second.
    fn attended(
        builder: &mut Builder,
        prefix: &str,
        heads: &Attending,
        [own, read]: [Operand; 2],
    ) -> Operand {
        let queries = builder.linear(&format!("{prefix}.q"), own);
        let keys = builder.linear(&format!("{prefix}.k"), read);
        let values = builder.linear(&format!("{prefix}.v"), read);
        let attended = builder.attention(prefix.to_owned(), heads, &[queries, keys, values]);
        builder.linear(&format!("{prefix}.o"), attended)
    }

    fn feed_forward(&self, builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
        let gate = if self.is_gated { "wi_0" } else { "wi" };
        let hidden = builder.linear(&format!("{prefix}.{gate}"), x);
        let activation = self.activation.clone();
        let mut hidden = builder.push(format!("{prefix}.act"), activation, &[hidden]);
        if self.is_gated {
            let up = builder.linear(&format!("{prefix}.wi_1"), x);
            hidden = builder.push(format!("{prefix}.gated"), Op::Gate {}, &[hidden, up]);
        }
        builder.linear(&format!("{prefix}.wo"), hidden)
    }

    fn norm(&self, builder: &mut Builder, param: &str, x: Operand) -> Operand {
        let op = Op::RmsNorm {
            param: param.to_owned(),
            eps: self.eps,
            unit_offset: false,
        };
        builder.push(param, op, &[x])
    }
}

/// The hidden layer of a block.
struct Feed {
    activation: Op,
    is_gated: bool,
}

impl Feed {
    /// `relu`, or `gated-` before the name of a function; `gated-gelu` is by tanh.
    fn read(source: &Source<'_>, default: &str) -> Result<Self, GraphError> {
        const KEY: &str = "feed_forward_proj";
        let told = source.config[KEY].as_str().unwrap_or(default);
        let gated = told.strip_prefix("gated-");
        let name = match gated {
            Some("gelu") => "gelu_new",
            Some(name) => name,
            None => told,
        };
        // What the library computes of the one key, and writes too; it reads them back.
        for (key, computed) in [
            ("dense_act_fn", name.into()),
            ("is_gated_act", serde_json::Value::from(gated.is_some())),
        ] {
            let written = &source.config[key];
            if !written.is_null() && *written != computed {
                let detail = format!("{key}: is {written}, but {KEY} is {told:?}");
                return Err(GraphError::Malformed { detail });
            }
        }

        Ok(Self {
            activation: Source::activation_of(KEY, name)?,
            is_gated: gated.is_some(),
        })
    }
}

/// A count of the configuration, or the library's own.
fn or(source: &Source<'_>, key: &str, default: usize) -> Result<usize, GraphError> {
    match source.config.get(key) {
        None => Ok(default),
        Some(_) => source.count(key),
    }
}
