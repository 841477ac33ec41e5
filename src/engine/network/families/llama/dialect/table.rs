//! The families of Llama's kind, each by what it has of its own.

use super::{
    super::{
        biases::{Bias, Biases},
        experts,
    },
    Dialect, KvHeads, MultiplierKeys, Norms, Pattern, QueryNorms, WINDOW,
};
use crate::network::{
    families::rope::{NumberKey, RotaryKeys},
    op::FullyMasked,
};

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
static SEED_OSS: Dialect = Dialect {
    head_size: Some(128),
    kv_heads: KvHeads::Count(8),
    biases: Biases {
        queries_keys_values: Bias::Told {
            key: "attention_bias",
            default: true,
        },
        output: Bias::Told {
            key: "attention_out_bias",
            default: false,
        },
        ..Biases::TOLD
    },
    ..PLAIN
};
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

/// That of a family; Llama's of one without its own.
pub(super) fn of(model_type: Option<&str>) -> &'static Dialect {
    match model_type {
        Some("seed_oss") => &SEED_OSS,
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
