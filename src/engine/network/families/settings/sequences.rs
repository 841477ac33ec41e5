//! The keys of families with an encoder and a decoder.

use super::Settings;

pub const T5: Settings = Settings {
    extends: None,
    read: &[
        "num_heads",
        "num_layers",
        "num_attention_heads",
        "num_hidden_layers",
        "num_decoder_layers",
        "layer_norm_epsilon",
        "feed_forward_proj",
        "dense_act_fn",
        "is_gated_act",
        "relative_attention_num_buckets",
        "relative_attention_max_distance",
        "decoder_start_token_id",
        "eos_token_id",
        "scale_decoder_outputs",
        "tie_word_embeddings",
        // Follows from the class.
        "is_encoder_decoder",
    ],
    tensors: &["d_model", "d_ff", "d_kv", "hidden_size", "head_dim"],
    neutral: &[
        "dropout_rate",
        "classifier_dropout",
        "initializer_factor",
        // The library has no limit.
        "n_positions",
    ],
    only: &[("is_causal", &["false"])],
};

/// Of BART and its kin.
pub const BART: Settings = Settings {
    extends: None,
    read: &[
        "encoder_attention_heads",
        "decoder_attention_heads",
        "num_attention_heads",
        "encoder_layers",
        "decoder_layers",
        "num_hidden_layers",
        "activation_function",
        "scale_embedding",
        "max_position_embeddings",
        "decoder_start_token_id",
        "eos_token_id",
        // Follows from the class.
        "is_encoder_decoder",
    ],
    tensors: &[
        "d_model",
        "hidden_size",
        "encoder_ffn_dim",
        "decoder_ffn_dim",
    ],
    neutral: &[
        "dropout",
        "attention_dropout",
        "activation_dropout",
        "classifier_dropout",
        "encoder_layerdrop",
        "decoder_layerdrop",
        "init_std",
        // Of the first releases: nobody reads them, and the family tells.
        "add_bias_logits",
        "add_final_layer_norm",
        "classif_dropout",
        "extra_pos_embeddings",
        "force_bos_token_to_be_generated",
        "normalize_before",
        "normalize_embedding",
        "replacing_rate",
        "save_step",
        "static_position_embeddings",
        "student_decoder_layers",
        "student_encoder_layers",
    ],
    only: &[
        // One embedding for both sides and the output.
        ("tie_word_embeddings", &["true"]),
        ("is_causal", &["false"]),
    ],
};

pub const WHISPER: Settings = Settings {
    extends: None,
    read: &[
        "encoder_attention_heads",
        "decoder_attention_heads",
        "num_attention_heads",
        "encoder_layers",
        "decoder_layers",
        "num_hidden_layers",
        "activation_function",
        "decoder_start_token_id",
        // Follows from the class.
        "is_encoder_decoder",
    ],
    tensors: &[
        "d_model",
        "hidden_size",
        "encoder_ffn_dim",
        "decoder_ffn_dim",
        "num_mel_bins",
        "max_source_positions",
        "max_target_positions",
    ],
    neutral: &[
        "dropout",
        "attention_dropout",
        "activation_dropout",
        "encoder_layerdrop",
        "decoder_layerdrop",
        "init_std",
        // Noise of training: parts of the features are hidden.
        "apply_spec_augment",
        "mask_time_prob",
        "mask_time_length",
        "mask_time_min_masks",
        "mask_feature_prob",
        "mask_feature_length",
        "mask_feature_min_masks",
        // Of generation.
        "forced_decoder_ids",
        "median_filter_width",
        // Of the class that tells what is heard.
        "classifier_proj_size",
        "use_weighted_layer_sum",
    ],
    only: &[
        ("tie_word_embeddings", &["true"]),
        ("scale_embedding", &["false"]),
        ("num_key_value_heads", &[]),
        ("is_causal", &["false"]),
    ],
};

pub const PEGASUS: Settings = Settings {
    extends: Some(&BART),
    // Which is neutral to most families.
    read: &["decoder_start_token_id"],
    tensors: &[],
    neutral: &[],
    only: &[],
};

pub const MARIAN: Settings = Settings {
    extends: Some(&BART),
    // Which is neutral to most families.
    read: &["decoder_start_token_id"],
    tensors: &["decoder_vocab_size"],
    neutral: &[],
    only: &[("share_encoder_decoder_embeddings", &["true"])],
};
