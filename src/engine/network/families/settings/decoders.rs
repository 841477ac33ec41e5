//! The keys of the families that predict tokens, of Llama's kind.

use super::Settings;

/// What every family of Llama's kind reads. Their neutral keys stand with each family, where a test
/// looks for them.
const LLAMA_LIKE: Settings = Settings {
    extends: None,
    read: &[
        "num_attention_heads",
        "num_key_value_heads",
        "num_hidden_layers",
        "rms_norm_eps",
        "hidden_act",
        "max_position_embeddings",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "tie_word_embeddings",
    ],
    tensors: &["hidden_size", "intermediate_size", "head_dim"],
    neutral: &[],
    only: &[
        ("partial_rotary_factor", &["1", "1.0"]),
        ("is_causal", &["true"]),
    ],
};

pub const LLAMA: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[],
    tensors: &["attention_bias", "mlp_bias"],
    // Windows are other families': Llama reads none.
    neutral: &[
        "attention_dropout",
        "sliding_window",
        "use_sliding_window",
        "max_window_layers",
    ],
    only: &[],
};

pub const SEED_OSS: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[],
    tensors: &["attention_bias", "attention_out_bias", "mlp_bias"],
    neutral: &["attention_dropout", "residual_dropout"],
    only: &[],
};

pub const MISTRAL: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &["sliding_window"],
    tensors: &[],
    neutral: &["attention_dropout"],
    only: &[("attention_bias", &["false"])],
};

pub const QWEN2: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[
        "sliding_window",
        "use_sliding_window",
        "layer_types",
        "max_window_layers",
    ],
    tensors: &[],
    neutral: &["attention_dropout"],
    only: &[("use_mrope", &["false"])],
};

pub const QWEN3: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[
        "sliding_window",
        "use_sliding_window",
        "layer_types",
        "max_window_layers",
    ],
    tensors: &["attention_bias"],
    neutral: &["attention_dropout"],
    only: &[],
};

/// What families with experts read. The losses that balance a router's load, and its noise, are of training.
const EXPERTS: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &["num_experts", "num_local_experts", "num_experts_per_tok"],
    tensors: &[],
    neutral: &[],
    only: &[],
};

pub const QWEN3_MOE: Settings = Settings {
    extends: Some(&EXPERTS),
    read: &[
        "sliding_window",
        "use_sliding_window",
        "norm_topk_prob",
        "decoder_sparse_step",
        "mlp_only_layers",
    ],
    tensors: &["attention_bias", "moe_intermediate_size"],
    neutral: &[
        "attention_dropout",
        "output_router_logits",
        "router_aux_loss_coef",
        // All layers have a window or none has.
        "max_window_layers",
    ],
    only: &[],
};

pub const MIXTRAL: Settings = Settings {
    extends: Some(&EXPERTS),
    read: &["sliding_window"],
    tensors: &[],
    neutral: &[
        "attention_dropout",
        "output_router_logits",
        "router_aux_loss_coef",
        "router_jitter_noise",
    ],
    only: &[("attention_bias", &["false"])],
};

pub const OLMOE: Settings = Settings {
    extends: Some(&EXPERTS),
    read: &["norm_topk_prob"],
    tensors: &["attention_bias"],
    neutral: &[
        "attention_dropout",
        "output_router_logits",
        "router_aux_loss_coef",
    ],
    // Queries, keys and values cut off; and a window that some kernels of the library have alone.
    only: &[("clip_qkv", &[]), ("sliding_window", &[])],
};

pub const GPT_OSS: Settings = Settings {
    extends: Some(&EXPERTS),
    read: &[
        "sliding_window",
        "layer_types",
        "swiglu_alpha",
        "swiglu_limit",
    ],
    tensors: &["attention_bias"],
    neutral: &[
        "attention_dropout",
        "output_router_logits",
        "router_aux_loss_coef",
        // Of the first release, which the library does not read.
        "experts_per_token",
        "initial_context_length",
    ],
    only: &[],
};

pub const SMOLLM3: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[
        "sliding_window",
        "use_sliding_window",
        "layer_types",
        "no_rope_layers",
        "no_rope_layer_interval",
    ],
    tensors: &["attention_bias", "mlp_bias"],
    // Windows are by `layer_types`.
    neutral: &["attention_dropout", "max_window_layers"],
    only: &[],
};

pub const OLMO2: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[],
    tensors: &["attention_bias"],
    neutral: &["attention_dropout"],
    only: &[],
};

pub const OLMO3: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &["sliding_window", "layer_types"],
    tensors: &["attention_bias"],
    neutral: &["attention_dropout"],
    only: &[],
};

pub const GEMMA: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[],
    tensors: &["attention_bias"],
    neutral: &["attention_dropout"],
    only: &[
        // What the library computes whatever this says.
        ("hidden_activation", &["\"gelu_pytorch_tanh\""]),
        ("use_bidirectional_attention", &["false"]),
    ],
};

/// What Gemma 2 and 3 read.
const LATER_GEMMA: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[
        "hidden_activation",
        "sliding_window",
        "layer_types",
        "query_pre_attn_scalar",
        "final_logit_softcapping",
    ],
    tensors: &["attention_bias"],
    neutral: &[],
    only: &[("use_bidirectional_attention", &["false"])],
};

pub const GEMMA2: Settings = Settings {
    extends: Some(&LATER_GEMMA),
    read: &["attn_logit_softcapping"],
    tensors: &[],
    // Of generation.
    neutral: &["attention_dropout", "cache_implementation"],
    only: &[],
};

pub const GEMMA3: Settings = Settings {
    extends: Some(&LATER_GEMMA),
    read: &["sliding_window_pattern", "rope_local_base_freq"],
    tensors: &[],
    neutral: &["attention_dropout", "cache_implementation"],
    // The library has the key and computes without.
    only: &[("attn_logit_softcapping", &[])],
};

pub const PHI3: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[
        "sliding_window",
        "partial_rotary_factor",
        "original_max_position_embeddings",
    ],
    tensors: &[],
    neutral: &["attention_dropout", "resid_pdrop", "embd_pdrop"],
    only: &[
        ("attention_bias", &["false"]),
        ("mlp_bias", &["false"]),
        ("lm_head_bias", &["false"]),
        ("full_attn_mod", &["1"]),
        ("interpolate_factor", &["1"]),
        // Code of the model's own, older than the library's, which computes the same.
        (
            "auto_map",
            &[
                "{}",
                r#"{"AutoConfig": "configuration_phi3.Phi3Config",
                    "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}"#,
                r#"{"AutoConfig": "configuration_phi3.Phi3Config",
                    "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
                    "AutoTokenizer": "Xenova/gpt-4o"}"#,
            ],
        ),
    ],
};

pub const GPT_NEOX: Settings = Settings {
    extends: None,
    read: &[
        "num_attention_heads",
        "num_hidden_layers",
        "layer_norm_eps",
        "hidden_act",
        "max_position_embeddings",
        "use_parallel_residual",
        "rotary_emb_base",
        "rotary_pct",
        "rope_theta",
        "partial_rotary_factor",
        "rope_scaling",
        "rope_parameters",
        "tie_word_embeddings",
    ],
    tensors: &["hidden_size", "intermediate_size", "attention_bias"],
    neutral: &["attention_dropout", "hidden_dropout", "classifier_dropout"],
    only: &[
        ("is_causal", &["true"]),
        // Rotary positions alone would go by it.
        ("head_dim", &[]),
    ],
};

pub const GRANITE: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &[
        "embedding_multiplier",
        "residual_multiplier",
        "attention_multiplier",
        "logits_scaling",
    ],
    tensors: &["attention_bias", "mlp_bias"],
    neutral: &["attention_dropout"],
    only: &[],
};

pub const GLM4: Settings = Settings {
    extends: Some(&LLAMA_LIKE),
    read: &["partial_rotary_factor"],
    tensors: &["attention_bias"],
    neutral: &["attention_dropout"],
    only: &[],
};

/// What stands in `rope_scaling` or `rope_parameters`.
pub const ROPE: Settings = Settings {
    extends: None,
    read: &[
        "rope_type",
        "type",
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
        "short_factor",
        "long_factor",
    ],
    tensors: &[],
    neutral: &[],
    only: &[("partial_rotary_factor", &["1", "1.0"])],
};

/// The same for families whose heads are turned in part.
pub const PARTIAL_ROPE: Settings = Settings {
    extends: Some(&ROPE),
    read: &["partial_rotary_factor"],
    tensors: &[],
    neutral: &[],
    only: &[],
};
