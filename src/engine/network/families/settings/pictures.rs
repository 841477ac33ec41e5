//! The keys of the networks of images in transformers 4 and 5.

use super::Settings;

pub const VIT: Settings = Settings {
    extends: None,
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

/// What a backbone puts out for others, and what stages are called.
const OF_BACKBONES: &[&str] = &["out_features", "out_indices", "stage_names"];

/// Keys of convolutional networks that are backbones too.
const BACKBONE: Settings = Settings {
    extends: None,
    read: &[],
    tensors: &["num_channels"],
    neutral: OF_BACKBONES,
    only: &[],
};

pub const RESNET: Settings = Settings {
    extends: Some(&BACKBONE),
    read: &[
        "hidden_act",
        "downsample_in_first_stage",
        "downsample_in_bottleneck",
    ],
    tensors: &["embedding_size", "hidden_sizes", "depths", "layer_type"],
    neutral: &[],
    only: &[],
};

/// Of both versions.
pub const CONVNEXT: Settings = Settings {
    extends: Some(&BACKBONE),
    read: &["hidden_act", "layer_norm_eps", "image_size"],
    tensors: &[
        "patch_size",
        "num_stages",
        "hidden_sizes",
        "depths",
        "layer_scale_init_value",
        "use_grn",
    ],
    neutral: &["drop_path_rate"],
    only: &[("is_causal", &["false"])],
};

pub const EFFICIENTNET: Settings = Settings {
    extends: None,
    read: &[
        "hidden_act",
        "image_size",
        "batch_norm_eps",
        "depth_coefficient",
        "num_block_repeats",
        "strides",
        "depthwise_padding",
    ],
    tensors: &[
        "num_channels",
        "width_coefficient",
        "depth_divisor",
        "kernel_sizes",
        "in_channels",
        "out_channels",
        "expand_ratios",
        "squeeze_expansion_ratio",
        "hidden_dim",
        "num_hidden_layers",
    ],
    neutral: &["batch_norm_momentum", "dropout_rate", "drop_connect_rate"],
    only: &[("pooling_type", &["\"mean\""]), ("pooling", &[])],
};

pub const MOBILENET_V2: Settings = Settings {
    extends: None,
    read: &["hidden_act", "image_size", "layer_norm_eps", "tf_padding"],
    tensors: &[
        "num_channels",
        "depth_multiplier",
        "depth_divisible_by",
        "min_depth",
        "expand_ratio",
        "first_layer_is_expansion",
        "finegrained_output",
    ],
    neutral: &["classifier_dropout_prob", "semantic_loss_ignore_index"],
    only: &[("output_stride", &["32"])],
};

pub const DINOV2: Settings = Settings {
    extends: Some(&BACKBONE),
    read: &[
        "num_attention_heads",
        "num_hidden_layers",
        "layer_norm_eps",
        "hidden_act",
        "image_size",
    ],
    tensors: &[
        "hidden_size",
        "mlp_ratio",
        "intermediate_size",
        "patch_size",
        "qkv_bias",
        "head_dim",
        "use_swiglu_ffn",
        "use_mask_token",
    ],
    neutral: &[
        "attention_probs_dropout_prob",
        "hidden_dropout_prob",
        "drop_path_rate",
        "layerscale_value",
        "tie_word_embeddings",
        // Of backbones.
        "apply_layernorm",
        "reshape_hidden_states",
    ],
    only: &[("is_causal", &["false"])],
};

pub const DINOV2_WITH_REGISTERS: Settings = Settings {
    extends: Some(&DINOV2),
    read: &[],
    tensors: &["num_register_tokens"],
    neutral: &["interpolate_antialias", "interpolate_offset"],
    only: &[],
};

/// A pair of towers, of which the pictures' is read.
pub const CLIP: Settings = Settings {
    extends: None,
    read: &["vision_config"],
    tensors: &[],
    neutral: &[
        "text_config",
        // Of the pair.
        "projection_dim",
        "logit_scale_init_value",
        "initializer_factor",
        "text_config_dict",
        "tie_word_embeddings",
    ],
    // What old files have beside `vision_config`: it would replace it.
    only: &[("vision_config_dict", &[])],
};

pub const CLIP_VISION: Settings = Settings {
    extends: None,
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
        "head_dim",
    ],
    neutral: &[
        "attention_dropout",
        "dropout",
        "initializer_factor",
        "projection_dim",
        "tie_word_embeddings",
    ],
    only: &[("is_causal", &["false"])],
};

pub const SIGLIP: Settings = Settings {
    extends: Some(&CLIP),
    read: &[],
    tensors: &[],
    neutral: &[],
    only: &[],
};

pub const SIGLIP_VISION: Settings = Settings {
    extends: Some(&CLIP_VISION),
    read: &[],
    tensors: &["vision_use_head"],
    neutral: &[],
    only: &[],
};

/// Windows and heads stand in the shape of every table of biases.
pub const SWIN: Settings = Settings {
    extends: Some(&BACKBONE),
    read: &["hidden_act", "layer_norm_eps", "image_size", "depths"],
    tensors: &[
        "patch_size",
        "embed_dim",
        "hidden_size",
        "num_layers",
        "num_hidden_layers",
        "num_heads",
        "num_attention_heads",
        "window_size",
        "mlp_ratio",
        "qkv_bias",
        "use_absolute_embeddings",
    ],
    neutral: &[
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "drop_path_rate",
        "tie_word_embeddings",
        // Of the head of the pre-training.
        "encoder_stride",
        "path_norm",
    ],
    only: &[("is_causal", &["false"])],
};
