//! What differs among the families of Llama's kind, where it is no number of the configuration.

use serde_json::Value;

use super::{
    Source,
    biases::{Bias, Biases},
    experts::{self, ExpertKeys},
};
use crate::network::{
    error::GraphError,
    families::rope::{NumberKey, RotaryKeys},
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
const PLAIN: Dialect = Dialect {
    activation: ["hidden_act", "silu"],
    eps: 1e-6,
    kv_heads: KvHeads::Same,
    head_size: None,
    biases: Biases::TOLD,
    norms: Norms {
        before_attention: Some("input_layernorm"),
        after_attention: None,
        before_mlp: Some("post_attention_layernorm"),
        after_mlp: None,
    },
    unit_offset: false,
    query_norms: QueryNorms::None,
    fused_attention: false,
    fused_mlp: false,
    windows: Pattern::None,
    rotary: RotaryKeys::PLAIN,
    multipliers: MultiplierKeys::None,
    fully_masked: FullyMasked::Zero,
    experts: None,
    sinks: false,
    needs_rotary: false,
};
/// Norms after the blocks alone.
const LATE: Norms = Norms {
    before_attention: None,
    after_attention: Some("post_attention_layernorm"),
    before_mlp: None,
    after_mlp: Some("post_feedforward_layernorm"),
};
/// Norms on both sides.
const AROUND: Norms = Norms {
    before_attention: Some("input_layernorm"),
    after_attention: Some("post_attention_layernorm"),
    before_mlp: Some("pre_feedforward_layernorm"),
    after_mlp: Some("post_feedforward_layernorm"),
};

static LLAMA: Dialect = PLAIN;
static MISTRAL: Dialect = Dialect {
    kv_heads: KvHeads::Count(8),
    biases: Biases::NONE,
    windows: Pattern::Every {
        default: Some(4096),
    },
    ..PLAIN
};
static QWEN2: Dialect = Dialect {
    kv_heads: KvHeads::Count(32),
    biases: Biases {
        queries_keys_values: Bias::Always,
        ..Biases::NONE
    },
    windows: Pattern::Upper,
    ..PLAIN
};
static QWEN3: Dialect = Dialect {
    biases: Biases::OF_ATTENTION,
    query_norms: QueryNorms::OfEachHead,
    head_size: Some(128),
    kv_heads: KvHeads::Count(32),
    windows: Pattern::Upper,
    ..PLAIN
};
static QWEN3_MOE: Dialect = Dialect {
    biases: Biases::OF_ATTENTION,
    query_norms: QueryNorms::OfEachHead,
    kv_heads: KvHeads::Count(4),
    windows: Pattern::EveryIfUsed { default: 4096 },
    experts: Some(&experts::QWEN3_MOE),
    ..PLAIN
};
static MIXTRAL: Dialect = Dialect {
    eps: 1e-5,
    kv_heads: KvHeads::Count(8),
    biases: Biases::NONE,
    windows: Pattern::Every { default: None },
    rotary: RotaryKeys::with_theta(1_000_000.0),
    experts: Some(&experts::MIXTRAL),
    ..PLAIN
};
static OLMOE: Dialect = Dialect {
    eps: 1e-5,
    biases: Biases::OF_ATTENTION,
    query_norms: QueryNorms::Whole,
    experts: Some(&experts::OLMOE),
    ..PLAIN
};
static GPT_OSS: Dialect = Dialect {
    eps: 1e-5,
    head_size: Some(64),
    kv_heads: KvHeads::Count(8),
    biases: Biases {
        queries_keys_values: Bias::Told {
            key: "attention_bias",
            default: true,
        },
        output: Bias::Told {
            key: "attention_bias",
            default: true,
        },
        ..Biases::NONE
    },
    windows: Pattern::AllButEvery {
        count: 2,
        key: None,
        default: 128,
    },
    rotary: RotaryKeys::with_theta(150_000.0),
    experts: Some(&experts::GPT_OSS),
    sinks: true,
    needs_rotary: true,
    ..PLAIN
};
static SMOLLM3: Dialect = Dialect {
    kv_heads: KvHeads::Count(4),
    windows: Pattern::WithoutRotary,
    rotary: RotaryKeys::with_theta(2_000_000.0),
    ..PLAIN
};
static OLMO2: Dialect = Dialect {
    eps: 1e-5,
    biases: Biases::OF_ATTENTION,
    norms: LATE,
    query_norms: QueryNorms::Whole,
    ..PLAIN
};
static OLMO3: Dialect = Dialect {
    eps: 1e-5,
    biases: Biases::OF_ATTENTION,
    norms: LATE,
    query_norms: QueryNorms::Whole,
    windows: Pattern::AllButEvery {
        count: 4,
        key: None,
        default: WINDOW,
    },
    rotary: RotaryKeys {
        local_theta: Some(NumberKey {
            key: "rope_theta",
            default: 500_000.0,
        }),
        ..RotaryKeys::with_theta(500_000.0)
    },
    ..PLAIN
};
static GEMMA: Dialect = Dialect {
    activation: ["hidden_act", "gelu_pytorch_tanh"],
    head_size: Some(256),
    kv_heads: KvHeads::Count(16),
    biases: Biases::OF_ATTENTION,
    unit_offset: true,
    multipliers: MultiplierKeys::Gemma,
    ..PLAIN
};
static GEMMA2: Dialect = Dialect {
    activation: ["hidden_activation", "gelu_pytorch_tanh"],
    head_size: Some(256),
    kv_heads: KvHeads::Count(4),
    biases: Biases::OF_ATTENTION,
    norms: AROUND,
    unit_offset: true,
    windows: Pattern::AllButEvery {
        count: 2,
        key: None,
        default: WINDOW,
    },
    multipliers: MultiplierKeys::CappedGemma {
        final_cap: Some(30),
        scores_cap: Some(50),
    },
    fully_masked: FullyMasked::Mean,
    ..PLAIN
};
static GEMMA3: Dialect = Dialect {
    activation: ["hidden_activation", "gelu_pytorch_tanh"],
    head_size: Some(256),
    kv_heads: KvHeads::Count(4),
    biases: Biases::OF_ATTENTION,
    norms: AROUND,
    unit_offset: true,
    query_norms: QueryNorms::OfEachHead,
    windows: Pattern::AllButEvery {
        count: 6,
        key: Some("sliding_window_pattern"),
        default: WINDOW,
    },
    rotary: RotaryKeys {
        local_theta: Some(NumberKey {
            key: "rope_local_base_freq",
            default: 10_000.0,
        }),
        ..RotaryKeys::with_theta(1_000_000.0)
    },
    multipliers: MultiplierKeys::CappedGemma {
        final_cap: None,
        scores_cap: None,
    },
    ..PLAIN
};
static PHI3: Dialect = Dialect {
    eps: 1e-5,
    biases: Biases::NONE,
    fused_attention: true,
    fused_mlp: true,
    windows: Pattern::Every { default: None },
    rotary: RotaryKeys {
        partial: Some(partial(1.0)),
        original_length: Some(4096),
        ..PLAIN.rotary
    },
    ..PLAIN
};
static GRANITE: Dialect = Dialect {
    multipliers: MultiplierKeys::Granite,
    ..PLAIN
};
static GLM4: Dialect = Dialect {
    eps: 1.5625e-7,
    head_size: Some(128),
    kv_heads: KvHeads::Count(2),
    biases: Biases {
        queries_keys_values: Bias::Told {
            key: "attention_bias",
            default: true,
        },
        ..Biases::NONE
    },
    norms: Norms {
        before_attention: Some("input_layernorm"),
        after_attention: Some("post_self_attn_layernorm"),
        before_mlp: Some("post_attention_layernorm"),
        after_mlp: Some("post_mlp_layernorm"),
    },
    fused_mlp: true,
    rotary: RotaryKeys {
        partial: Some(partial(0.5)),
        interleaved: true,
        ..RotaryKeys::PLAIN
    },
    ..PLAIN
};

const fn partial(default: f64) -> NumberKey {
    NumberKey {
        key: "partial_rotary_factor",
        default,
    }
}

impl Dialect {
    /// That of the configuration's family.
    pub(super) fn of(config: &Value) -> &'static Self {
        Self::named(config["model_type"].as_str())
    }

    /// That of a family; Llama's of one without its own.
    pub(super) fn named(model_type: Option<&str>) -> &'static Self {
        match model_type {
            Some("mistral") => &MISTRAL,
            Some("qwen2") => &QWEN2,
            Some("qwen3") => &QWEN3,
            Some("qwen3_moe") => &QWEN3_MOE,
            Some("mixtral") => &MIXTRAL,
            Some("olmoe") => &OLMOE,
            Some("gpt_oss") => &GPT_OSS,
            Some("smollm3") => &SMOLLM3,
            Some("olmo2") => &OLMO2,
            Some("olmo3") => &OLMO3,
            Some("gemma") => &GEMMA,
            Some("gemma2") => &GEMMA2,
            Some("gemma3_text") => &GEMMA3,
            Some("phi3") => &PHI3,
            Some("granite") => &GRANITE,
            Some("glm4") => &GLM4,
            _ => &LLAMA,
        }
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
