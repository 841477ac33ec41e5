//! Every key of every family's configuration: what is read, what the tensors say themselves, what leaves
//! the computation as it is, and what is known at some values only. A key of none of these kinds is
//! refused by its name: it may change what the library computes.
//!
//! The keys are those of transformers 4 and 5, and of timm 1.0. A test walks the libraries' own default
//! configurations, and what their sources read, through these tables.

use serde_json::{Map, Value};

use crate::engine::network::error::GraphError;

/// What is known of the keys of one object.
pub(super) struct Settings {
    /// The builder reads them.
    pub read: &'static [&'static str],
    /// Sizes and switches that the tensors show: a file that contradicts them is refused for its tensors.
    pub tensors: &'static [&'static str],
    /// They do not change what a trained network computes.
    pub neutral: &'static [&'static str],
    /// Neutral at these values alone, in JSON; `null` is always one of them.
    pub only: &'static [(&'static str, &'static [&'static str])],
}

/// Keys of every configuration of transformers.
const COMMON: Settings = Settings {
    read: &["architectures", "model_type", "problem_type", "num_labels", "pad_token_id"],
    tensors: &["id2label", "label2id", "vocab_size"],
    neutral: &[
        // Of files and versions.
        "transformers_version",
        "torch_dtype",
        "dtype",
        "attn_implementation",
        "use_bfloat16",
        "torchscript",
        "finetuning_task",
        "task_specific_params",
        "tokenizer_class",
        "language",
        "model_max_length",
        "unsloth_version",
        "unsloth_fixed",
        "model_name",
        // Of training.
        "initializer_range",
        "gradient_checkpointing",
        // Of what comes out beside the logits.
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "use_cache",
        // The same sums in pieces.
        "chunk_size_feed_forward",
        "pretraining_tp",
        // Of generation.
        "prefix",
        "bos_token_id",
        "eos_token_id",
        "sep_token_id",
        "cls_token_id",
        "mask_token_id",
        "decoder_start_token_id",
        "max_length",
        "min_length",
        "max_new_tokens",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "output_scores",
        "return_dict_in_generate",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
        "tf_legacy_loss",
    ],
    only: &[
        ("is_encoder_decoder", &["false"]),
        ("is_decoder", &["false"]),
        ("add_cross_attention", &["false"]),
        ("cross_attention_hidden_size", &[]),
        ("tie_encoder_decoder", &["false"]),
        ("pruned_heads", &["{}"]),
        // Code of the model's own.
        ("auto_map", &["{}"]),
        ("quantization_config", &[]),
    ],
};

pub(super) const BERT: Settings = Settings {
    read: &["num_attention_heads", "num_hidden_layers", "layer_norm_eps", "hidden_act"],
    tensors: &["hidden_size", "intermediate_size", "max_position_embeddings", "type_vocab_size"],
    neutral: &[
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "classifier_dropout",
        "tie_word_embeddings",
        // Only held against the number of heads.
        "embedding_size",
        // Of the first release's poolers, which nobody reads.
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
    ],
    only: &[("position_embedding_type", &["\"absolute\""]), ("is_causal", &["false"])],
};

pub(super) const DISTILBERT: Settings = Settings {
    read: &["n_heads", "n_layers", "activation", "num_attention_heads", "num_hidden_layers"],
    tensors: &["dim", "hidden_dim", "hidden_size", "max_position_embeddings"],
    neutral: &[
        "attention_dropout",
        "dropout",
        "qa_dropout",
        "seq_classif_dropout",
        "tie_word_embeddings",
        "tie_weights_",
        // Computed once; the file has the table.
        "sinusoidal_pos_embds",
    ],
    only: &[("is_causal", &["false"])],
};

pub(super) const GPT2: Settings = Settings {
    read: &[
        "n_head",
        "n_layer",
        "num_attention_heads",
        "num_hidden_layers",
        "layer_norm_epsilon",
        "activation_function",
        "tie_word_embeddings",
    ],
    tensors: &[
        "n_embd",
        "hidden_size",
        "n_inner",
        "n_positions",
        "n_ctx",
        "max_position_embeddings",
    ],
    neutral: &[
        "attn_pdrop",
        "embd_pdrop",
        "resid_pdrop",
        // The same product in another order and a wider type.
        "reorder_and_upcast_attn",
        // Of a head with two tasks.
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
    ],
    only: &[
        ("scale_attn_weights", &["true"]),
        ("scale_attn_by_inverse_layer_idx", &["false"]),
        ("is_causal", &["true"]),
    ],
};

const LLAMA_READ: &[&str] = &[
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
];
const LLAMA_TENSORS: &[&str] = &["hidden_size", "intermediate_size", "head_dim"];

pub(super) const LLAMA: Settings = Settings {
    read: LLAMA_READ,
    tensors: &["hidden_size", "intermediate_size", "head_dim", "attention_bias", "mlp_bias"],
    // Windows are other families': Llama reads none.
    neutral: &["attention_dropout", "sliding_window", "use_sliding_window", "max_window_layers"],
    only: &[("partial_rotary_factor", &["1", "1.0"]), ("is_causal", &["true"])],
};

pub(super) const MISTRAL: Settings = Settings {
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
        "sliding_window",
    ],
    tensors: LLAMA_TENSORS,
    neutral: &["attention_dropout"],
    only: &[
        ("partial_rotary_factor", &["1", "1.0"]),
        ("is_causal", &["true"]),
        ("attention_bias", &["false"]),
    ],
};

pub(super) const QWEN2: Settings = Settings {
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
        "sliding_window",
        "use_sliding_window",
        // Which layers have the window: none is read beyond it.
        "layer_types",
        "max_window_layers",
    ],
    tensors: LLAMA_TENSORS,
    neutral: &["attention_dropout"],
    only: &[
        ("partial_rotary_factor", &["1", "1.0"]),
        ("is_causal", &["true"]),
        ("use_mrope", &["false"]),
    ],
};

/// What stands in `rope_scaling` or `rope_parameters`, beside what the kind of scaling reads.
pub(super) const ROPE: Settings = Settings {
    read: &[
        "rope_type",
        "type",
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
    ],
    tensors: &[],
    neutral: &[],
    only: &[("partial_rotary_factor", &["1", "1.0"])],
};

pub(super) const VIT: Settings = Settings {
    read: &[
        "num_attention_heads",
        "num_hidden_layers",
        "layer_norm_eps",
        "hidden_act",
        "image_size",
    ],
    tensors: &[
        "hidden_size",
        "intermediate_size",
        "num_channels",
        "patch_size",
        "qkv_bias",
        "head_dim",
        "pooler_output_size",
    ],
    neutral: &[
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "tie_word_embeddings",
        // Of heads that are not read here.
        "encoder_stride",
        "pooler_act",
    ],
    only: &[("is_causal", &["false"])],
};

/// A configuration that timm writes, beside its two objects.
const TIMM: Settings = Settings {
    read: &["architecture", "input_size", "global_pool", "model_args", "pretrained_cfg"],
    tensors: &["num_classes", "num_features"],
    neutral: &["model_type", "label_names", "label_descriptions", "id2label", "label2id"],
    only: &[],
};

/// `pretrained_cfg`: of where the weights are from and how images are prepared.
const PRETRAINED: Settings = Settings {
    read: &["input_size", "mean", "std", "global_pool"],
    tensors: &["num_classes", "first_conv", "classifier"],
    neutral: &[
        "url",
        "file",
        "state_dict",
        "hf_hub_id",
        "hf_hub_filename",
        "source",
        "architecture",
        "tag",
        "custom_load",
        "test_input_size",
        "min_input_size",
        "fixed_input_size",
        "interpolation",
        "crop_pct",
        "test_crop_pct",
        "crop_mode",
        "label_offset",
        "label_names",
        "label_descriptions",
        "pool_size",
        "test_pool_size",
        "license",
        "description",
        "origin_url",
        "paper_name",
        "paper_ids",
        "notes",
        "num_features",
    ],
    only: &[],
};

/// Arguments of timm's constructors.
pub(super) const TIMM_RESNET: Settings = Settings {
    read: &["global_pool"],
    tensors: &[
        "block",
        "layers",
        "channels",
        "in_chans",
        "num_classes",
        "stem_width",
        "base_width",
    ],
    neutral: &[
        "drop_rate",
        "drop_path_rate",
        "drop_block_rate",
        "zero_init_last",
        "device",
        "dtype",
        "pretrained",
        "img_size",
    ],
    only: &[
        ("aa_layer", &[]),
        ("act_layer", &["\"relu\"", "\"ReLU\""]),
        ("avg_down", &["false"]),
        ("block_args", &["{}"]),
        ("block_reduce_first", &["1"]),
        ("cardinality", &["1"]),
        ("down_kernel_size", &["1"]),
        ("norm_layer", &["\"batchnorm\"", "\"batchnorm2d\"", "\"BatchNorm2d\""]),
        ("output_stride", &["32"]),
        ("replace_stem_pool", &["false"]),
        ("stem_type", &["\"\""]),
    ],
};

pub(super) const TIMM_VGG: Settings = Settings {
    read: &["global_pool"],
    tensors: &["cfg", "in_chans", "num_classes", "mlp_ratio"],
    neutral: &["drop_rate", "device", "dtype", "pretrained", "img_size"],
    only: &[
        ("act_layer", &["\"relu\"", "\"ReLU\""]),
        ("conv_layer", &["\"Conv2d\""]),
        ("norm_layer", &["\"batchnorm\"", "\"batchnorm2d\"", "\"BatchNorm2d\""]),
        ("output_stride", &["32"]),
    ],
};

pub(super) const TIMM_VIT: Settings = Settings {
    read: &["global_pool", "num_heads"],
    tensors: &[
        "img_size",
        "patch_size",
        "in_chans",
        "num_classes",
        "embed_dim",
        "depth",
        "mlp_ratio",
        "qkv_bias",
        "proj_bias",
        "init_values",
        "no_embed_class",
    ],
    neutral: &[
        "drop_rate",
        "pos_drop_rate",
        "patch_drop_rate",
        "proj_drop_rate",
        "attn_drop_rate",
        "drop_path_rate",
        "weight_init",
        "fix_init",
        "device",
        "dtype",
        "pretrained",
    ],
    only: &[
        ("act_layer", &["\"gelu\"", "\"GELU\""]),
        ("attn_layer", &["\"Attention\"", "\"\""]),
        ("block_fn", &["\"Block\""]),
        ("class_token", &["true"]),
        ("dynamic_img_pad", &["false"]),
        ("dynamic_img_size", &["false"]),
        ("embed_layer", &["\"PatchEmbed\""]),
        ("embed_norm_layer", &[]),
        ("fc_norm", &["false"]),
        ("final_norm", &["true"]),
        ("mlp_layer", &["\"Mlp\""]),
        ("norm_layer", &["\"layernorm\"", "\"LayerNorm\""]),
        ("pool_include_prefix", &["false"]),
        ("pos_embed", &["\"learn\""]),
        ("pre_norm", &["false"]),
        ("qk_norm", &["false"]),
        ("reg_tokens", &["0"]),
        ("scale_attn_norm", &["false"]),
        ("scale_mlp_norm", &["false"]),
    ],
};

/// Refuses a configuration of transformers with a key that may change the computation.
///
/// # Errors
/// `malformed_config`, with the key.
pub(super) fn check(config: &Value, family: &Settings) -> Result<(), GraphError> {
    check_object("", config, &[family, &COMMON])
}

/// The same for a configuration of timm, whose constructor has these arguments.
///
/// # Errors
/// As [`check`]; `global_pool` other than `pool`, wherever it stands.
pub(super) fn check_timm(
    config: &Value,
    arguments: &Settings,
    pool: &str,
) -> Result<(), GraphError> {
    check_object("", config, &[&TIMM])?;
    check_object("model_args.", &config["model_args"], &[arguments])?;
    check_object("pretrained_cfg.", &config["pretrained_cfg"], &[&PRETRAINED])?;

    let places = [
        ("global_pool", config),
        ("model_args.global_pool", &config["model_args"]),
        ("pretrained_cfg.global_pool", &config["pretrained_cfg"]),
    ];
    match places
        .into_iter()
        .find(|(_, object)| !object["global_pool"].is_null() && object["global_pool"] != pool)
    {
        Some((place, object)) => {
            Err(unsupported(place, &object["global_pool"], &format!("only {pool:?}")))
        }
        None => Ok(()),
    }
}

/// Refuses an object with a key of which nothing is known, or with a value that is not neutral.
pub(super) fn check_object(
    place: &str,
    object: &Value,
    tables: &[&Settings],
) -> Result<(), GraphError> {
    if object.is_null() {
        return Ok(());
    }
    let Some(fields) = object.as_object() else {
        let place = place.trim_end_matches('.');
        let detail = format!("{place}: give an object, not {object}");
        return Err(GraphError::Malformed { detail });
    };
    check_fields(place, fields, tables)
}

fn check_fields(
    place: &str,
    fields: &Map<String, Value>,
    tables: &[&Settings],
) -> Result<(), GraphError> {
    for (key, value) in fields {
        // Keys that begin so are the library's notes to itself.
        if value.is_null() || key.starts_with('_') || tables.iter().any(|table| table.knows(key)) {
            continue;
        }
        let Some(allowed) = tables.iter().find_map(|table| table.values(key)) else {
            let why = "what it changes is not known; where it is a note of your own, remove it";
            return Err(unsupported(&format!("{place}{key}"), value, why));
        };
        if !allowed.iter().any(|text| text.parse::<Value>().is_ok_and(|known| known == *value)) {
            let why = match allowed {
                [] => "leave it out".to_owned(),
                _ => format!("only {}", allowed.join(", ")),
            };
            return Err(unsupported(&format!("{place}{key}"), value, &why));
        }
    }
    Ok(())
}

fn unsupported(key: &str, value: &Value, why: &str) -> GraphError {
    let mut shown = value.to_string();
    if let Some((cut, _)) = shown.char_indices().nth(100) {
        shown.truncate(cut);
    }
    GraphError::Malformed { detail: format!("{key}: {shown} is not supported; {why}") }
}

impl Settings {
    /// Whether the key is read, shown by the tensors, or neutral at every value.
    fn knows(&self, key: &str) -> bool {
        [self.read, self.tensors, self.neutral].iter().any(|keys| keys.contains(&key))
    }

    /// The values at which the key is neutral.
    fn values(&self, key: &str) -> Option<&'static [&'static str]> {
        self.only.iter().find(|(known, _)| *known == key).map(|(_, values)| *values)
    }
}

#[cfg(test)]
mod tests;
