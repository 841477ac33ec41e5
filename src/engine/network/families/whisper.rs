//! Whisper with Hugging Face's names: from log-mel features to a target sequence.
//!
//! Two convolutions along the time make tokens of the features; the second halves their number. The encoder's
//! positions are a table that nobody trains. The streams of the two sides are apart.

use super::{
    Builder, Source,
    encoder_decoder::{Across, Blocks, Side},
    transformer::{Attending, WRITER},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand},
    op::Op,
};

const EMBEDDING: &str = "model.decoder.embed_tokens";
const ENCODER: &str = "model.encoder";
const DECODER: &str = "model.decoder";
/// Frames of features for each token.
const FRAMES: usize = 2;

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    let class = source.config["architectures"][0].as_str();
    if !class.is_some_and(|class| class.ends_with(WRITER)) {
        return Err(GraphError::UnknownArchitecture {
            name: class.unwrap_or("(none)").to_owned(),
            known: format!("…{WRITER}"),
        });
    }

    let [_, bins, _] = source.shape(&format!("{ENCODER}.conv1.weight"))?;
    let [tokens, _] = source.shape(&format!("{ENCODER}.embed_positions.weight"))?;
    let [longest, _] = source.shape(&format!("{DECODER}.embed_positions.weight"))?;
    let blocks = Blocks {
        norms_first: true,
        activation: source.activation("activation_function", "gelu")?,
    };

    let mut builder = Builder::default();
    let encoded = encoder(source, &mut builder, &blocks)?;
    let decoded = decoder(source, &mut builder, &blocks, encoded)?;
    builder.linear_as("lm_head".into(), EMBEDDING.into(), decoded);
    let input = Input::Image {
        shape: [bins, 1, FRAMES.saturating_mul(tokens)],
    };

    Ok(builder.finish_writing(longest, input))
}

fn encoder(
    source: &Source<'_>,
    builder: &mut Builder,
    blocks: &Blocks,
) -> Result<Operand, GraphError> {
    let mut x = Operand::Input;
    for (layer, stride) in [("conv1", 1), ("conv2", FRAMES)] {
        let param = format!("{ENCODER}.{layer}");
        let op = Op::Conv1d {
            param: param.clone(),
            stride,
            padding: 1,
        };
        x = builder.push(param.clone(), op, &[x]);
        x = builder.push(format!("{param}.gelu"), Op::Gelu {}, &[x]);
    }
    let x = builder.push("model.encoder.tokens", Op::ToTokens {}, &[x]);
    let x = placed(builder, ENCODER, true, [x, x]);

    let heads = source.count_of(&["encoder_attention_heads", "num_attention_heads"])?;
    let side = Side {
        name: ENCODER,
        layers: &["encoder_layers", "num_hidden_layers"],
        own: Attending::plain(heads, false),
        across: None,
    };

    blocks.stack(source, builder, &side, x)
}

fn decoder(
    source: &Source<'_>,
    builder: &mut Builder,
    blocks: &Blocks,
    encoded: Operand,
) -> Result<Operand, GraphError> {
    let padding = source.token_id("pad_token_id", Some(50_256))?;
    let op = Op::ShiftTokens {
        first: Some(source.token_id("decoder_start_token_id", Some(50_257))?),
        padding: Some(padding),
    };
    let ids = builder.push("model.decoder.input", op, &[Operand::Target]);
    let op = Op::Embedding {
        param: EMBEDDING.into(),
        padding: Some(padding),
    };
    let words = builder.push(EMBEDDING, op, &[ids]);
    let x = placed(builder, DECODER, false, [words, ids]);

    let heads = source.count("decoder_attention_heads")?;
    let across = Attending {
        cross: true,
        ..Attending::plain(heads, false)
    };
    let side = Side {
        name: DECODER,
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

    blocks.stack(source, builder, &side, x)
}

/// The sum of tokens and the positions of what stands second.
fn placed(builder: &mut Builder, side: &str, frozen: bool, [tokens, of]: [Operand; 2]) -> Operand {
    let param = format!("{side}.embed_positions");
    let op = Op::PositionEmbedding {
        param: param.clone(),
        bare: false,
        offset: 0,
        constant: false,
        padding: None,
        frozen,
        resampled: None,
    };
    let places = builder.push(param, op, &[of]);

    builder.add(format!("{side}.sum"), &[tokens, places])
}
