//! The blocks of BART and of whisper: the same layers under the same names, on both sides.

use super::{Builder, Source, transformer::Attending};
use crate::network::{error::GraphError, graph::Operand, op::Op};

pub(super) const EPS: f64 = 1e-5;

/// What all blocks have in common.
pub(super) struct Blocks {
    /// Norms stand before the blocks and at the end; otherwise behind each sum.
    pub norms_first: bool,
    pub activation: Op,
}

/// One side: where its tensors are, and what its attention sees.
pub(super) struct Side<'a> {
    pub name: &'static str,
    /// The keys of a configuration that say how many layers there are.
    pub layers: &'static [&'static str],
    pub own: Attending,
    pub across: Option<Across<'a>>,
}

/// What the other side puts out, and how it is attended to.
pub(super) struct Across<'a> {
    pub heads: &'a Attending,
    pub encoded: Operand,
}

impl Blocks {
    /// All blocks of a side, on its embedded tokens.
    pub fn stack(
        &self,
        source: &Source<'_>,
        builder: &mut Builder,
        side: &Side<'_>,
        mut x: Operand,
    ) -> Result<Operand, GraphError> {
        let layers = format!("{}.layers", side.name);
        let first = "self_attn.q_proj.weight";
        for layer in 0..source.layers(&layers, first, side.layers)? {
            x = self.block(builder, side, &format!("{layers}.{layer}"), x);
        }
        if self.norms_first {
            x = builder.layer_norm(&format!("{}.layer_norm", side.name), EPS, x);
        }
        Ok(x)
    }

    fn block(&self, builder: &mut Builder, side: &Side<'_>, prefix: &str, x: Operand) -> Operand {
        let attention = format!("{prefix}.self_attn");
        let read = self.before(builder, &attention, x);
        let attended = attention_of(builder, &attention, &side.own, [read, read]);
        let mut x = self.behind(builder, &attention, [x, attended]);

        if let Some(Across { heads, encoded }) = side.across {
            let attention = format!("{prefix}.encoder_attn");
            let read = self.before(builder, &attention, x);
            let attended = attention_of(builder, &attention, heads, [read, encoded]);
            x = self.behind(builder, &attention, [x, attended]);
        }

        let last = format!("{prefix}.final");
        let read = self.before(builder, &last, x);
        let hidden = builder.linear(&format!("{prefix}.fc1"), read);
        let activation = self.activation.clone();
        let hidden = builder.push(format!("{prefix}.act"), activation, &[hidden]);
        let output = builder.linear(&format!("{prefix}.fc2"), hidden);

        self.behind(builder, &last, [x, output])
    }

    /// What a part of a block reads.
    fn before(&self, builder: &mut Builder, part: &str, x: Operand) -> Operand {
        if self.norms_first {
            builder.layer_norm(&format!("{part}_layer_norm"), EPS, x)
        } else {
            x
        }
    }

    /// What comes out behind a part of a block: the sum of what came in and what the part has made of it.
    fn behind(&self, builder: &mut Builder, part: &str, terms: [Operand; 2]) -> Operand {
        let sum = builder.add(format!("{part}.sum"), &terms);
        if self.norms_first {
            sum
        } else {
            builder.layer_norm(&format!("{part}_layer_norm"), EPS, sum)
        }
    }
}

/// What queries take of keys and values: those of the first of two operands of the second.
fn attention_of(
    builder: &mut Builder,
    prefix: &str,
    heads: &Attending,
    [own, read]: [Operand; 2],
) -> Operand {
    let queries = builder.linear(&format!("{prefix}.q_proj"), own);
    let keys = builder.linear(&format!("{prefix}.k_proj"), read);
    let values = builder.linear(&format!("{prefix}.v_proj"), read);
    let attended = builder.attention(prefix.to_owned(), heads, &[queries, keys, values]);
    builder.linear(&format!("{prefix}.out_proj"), attended)
}
