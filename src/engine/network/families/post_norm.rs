//! What encoders of BERT's kind share: embeddings that are summed and normalised, blocks whose norms stand
//! after each sum, and the head that reads the first token.

use super::{Builder, Source, transformer::Attending};
use crate::network::{
    error::GraphError,
    graph::{Graph, Input, Operand, Task},
    op::Op,
};

/// The layer that tells the class of every token.
const EVERY_TOKEN: &str = "classifier";
/// The layer that tells where an answer begins and ends.
const ENDS: &str = "qa_outputs";

/// Where a block's layers are, within its prefix.
pub(super) struct BlockNames {
    pub qkv: [&'static str; 3],
    pub attention_out: &'static str,
    pub attention_norm: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub norm: &'static str,
}

pub(super) const BERT: BlockNames = BlockNames {
    qkv: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    attention_out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

/// Words, places and token types below one prefix.
pub(super) struct Embeddings<'a> {
    pub prefix: &'a str,
    pub eps: f64,
    /// Positions are counted over the other ids, from the row after this one's.
    pub padding: Option<u32>,
    pub has_types: bool,
}

impl Embeddings<'_> {
    fn places(&self) -> String {
        format!("{}.position_embeddings", self.prefix)
    }

    /// Ids, as many as there are rows for.
    pub fn input(&self, source: &Source<'_>) -> Result<Input, GraphError> {
        let first_row = self.padding.map_or(0, |id| id as usize + 1);
        source.ids(&format!("{}.weight", self.places()), first_row)
    }

    /// Their normalised sum.
    pub fn push(&self, builder: &mut Builder) -> Operand {
        let prefix = self.prefix;
        let words = builder.embedding(&format!("{prefix}.word_embeddings"));
        let places = match self.padding {
            Some(padding) => builder.counted_positions(&self.places(), padding),
            None => builder.positions(&self.places()),
        };

        let mut terms = vec![words, places];
        if self.has_types {
            let param = format!("{prefix}.token_type_embeddings");
            let op = Op::TokenTypeEmbedding {
                param: param.clone(),
            };
            terms.push(builder.push(param, op, &[Operand::Input]));
        }
        let sum = builder.add(format!("{prefix}.sum"), &terms);

        builder.layer_norm(&format!("{prefix}.LayerNorm"), self.eps, sum)
    }
}

/// How the blocks of a network compute.
pub(super) struct Block<'a> {
    pub names: &'a BlockNames,
    pub heads: &'a Attending,
    pub eps: f64,
    pub activation: &'a Op,
}

impl Block<'_> {
    /// A block of its own layers, whose names begin with `prefix`.
    pub fn push(&self, builder: &mut Builder, prefix: &str, x: Operand) -> Operand {
        self.push_as(builder, prefix, prefix, x)
    }

    /// A block that may share its layers with others: its nodes are named after `id`.
    pub fn push_as(&self, builder: &mut Builder, id: &str, prefix: &str, x: Operand) -> Operand {
        let qkv = self
            .names
            .qkv
            .map(|part| builder.linear_as(named(id, part), named(prefix, part), x));
        let attended = format!("{id}.{}.attention", self.names.qkv[0]);
        let attended = builder.attention(attended, self.heads, &qkv);
        self.push_behind(builder, [id, prefix], attended, x)
    }

    /// The part of a block that reads what its attention puts out; nodes are named after the first of two names,
    /// layers after the second.
    pub fn push_behind(
        &self,
        builder: &mut Builder,
        names: [&str; 2],
        attended: Operand,
        x: Operand,
    ) -> Operand {
        let [id, prefix] = names;
        let BlockNames {
            attention_out: out,
            up,
            down,
            ..
        } = self.names;
        let attended = builder.linear_as(named(id, out), named(prefix, out), attended);
        let sum = builder.add(named(id, "attention.sum"), &[attended, x]);
        let x = self.norm(builder, names, self.names.attention_norm, sum);

        let hidden = builder.linear_as(named(id, up), named(prefix, up), x);
        let activation = self.activation.clone();
        let hidden = builder.push(named(id, "activation"), activation, &[hidden]);
        let output = builder.linear_as(named(id, down), named(prefix, down), hidden);
        let sum = builder.add(named(id, "sum"), &[output, x]);

        self.norm(builder, names, self.names.norm, sum)
    }

    fn norm(
        &self,
        builder: &mut Builder,
        [id, prefix]: [&str; 2],
        part: &str,
        x: Operand,
    ) -> Operand {
        let op = Op::LayerNorm {
            param: named(prefix, part),
            eps: self.eps,
        };
        builder.push(named(id, part), op, &[x])
    }
}

fn named(prefix: &str, part: &str) -> String {
    format!("{prefix}.{part}")
}

/// What stands on the last norm of an encoder.
pub(super) struct Head<'a> {
    /// The layer on the first token, its activation, and the layer of the classes.
    pub layers: [&'a str; 2],
    pub activation: Op,
    /// The layer that a body pools the first token by, where the file has it.
    pub pooler: Option<&'a str>,
    pub words: Words<'a>,
}

/// What a masked language model has between the encoder and its output matrix.
pub(super) struct Words<'a> {
    pub dense: &'a str,
    pub activation: Op,
    pub norm: &'a str,
    pub eps: f64,
}

impl Words<'_> {
    /// Of every token the vocabulary.
    pub fn push(self, source: &Source<'_>, builder: &mut Builder, x: Operand) -> Operand {
        let hidden = builder.linear(self.dense, x);
        let hidden = builder.push("activated", self.activation, &[hidden]);
        let hidden = builder.layer_norm(self.norm, self.eps, hidden);
        builder.decoder(source, hidden)
    }
}

impl Head<'_> {
    /// The whole graph of an encoder that puts `x` out.
    pub fn finish(
        self,
        source: &Source<'_>,
        mut builder: Builder,
        input: Input,
        x: Operand,
    ) -> Result<Graph, GraphError> {
        let task = source.encoder_task()?;
        match (task, self.pooler) {
            (Task::TokenClassification, _) => {
                builder.linear(EVERY_TOKEN, x);
            }
            (Task::QuestionAnswering, _) => {
                builder.linear(ENDS, x);
            }
            (Task::MaskedToken, _) => {
                self.words.push(source, &mut builder, x);
            }
            (Task::Representation, Some(pooler)) => {
                builder.body(source, pooler, &[x, Operand::Input]);
            }
            (Task::Representation, None) => {}
            // No encoder predicts the next token.
            (
                Task::Classification
                | Task::MultiLabelClassification
                | Task::Regression
                | Task::NextToken
                | Task::SequenceToSequence,
                _,
            ) => {
                let [dense, output] = self.layers;
                let first = builder.first_token(x);
                let pooled = builder.linear(dense, first);
                let pooled = builder.push("pooled", self.activation, &[pooled]);
                builder.linear(output, pooled);
            }
        }

        Ok(builder.finish_for(task, input))
    }
}
