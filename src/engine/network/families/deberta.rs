//! `DeBERTa` 2 and 3 with Hugging Face's names: BERT's blocks, whose attention also scores the distances between
//! tokens (He et al. 2021). What distances are is a table in the stream, which every layer projects.

use serde_json::Value;

use super::{
    Builder, Source,
    post_norm::{self, Block, BlockNames, Head, Words},
    transformer::{Attending, LAYERS},
};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::{Distances, FullyMasked, Op},
};

const BLOCK: BlockNames = BlockNames {
    qkv: [
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
    ],
    ..post_norm::BERT
};
const EMBEDDINGS: &str = "deberta.embeddings";
const ENCODER: &str = "deberta.encoder";

pub(super) fn build(source: &Source<'_>) -> Result<Graph, GraphError> {
    if source.encoder_task()? == Task::MaskedToken {
        // The library's later head of words has no published model.
        source.only("legacy", &[true.into()])?;
    }
    let eps = source.number("layer_norm_eps", 1e-7)?;
    let positions = Positions::read(source)?;
    let heads = positions.heads(source)?;
    let block = Block {
        names: &BLOCK,
        heads: &heads,
        eps,
        activation: &source.activation("hidden_act", "gelu")?,
    };
    let activation = source.activation("pooler_hidden_act", "gelu")?;

    let mut builder = Builder::default();
    let mut x = embedded(source, &mut builder, eps)?;
    let table = positions.push(source, &mut builder, eps)?;
    let layers = format!("{ENCODER}.layer");
    for layer in 0..source.layers(&layers, "output.dense.weight", LAYERS)? {
        let prefix = format!("{layers}.{layer}");
        let mut read: Vec<Operand> = BLOCK
            .qkv
            .map(|part| builder.linear(&format!("{prefix}.{part}"), x))
            .into();
        if let Some(table) = table {
            read.extend(positions.projected(&mut builder, &prefix, table));
        }
        let attended = builder.attention(format!("{prefix}.attention"), &heads, &read);
        x = block.push_behind(&mut builder, [&prefix, &prefix], attended, x);
    }

    let head = Head {
        layers: ["pooler.dense", "classifier"],
        activation,
        pooler: None,
        words: Words {
            dense: "cls.predictions.transform.dense",
            activation: block.activation.clone(),
            norm: "cls.predictions.transform.LayerNorm",
            eps,
        },
    };
    let length = source.count("max_position_embeddings")?;

    head.finish(source, builder, Input::Tokens { shape: [length] }, x)
}

/// The normalised sum of words and what else the configuration says, 0 where it is padded.
fn embedded(source: &Source<'_>, builder: &mut Builder, eps: f64) -> Result<Operand, GraphError> {
    let mut terms = vec![builder.embedding(&format!("{EMBEDDINGS}.word_embeddings"))];
    if source.switch("position_biased_input", true)? {
        terms.push(builder.positions(&format!("{EMBEDDINGS}.position_embeddings")));
    }
    if source.config["type_vocab_size"]
        .as_u64()
        .unwrap_or_default()
        > 0
    {
        let param = format!("{EMBEDDINGS}.token_type_embeddings");
        let op = Op::TokenTypeEmbedding {
            param: param.clone(),
        };
        terms.push(builder.push(param, op, &[Operand::Input]));
    }

    let mut x = terms[0];
    if terms.len() > 1 {
        x = builder.add(format!("{EMBEDDINGS}.sum"), &terms);
    }
    let projection = format!("{EMBEDDINGS}.embed_proj");
    if source.has(&format!("{projection}.weight")) {
        x = builder.linear(&projection, x);
    }
    let x = builder.layer_norm(&format!("{EMBEDDINGS}.LayerNorm"), eps, x);
    let op = Op::MaskTokens {};

    Ok(builder.push(format!("{EMBEDDINGS}.masked"), op, &[x, Operand::Input]))
}

/// How distances are scored.
struct Positions {
    /// Whether there is a table of distances.
    is_relative: bool,
    distances: Distances,
    /// Queries and keys of distances are projected by the layers of those of tokens.
    is_shared: bool,
    /// Rows of the table on each side of its middle.
    span: usize,
}

impl Positions {
    fn read(source: &Source<'_>) -> Result<Self, GraphError> {
        let [keys, queries] = kinds(&source.config["pos_att_type"])?;
        let max_distance = match positive(source, "max_relative_positions")? {
            Some(told) => told,
            None => source.count("max_position_embeddings")?,
        };
        let buckets = positive(source, "position_buckets")?;
        let distances = Distances {
            keys,
            queries,
            buckets,
            max_distance,
        };

        Ok(Self {
            is_relative: source.switch("relative_attention", false)? && (keys || queries),
            distances,
            is_shared: source.switch("share_att_key", false)?,
            span: buckets.unwrap_or(max_distance),
        })
    }

    /// Products are scaled by their number too, whether there is a table or not.
    fn heads(&self, source: &Source<'_>) -> Result<Attending, GraphError> {
        let count = source.count("num_attention_heads")?;
        let [rows, _] = source.shape(&format!("{ENCODER}.layer.0.{}.weight", BLOCK.qkv[0]))?;
        let Distances { keys, queries, .. } = self.distances;
        let terms = 1 + usize::from(keys) + usize::from(queries);
        let width = (rows / count * terms) as f64;

        Ok(Attending {
            scale: Some(width.sqrt().recip()),
            distances: self.is_relative.then(|| self.distances.clone()),
            mask_queries: true,
            fully_masked: FullyMasked::Mean,
            ..Attending::plain(count, true)
        })
    }

    /// The table, normalised where the configuration says so.
    fn push(
        &self,
        source: &Source<'_>,
        builder: &mut Builder,
        eps: f64,
    ) -> Result<Option<Operand>, GraphError> {
        if !self.is_relative {
            return Ok(None);
        }
        let param = format!("{ENCODER}.rel_embeddings");
        let [rows, _] = source.shape(&format!("{param}.weight"))?;
        if rows != 2 * self.span {
            let detail = format!(
                "position_buckets: {param} has {rows} rows, not {}",
                2 * self.span
            );
            return Err(GraphError::Malformed { detail });
        }

        let op = Op::Table {
            bare: false,
            param: param.clone(),
        };
        let table = builder.push(param, op, &[Operand::Input]);
        let norms = source.config["norm_rel_ebd"].as_str().unwrap_or("none");
        let is_normed = norms
            .split('|')
            .any(|norm| norm.trim().eq_ignore_ascii_case("layer_norm"));

        Ok(Some(if is_normed {
            builder.layer_norm(&format!("{ENCODER}.LayerNorm"), eps, table)
        } else {
            table
        }))
    }

    /// What a layer's queries and then what its keys meet.
    fn projected(&self, builder: &mut Builder, prefix: &str, table: Operand) -> Vec<Operand> {
        let Distances { keys, queries, .. } = self.distances;
        let wanted = [
            (keys, "pos_key_proj", "key_proj"),
            (queries, "pos_query_proj", "query_proj"),
        ];

        wanted
            .into_iter()
            .filter(|(is_wanted, ..)| *is_wanted)
            .map(|(_, own, shared)| {
                let param = if self.is_shared { shared } else { own };
                let [id, param] =
                    [own, param].map(|part| format!("{prefix}.attention.self.{part}"));
                builder.linear_as(id, param, table)
            })
            .collect()
    }
}

/// Whether queries meet keys of distances, and keys queries of theirs: `c2p` and `p2c`, as a list or with
/// strokes between them.
fn kinds(value: &Value) -> Result<[bool; 2], GraphError> {
    let listed: Vec<String> = match value {
        Value::Null => Vec::new(),
        Value::String(text) => text
            .to_lowercase()
            .split('|')
            .map(|kind| kind.trim().to_owned())
            .collect(),
        other => serde_json::from_value(other.clone()).unwrap_or_else(|_| vec![other.to_string()]),
    };
    if let Some(other) = listed
        .iter()
        .find(|kind| !["c2p", "p2c"].contains(&kind.as_str()))
    {
        let detail = format!("pos_att_type: {other:?} is not supported");
        return Err(GraphError::Malformed { detail });
    }

    Ok(["c2p", "p2c"].map(|kind| listed.iter().any(|found| found == kind)))
}

/// A whole number of the configuration, where it is above 0.
fn positive(source: &Source<'_>, key: &str) -> Result<Option<usize>, GraphError> {
    let value = &source.config[key];
    if value.is_null() || value.as_i64().is_some_and(|number| number < 1) {
        return Ok(None);
    }
    source.count(key).map(Some)
}
