//! The keys of transformers 4 and 5.

use serde_json::Value;

use super::{Settings, check_object};
use crate::network::error::GraphError;

/// Refuses a configuration of transformers with a key that may change the computation.
///
/// # Errors
/// `malformed_config`, with the key.
pub fn check(config: &Value, family: &Settings) -> Result<(), GraphError> {
    check_object("", config, &[family, &COMMON])
}

/// The same of a part of a configuration, which stands at this place.
///
/// # Errors
/// `malformed_config`, with the key.
pub fn check_part(place: &str, config: &Value, part: &Settings) -> Result<(), GraphError> {
    check_object(place, config, &[part, &COMMON])
}

/// Keys of every configuration of transformers.
pub const COMMON: Settings = Settings {
    extends: None,
    read: &[
        "architectures",
        "model_type",
        "problem_type",
        "num_labels",
        "pad_token_id",
    ],
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

pub const BERT: Settings = Settings {
    extends: None,
    read: &[
        "num_attention_heads",
        "num_hidden_layers",
        "layer_norm_eps",
        "hidden_act",
    ],
    tensors: &[
        "hidden_size",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
    ],
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
    only: &[
        ("position_embedding_type", &["\"absolute\""]),
        ("is_causal", &["false"]),
    ],
};

pub const DISTILBERT: Settings = Settings {
    extends: None,
    read: &[
        "n_heads",
        "n_layers",
        "activation",
        "num_attention_heads",
        "num_hidden_layers",
    ],
    tensors: &[
        "dim",
        "hidden_dim",
        "hidden_size",
        "max_position_embeddings",
    ],
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

pub const GPT2: Settings = Settings {
    extends: None,
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

pub const MODERNBERT: Settings = Settings {
    extends: None,
    read: &[
        "num_attention_heads",
        "num_hidden_layers",
        "norm_eps",
        "hidden_activation",
        "classifier_activation",
        "classifier_pooling",
        "max_position_embeddings",
        "layer_types",
        "global_attn_every_n_layers",
        "local_attention",
        "global_rope_theta",
        "local_rope_theta",
        "rope_parameters",
    ],
    tensors: &[
        "hidden_size",
        "intermediate_size",
        "norm_bias",
        "attention_bias",
        "mlp_bias",
        "classifier_bias",
    ],
    neutral: &[
        "attention_dropout",
        "embedding_dropout",
        "mlp_dropout",
        "classifier_dropout",
        "initializer_cutoff_factor",
        "tie_word_embeddings",
        // Of the head that predicts words.
        "decoder_bias",
        "sparse_prediction",
        "sparse_pred_ignore_index",
        // The same sums by other kernels.
        "deterministic_flash_attn",
        "reference_compile",
        "repad_logits_with_grad",
        // Of BERT's configuration: nobody reads it.
        "layer_norm_eps",
    ],
    only: &[
        ("position_embedding_type", &["\"absolute\""]),
        ("rope_scaling", &[]),
        ("head_dim", &[]),
        // Another name of half of `local_attention`, which it would replace.
        ("sliding_window", &[]),
        ("is_causal", &["false"]),
    ],
};
