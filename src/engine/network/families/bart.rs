//! BART and its kin with Hugging Face's names: mBART, Pegasus and Marian, from sequence to sequence; BART and mBART
//! for classes of sentences, too.
//!
//! Both sides and the output share one embedding. A decoder reads its tokens a position late: the target sequence, or
//! for a sentence's class the sentence itself, whose class it tells at its end.

use super::{
    Builder, Source,
    encoder_decoder::{Across, Blocks, EPS, Side},
    transformer::{Attending, CLASSIFIER, WRITER},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand},
    op::Op,
};

const EMBEDDING: &str = "model.shared";
const OFFSET: &str = "final_logits_bias";
/// Rows of a table of positions before that of the first.
const FIRST_POSITION: usize = 2;
/// What the library calls Marian's class.
pub(super) const MARIAN_WRITER: &str = "MTModel";

/// How the families differ.
#[derive(Clone, Copy)]
struct Style {
    /// Norms stand before the blocks and at the end; otherwise behind each sum.
    norms_first: bool,
    /// Positions are learned, and their sum with the words is normed; otherwise they are sines.
    learns_positions: bool,
    /// The decoder begins with the last token of its sequence.
    begins_with_last: bool,
    has_classifier: bool,
    /// The library's own ids of padding and of the decoder's first position; none must be told.
    padding: Option<u32>,
    first: Option<u32>,
}

const BART: Style = Style {
    norms_first: false,
    learns_positions: true,
    begins_with_last: false,
    has_classifier: true,
    padding: Some(1),
    first: Some(2),
};
const MBART: Style = Style {
    norms_first: true,
    begins_with_last: true,
    ..BART
};
const PEGASUS: Style = Style {
    norms_first: true,
    learns_positions: false,
    begins_with_last: false,
    has_classifier: false,
    padding: Some(0),
    first: Some(0),
};
const MARIAN: Style = Style {
    norms_first: false,
    padding: None,
    first: None,
    ..PEGASUS
};

pub(super) fn bart(source: &Source<'_>) -> Result<Graph, GraphError> {
    let style = if source.config["model_type"] == "mbart" {
        MBART
    } else {
        BART
    };
    build(source, style)
}

pub(super) fn pegasus(source: &Source<'_>) -> Result<Graph, GraphError> {
    build(source, PEGASUS)
}

pub(super) fn marian(source: &Source<'_>) -> Result<Graph, GraphError> {
    build(source, MARIAN)
}

fn build(source: &Source<'_>, style: Style) -> Result<Graph, GraphError> {
    let writes = writes(source, style)?;
    let network = Network::read(source, style, writes)?;
    let mut builder = Builder::default();
    let encoded = network.encoder(source, &mut builder)?;
    let decoded = network.decoder(source, &mut builder, encoded)?;

    let input = Input::Tokens {
        shape: [network.longest],
    };
    if !writes {
        let end = source.token_id("eos_token_id", Some(2))?;
        builder.head_at_end(decoded, end);
        return Ok(builder.finish(input));
    }
    let logits = builder.linear_as("lm_head".into(), EMBEDDING.into(), decoded);
    if source.has(&format!("{OFFSET}.bias")) {
        let op = Op::Offset {
            param: OFFSET.into(),
        };
        builder.push(OFFSET, op, &[logits]);
    }

    Ok(builder.finish_writing(network.longest, input))
}

/// Whether a configuration is of a model that writes, and not of a classifier.
fn writes(source: &Source<'_>, style: Style) -> Result<bool, GraphError> {
    let class = source.config["architectures"][0].as_str();
    let of_marian = source.config["model_type"] == "marian";
    let ending = if of_marian { MARIAN_WRITER } else { WRITER };

    match class {
        Some(class) if class.ends_with(ending) => Ok(true),
        _ if style.has_classifier => source.head(CLASSIFIER).map(|()| false),
        class => Err(GraphError::UnknownArchitecture {
            name: class.unwrap_or("(none)").to_owned(),
            known: format!("…{ending}"),
        }),
    }
}

/// What both sides have in common.
struct Network {
    style: Style,
    blocks: Blocks,
    /// The decoder reads a target sequence.
    writes: bool,
    padding: u32,
    first: u32,
    /// What embeddings are multiplied by.
    scale: Option<f64>,
    width: usize,
    /// Tokens of a sequence.
    longest: usize,
}

impl Network {
    fn read(source: &Source<'_>, style: Style, writes: bool) -> Result<Self, GraphError> {
        let [_, width] = source.shape(&format!("{EMBEDDING}.weight"))?;
        let longest = if style.learns_positions {
            let table = "model.encoder.embed_positions.weight";
            source.ids(table, FIRST_POSITION)?.shape()[0]
        } else {
            source.count("max_position_embeddings")?
        };
        let is_scaled = source.switch("scale_embedding", false)?;

        Ok(Self {
            style,
            blocks: Blocks {
                norms_first: style.norms_first,
                activation: source.activation("activation_function", "gelu")?,
            },
            writes,
            padding: source.token_id("pad_token_id", style.padding)?,
            first: if style.begins_with_last {
                0
            } else {
                source.token_id("decoder_start_token_id", style.first)?
            },
            scale: is_scaled.then(|| (width as f64).sqrt()),
            width,
            longest,
        })
    }

    fn encoder(&self, source: &Source<'_>, builder: &mut Builder) -> Result<Operand, GraphError> {
        let heads = source.count_of(&["encoder_attention_heads", "num_attention_heads"])?;
        let side = Side {
            name: "model.encoder",
            layers: &["encoder_layers", "num_hidden_layers"],
            own: Attending::plain(heads, true),
            across: None,
        };
        let x = self.embedded(source, builder, side.name, Operand::Input);
        self.blocks.stack(source, builder, &side, x)
    }

    fn decoder(
        &self,
        source: &Source<'_>,
        builder: &mut Builder,
        encoded: Operand,
    ) -> Result<Operand, GraphError> {
        let heads = source.count("decoder_attention_heads")?;
        let across = Attending {
            cross: self.writes,
            ..Attending::plain(heads, true)
        };
        let side = Side {
            name: "model.decoder",
            layers: &["decoder_layers"],
            own: Attending {
                causal: true,
                ..Attending::plain(heads, false)
            },
            across: Some(Across {
                heads: &across,
                encoded,
            }),
        };
        let ids = self.late(builder);
        let x = self.embedded(source, builder, side.name, ids);

        self.blocks.stack(source, builder, &side, x)
    }

    /// The ids of what the decoder reads, a position late. A sentence has no place without a token.
    fn late(&self, builder: &mut Builder) -> Operand {
        let Style {
            begins_with_last, ..
        } = self.style;
        let op = Op::ShiftTokens {
            first: (!begins_with_last).then_some(self.first),
            padding: (begins_with_last || self.writes).then_some(self.padding),
        };
        let read = if self.writes {
            Operand::Target
        } else {
            Operand::Input
        };

        builder.push("model.decoder.input", op, &[read])
    }

    /// Words and positions.
    fn embedded(
        &self,
        source: &Source<'_>,
        builder: &mut Builder,
        name: &str,
        ids: Operand,
    ) -> Operand {
        let op = Op::Embedding {
            param: EMBEDDING.into(),
            padding: Some(self.padding),
        };
        let mut words = builder.push(format!("{name}.words"), op, &[ids]);
        if let Some(factor) = self.scale {
            words = builder.push(format!("{name}.scaled"), Op::Scale { factor }, &[words]);
        }

        let param = format!("{name}.embed_positions");
        let is_learned = self.style.learns_positions;
        let op = if is_learned || source.has(&format!("{param}.weight")) {
            Op::PositionEmbedding {
                param: param.clone(),
                bare: false,
                offset: if is_learned { FIRST_POSITION } else { 0 },
                constant: false,
                padding: None,
                // PEGASUS has its sines in the file.
                frozen: !is_learned,
                resampled: None,
            }
        } else {
            Op::Sinusoids { width: self.width }
        };
        let places = builder.push(param, op, &[ids]);
        let x = builder.add(format!("{name}.sum"), &[words, places]);
        if is_learned {
            return builder.layer_norm(&format!("{name}.layernorm_embedding"), EPS, x);
        }

        x
    }
}
