//! What differs among the families of Llama's kind, where it is no number of the configuration.

mod table;

use serde_json::Value;

use super::{Source, biases::Biases, experts::ExpertKeys};
use crate::network::{
    error::GraphError,
    families::rope::RotaryKeys,
    op::{FullyMasked, Op},
};

/// How a family differs from the others.
pub(super) struct Dialect {
    /// The key that names the activation function, and what the library takes without it.
    activation: [&'static str; 2],
    /// What the library takes where the configuration has no such key.
    pub eps: f64,
    kv_heads: KvHeads,
    /// Channels of a head where the configuration does not tell; `None`: the width over the heads.
    head_size: Option<usize>,
    pub biases: Biases,
    pub norms: Norms,
    /// The weights of norms are counted from one.
    pub unit_offset: bool,
    pub query_norms: QueryNorms,
    /// Queries, keys and values are one layer.
    pub fused_attention: bool,
    /// The gate and what it multiplies are one layer.
    pub fused_mlp: bool,
    /// Which layers have a window.
    pub windows: Pattern,
    pub rotary: RotaryKeys,
    pub multipliers: MultiplierKeys,
    /// What the library's own attention gives a position all of whose keys are masked.
    pub fully_masked: FullyMasked,
    /// In the place of some layers' hidden layer.
    pub experts: Option<&'static ExpertKeys>,
    /// Each head has a score more, of a key without a value.
    pub sinks: bool,
    /// Without a word of rotary positions the library takes yarn, with numbers of its own.
    needs_rotary: bool,
}

/// Key and value heads, where the configuration does not tell.
enum KvHeads {
    /// As many as there are query heads.
    Same,
    Count(usize),
}

/// The names of a block's norms, where it has them.
pub(super) struct Norms {
    pub before_attention: Option<&'static str>,
    pub after_attention: Option<&'static str>,
    pub before_mlp: Option<&'static str>,
    pub after_mlp: Option<&'static str>,
}

/// Norms of queries and keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryNorms {
    None,
    /// Over the channels of each head, with weights that all heads share.
    OfEachHead,
    /// Over all channels.
    Whole,
}

/// Which layers have a window, where the configuration has no `layer_types`.
#[derive(Clone, Copy)]
pub(super) enum Pattern {
    /// None, whatever the configuration says.
    None,
    /// All, with this window where the configuration has no such key.
    Every { default: Option<usize> },
    /// All, if `use_sliding_window` says so, with this window where the configuration has no such key.
    EveryIfUsed { default: usize },
    /// Those from `max_window_layers` on, if `use_sliding_window` says so.
    Upper,
    /// Those without rotary positions, if `use_sliding_window` says so.
    WithoutRotary,
    /// All but each `count`-th; `key` may say another count. `default` is the window where the configuration
    /// has no such key.
    AllButEvery {
        count: usize,
        key: Option<&'static str>,
        default: usize,
    },
}

/// Which constants a configuration has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MultiplierKeys {
    None,
    /// The embedding times the root of its width.
    Gemma,
    /// The same, `query_pre_attn_scalar` and caps, with these defaults.
    CappedGemma {
        final_cap: Option<u32>,
        scores_cap: Option<u32>,
    },
    Granite,
}

/// What the library takes for the window where a configuration has layers with one and no such key.
pub(super) const WINDOW: usize = 4096;

impl Dialect {
    /// That of the configuration's family.
    pub(super) fn of(config: &Value) -> &'static Self {
        table::of(config["model_type"].as_str())
    }

    /// That of a family.
    pub(super) fn named(model_type: &str) -> &'static Self {
        table::of(Some(model_type))
    }

    /// Refuses a configuration without a word of rotary positions where the library has its own then.
    pub(super) fn check_rotary(&self, source: &Source<'_>) -> Result<(), GraphError> {
        let told = ["rope_parameters", "rope_scaling"].map(|key| !source.config[key].is_null());
        if self.needs_rotary && told == [false; 2] {
            let detail = "rope_parameters: without them the library takes yarn with numbers of its own; give them";
            return Err(GraphError::Malformed {
                detail: detail.to_owned(),
            });
        }
        Ok(())
    }

    /// What projects queries, in every block.
    pub(super) fn first_projection(&self) -> &'static str {
        if self.fused_attention {
            "self_attn.qkv_proj"
        } else {
            "self_attn.q_proj"
        }
    }

    /// What begins the hidden layer of a block.
    pub(super) fn gate_projection(&self) -> &'static str {
        if self.fused_mlp {
            "mlp.gate_up_proj"
        } else {
            "mlp.gate_proj"
        }
    }

    pub(super) fn activation(&self, source: &Source<'_>) -> Result<Op, GraphError> {
        let [key, default] = self.activation;
        // Gemma's first configurations say `gelu` and mean its approximation, as the library knows.
        if source.config["model_type"] == "gemma" && source.config[key] == "gelu" {
            return Ok(Op::GeluTanh {});
        }
        source.activation(key, default)
    }

    /// `None`: as many as there are query heads.
    pub(super) fn kv_heads(&self, source: &Source<'_>) -> Result<Option<usize>, GraphError> {
        match (source.config.get("num_key_value_heads"), &self.kv_heads) {
            (Some(Value::Null), _) | (None, KvHeads::Same) => Ok(None),
            (None, KvHeads::Count(count)) => Ok(Some(*count)),
            (Some(_), _) => source.count("num_key_value_heads").map(Some),
        }
    }

    /// Channels of a head, by the projection of queries or of all three; refuses a file whose
    /// configuration has another number.
    pub(super) fn head_size(&self, source: &Source<'_>) -> Result<usize, GraphError> {
        let [rows, width] = source.shape(&format!(
            "model.layers.0.{}.weight",
            self.first_projection()
        ))?;
        let heads = source.count("num_attention_heads")?;
        let all = match self.kv_heads(source)? {
            _ if !self.fused_attention => heads,
            Some(kv_heads) => heads.saturating_add(kv_heads.saturating_mul(2)),
            None => heads.saturating_mul(3),
        };

        let found = rows / all;
        let told = match (&source.config["head_dim"], self.head_size) {
            (Value::Null, None) => width / heads,
            (Value::Null, Some(default)) => default,
            _ => source.count("head_dim")?,
        };
        if told != found {
            let detail = format!("head_dim: is {told}, but the file has heads of {found} channels");
            return Err(GraphError::Malformed { detail });
        }

        Ok(found)
    }
}
