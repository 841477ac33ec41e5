//! The keys of encoders in BERT's wake.

use super::Settings;

/// What all of them have in common with BERT.
const ENCODER: Settings = Settings {
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
    ],
    neutral: &[],
    only: &[
        ("position_embedding_type", &["\"absolute\""]),
        ("is_causal", &["false"]),
    ],
};

pub const MPNET: Settings = Settings {
    extends: Some(&ENCODER),
    read: &["tie_word_embeddings"],
    // The number of buckets that are computed is the library's own; the table has its rows.
    tensors: &["relative_attention_num_buckets"],
    neutral: &[
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        // Only held against the number of heads.
        "embedding_size",
    ],
    only: &[],
};

pub const ELECTRA: Settings = Settings {
    extends: Some(&ENCODER),
    read: &["tie_word_embeddings"],
    tensors: &["embedding_size", "type_vocab_size"],
    neutral: &[
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "classifier_dropout",
        // Of the head that chooses between answers.
        "summary_activation",
        "summary_last_dropout",
        "summary_type",
        "summary_use_proj",
    ],
    only: &[],
};

pub const ALBERT: Settings = Settings {
    extends: Some(&ENCODER),
    read: &[
        "num_hidden_groups",
        "inner_group_num",
        "tie_word_embeddings",
    ],
    tensors: &["embedding_size", "type_vocab_size"],
    neutral: &[
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "classifier_dropout_prob",
        // Of the first release: nobody reads them.
        "down_scale_factor",
        "gap_size",
        "layers_to_keep",
        "net_structure_type",
        "num_memory_blocks",
    ],
    only: &[],
};

pub const DEBERTA: Settings = Settings {
    extends: Some(&ENCODER),
    read: &[
        "pooler_hidden_act",
        "relative_attention",
        "pos_att_type",
        "max_relative_positions",
        "position_buckets",
        "norm_rel_ebd",
        "share_att_key",
        "position_biased_input",
        "type_vocab_size",
        // Of the head that predicts words.
        "legacy",
        "tie_word_embeddings",
    ],
    tensors: &[
        "embedding_size",
        "attention_head_size",
        "pooler_hidden_size",
    ],
    neutral: &[
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "pooler_dropout",
        "cls_dropout",
        // Of a convolution that is not there.
        "conv_act",
        "conv_groups",
    ],
    only: &[("conv_kernel_size", &["0"])],
};
