//! What the transformer families share: reading a Hugging Face configuration, and the blocks.

use serde_json::Value;

pub(super) use super::suffixes::{CLASSIFIER, TOKEN_CLASSIFIER, WRITER};
use super::{
    Builder, Source,
    naming::{Decoder, Names},
};
use crate::network::{
    error::GraphError,
    graph::{Input, Operand, Task},
    op::{
        Distances, FullyMasked, FusedOrder, HeadNorms, Op, Position, PositionBias, Rotary, Windows,
    },
    token::IDS,
};

/// What most families call their number of layers.
pub(super) const LAYERS: &[&str] = &["num_hidden_layers"];

/// By `model_type`, the id of padding where the configuration has no such key; none elsewhere.
const PADDING: [(&str, u32); 10] = [
    ("gemma", 0),
    ("gemma2", 0),
    ("gemma3_text", 0),
    ("olmo2", 1),
    ("olmo3", 1),
    ("olmoe", 1),
    ("phi3", 32_000),
    ("seed_oss", 1),
    ("smollm3", 128_004),
    ("glm4", 151_329),
];

fn malformed(detail: String) -> GraphError {
    GraphError::Malformed { detail }
}

impl Source<'_> {
    /// A count of the configuration.
    pub(super) fn count(&self, key: &str) -> Result<usize, GraphError> {
        let value = &self.config[key];
        match value.as_u64().and_then(|v| usize::try_from(v).ok()) {
            Some(count) if count > 0 => Ok(count),
            _ => Err(malformed(format!(
                "{key}: give a whole number above 0, not {value}"
            ))),
        }
    }

    /// A count that goes by one of these names; the first is the family's own.
    pub(super) fn count_of(&self, keys: &[&str]) -> Result<usize, GraphError> {
        let mut given = keys
            .iter()
            .copied()
            .filter(|key| !self.config[*key].is_null());
        let Some(first) = given.next() else {
            return self.count(keys.first().copied().unwrap_or_default());
        };
        if let Some(other) = given.find(|key| self.config[*key] != self.config[first]) {
            let detail = format!(
                "{other}: is {}, but {first}, another name of it, is {}",
                self.config[other], self.config[first]
            );
            return Err(malformed(detail));
        }

        self.count(first)
    }

    /// A number of the configuration, or the library's default where there is none.
    pub(super) fn number(&self, key: &str, default: f64) -> Result<f64, GraphError> {
        match &self.config[key] {
            Value::Null => Ok(default),
            value => value
                .as_f64()
                .filter(|v| *v > 0.0)
                .ok_or_else(|| malformed(format!("{key}: give a number above 0, not {value}"))),
        }
    }

    /// As many blocks as the file has, if the configuration does not say otherwise: the library leaves out
    /// what is above its number, and draws at random what is missing.
    pub(super) fn layers(
        &self,
        prefix: &str,
        tensor: &str,
        keys: &[&str],
    ) -> Result<usize, GraphError> {
        let found = self.depth(prefix, tensor);
        if keys.iter().all(|key| self.config[*key].is_null()) {
            return Ok(found);
        }
        let told = self.count_of(keys)?;
        if told != found {
            let key = keys.join(" or ");
            return Err(malformed(format!(
                "{key}: is {told}, but the file has {found} layers"
            )));
        }

        Ok(found)
    }

    /// Refuses a configuration whose `key` is neither absent nor one of these.
    pub(super) fn only(&self, key: &str, allowed: &[Value]) -> Result<(), GraphError> {
        let value = &self.config[key];
        if value.is_null() || allowed.contains(value) {
            return Ok(());
        }
        Err(malformed(format!("{key}: {value} is not supported")))
    }

    /// The activation function that `key` names.
    pub(super) fn activation(&self, key: &str, default: &str) -> Result<Op, GraphError> {
        Self::activation_of(key, self.config[key].as_str().unwrap_or(default))
    }

    /// The activation function of a name, which stands under `key`.
    pub(super) fn activation_of(key: &str, name: &str) -> Result<Op, GraphError> {
        match name {
            "gelu" => Ok(Op::Gelu {}),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Op::GeluTanh {}),
            "silu" | "swish" => Ok(Op::Silu {}),
            "relu" => Ok(Op::Relu {}),
            "relu6" => Ok(Op::Relu6 {}),
            "quick_gelu" => Ok(Op::QuickGelu {}),
            other => Err(malformed(format!("{key}: {other:?} is not supported"))),
        }
    }

    /// How many blocks there are: `prefix.0`, `prefix.1` … as far as `tensor` goes.
    pub(super) fn depth(&self, prefix: &str, tensor: &str) -> usize {
        (0..self.signature.len())
            .take_while(|i| self.has(&format!("{prefix}.{i}.{tensor}")))
            .count()
    }

    /// The id that is padding: `None` where the configuration has none, or one below zero, which no
    /// token has. Without the key it is the library's own.
    pub(super) fn padding(&self) -> Result<Option<u32>, GraphError> {
        let Some(value) = self.config.get("pad_token_id") else {
            let own = PADDING
                .iter()
                .find(|(family, _)| self.config["model_type"] == *family);
            return Ok(own.map(|(_, id)| *id));
        };
        if value.is_null() || value.as_i64().is_some_and(|id| id < 0) {
            return Ok(None);
        }

        match value.as_u64().and_then(|id| u32::try_from(id).ok()) {
            Some(id) if id < IDS => Ok(Some(id)),
            _ => Err(malformed(format!(
                "pad_token_id: give an id below {IDS}, not {value}"
            ))),
        }
    }

    /// Ids, as many as the position table has rows from `offset`.
    pub(super) fn ids(&self, positions: &str, offset: usize) -> Result<Input, GraphError> {
        let [rows, _] = self.shape(positions)?;
        match rows.checked_sub(offset) {
            Some(length) if length > 0 => Ok(Input::Tokens { shape: [length] }),
            _ => Err(malformed(format!("{positions} has no row for a position"))),
        }
    }
}

/// Attention over the ids' unpadded positions, or over every token of an image.
#[derive(Clone)]
pub(super) struct Attending {
    pub heads: usize,
    pub kv_heads: Option<usize>,
    pub causal: bool,
    pub masked: bool,
    pub rotary: Option<Rotary>,
    pub fused: FusedOrder,
    pub head_norms: Option<HeadNorms>,
    pub window: Option<usize>,
    pub scale: Option<f64>,
    pub soft_cap: Option<f64>,
    pub fully_masked: FullyMasked,
    pub sinks: Option<String>,
    pub position_bias: Option<PositionBias>,
    pub distances: Option<Distances>,
    pub mask_queries: bool,
    pub cross: bool,
    pub windows: Option<Windows>,
}

impl Attending {
    pub(super) fn plain(heads: usize, masked: bool) -> Self {
        Self {
            heads,
            kv_heads: None,
            causal: false,
            masked,
            rotary: None,
            fused: FusedOrder::Parts,
            head_norms: None,
            window: None,
            scale: None,
            soft_cap: None,
            fully_masked: FullyMasked::Zero,
            sinks: None,
            position_bias: None,
            distances: None,
            mask_queries: false,
            cross: false,
            windows: None,
        }
    }
}

impl Builder {
    pub(super) fn layer_norm(&mut self, param: &str, eps: f64, x: Operand) -> Operand {
        self.push(
            param,
            Op::LayerNorm {
                param: param.to_owned(),
                eps,
            },
            &[x],
        )
    }

    pub(super) fn embedding(&mut self, param: &str) -> Operand {
        self.push(
            param,
            Op::Embedding {
                param: param.to_owned(),
                padding: None,
            },
            &[Operand::Input],
        )
    }

    /// Positions from 0 on.
    pub(super) fn positions(&mut self, param: &str) -> Operand {
        self.position_table(param, None)
    }

    /// Positions counted over the ids that are not `padding`.
    pub(super) fn counted_positions(&mut self, param: &str, padding: u32) -> Operand {
        self.position_table(param, Some(padding))
    }

    fn position_table(&mut self, param: &str, padding: Option<u32>) -> Operand {
        let op = Op::PositionEmbedding {
            param: param.to_owned(),
            bare: false,
            offset: 0,
            constant: false,
            padding,
            frozen: false,
            resampled: None,
        };
        self.push(param, op, &[Operand::Input])
    }

    pub(super) fn attention(&mut self, id: String, heads: &Attending, qkv: &[Operand]) -> Operand {
        let op = Op::Attention {
            heads: heads.heads,
            kv_heads: heads.kv_heads,
            causal: heads.causal,
            mask: heads.masked,
            rotary: heads.rotary.clone(),
            fused: heads.fused,
            head_norms: heads.head_norms.clone(),
            window: heads.window,
            scale: heads.scale,
            soft_cap: heads.soft_cap,
            fully_masked: heads.fully_masked,
            sinks: heads.sinks.clone(),
            position_bias: heads.position_bias.clone(),
            distances: heads.distances.clone().map(Box::new),
            mask_queries: heads.mask_queries,
            cross: heads.cross,
            windows: heads.windows.clone().map(Box::new),
        };
        let ids = heads.masked.then_some(Operand::Input);
        let inputs: Vec<Operand> = qkv.iter().copied().chain(ids).collect();

        self.push(id, op, &inputs)
    }

    /// Query, key and value layers of these names, and the attention over them.
    pub(super) fn attend(&mut self, names: [String; 3], heads: &Attending, x: Operand) -> Operand {
        let qkv = names.each_ref().map(|name| self.linear(name, x));
        self.attention(format!("{}.attention", names[0]), heads, &qkv)
    }

    pub(super) fn add(&mut self, id: String, terms: &[Operand]) -> Operand {
        self.push(id, Op::Add {}, terms)
    }

    pub(super) fn first_token(&mut self, x: Operand) -> Operand {
        self.push(
            "first_token",
            Op::SelectToken {
                position: Position::First,
                padding: None,
                token: None,
            },
            &[x],
        )
    }

    /// What a body puts out: its tokens, and where it has a pooler also the pooled first of them. The sum of the
    /// tokens' mean and that stands for both, so that whoever reads either finds its channels in their place.
    pub(super) fn body(&mut self, source: &Source<'_>, pooler: &str, read: &[Operand]) -> Operand {
        let x = read[0];
        if !source.has(&format!("{pooler}.weight")) {
            return x;
        }
        let first = self.first_token(x);
        let pooled = self.linear(pooler, first);
        let pooled = self.push("pooled", Op::Tanh {}, &[pooled]);
        let mean = self.push("mean", Op::MeanTokens { skip: 0 }, read);
        self.add("output".into(), &[mean, pooled])
    }

    /// The head of a causal model on its last norm: a class from the last token that is no padding, or
    /// from every token the next one, by the embedding where there is no output matrix.
    pub(super) fn causal_head(
        &mut self,
        source: &Source<'_>,
        task: Task,
        embedding: &str,
        x: Operand,
    ) -> Result<Operand, GraphError> {
        match task {
            Task::Classification | Task::MultiLabelClassification | Task::Regression => {
                let last = self.last_token(x, source.padding()?);
                Ok(self.linear("score", last))
            }
            Task::TokenClassification => Ok(self.linear("score", x)),
            // No causal model is of the last two.
            Task::Representation | Task::QuestionAnswering | Task::MaskedToken => Ok(x),
            Task::NextToken | Task::SequenceToSequence => {
                let tied = Names::of(source.config).and_then(|names| names.tied_to(source.config));
                let param = tied.map_or("lm_head", |_| embedding).to_owned();
                Ok(self.push(
                    "lm_head",
                    Op::Linear {
                        param,
                        transposed: false,
                        bias: None,
                    },
                    &[x],
                ))
            }
        }
    }

    /// The output layer of a masked language model: the embedding and a bias, or a matrix of its own.
    pub(super) fn decoder(&mut self, source: &Source<'_>, x: Operand) -> Operand {
        let Some(decoder) = Decoder::of(source.config) else {
            return x; // its family is in no table: it has no such class
        };
        let own = decoder.own_bias();
        let (param, bias) = if decoder.is_tied {
            (decoder.embedding(), Some(decoder.bias.to_owned()))
        } else {
            // Releases before the fifth write one bias for both.
            let bias = (!source.has(&own)).then(|| decoder.bias.to_owned());
            (decoder.module, bias)
        };
        let op = Op::Linear {
            param: param.to_owned(),
            transposed: false,
            bias: bias.filter(|bias| *bias != format!("{param}.bias")),
        };

        self.push(decoder.module, op, &[x])
    }

    /// The last token whose id is not the padding's, whatever the mask says; without such an id the last
    /// token of all.
    fn last_token(&mut self, x: Operand, padding: Option<u32>) -> Operand {
        let op = Op::SelectToken {
            position: Position::End,
            padding,
            token: None,
        };
        self.push("last_token", op, &[x, Operand::Input])
    }
}
