//! The keys of timm 1.0.

use serde_json::Value;

use super::{Settings, check_object, unsupported};
use crate::network::error::GraphError;

/// Refuses a configuration of timm with a key that may change the computation; the architecture's
/// constructor has these arguments.
///
/// # Errors
/// `malformed_config`, with the key; `global_pool` other than `pool`, wherever it stands.
pub fn check_timm(config: &Value, arguments: &Settings, pool: &str) -> Result<(), GraphError> {
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
        Some((place, object)) => Err(unsupported(
            place,
            &object["global_pool"],
            &format!("only {pool:?}"),
        )),
        None => Ok(()),
    }
}

/// A configuration that timm writes, beside its two objects.
const TIMM: Settings = Settings {
    extends: None,
    read: &[
        "architecture",
        "input_size",
        "global_pool",
        "model_args",
        "pretrained_cfg",
    ],
    tensors: &["num_classes", "num_features"],
    neutral: &[
        "model_type",
        "label_names",
        "label_descriptions",
        "id2label",
        "label2id",
    ],
    only: &[],
};

/// `pretrained_cfg`: of where the weights are from and how images are prepared.
const PRETRAINED: Settings = Settings {
    extends: None,
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
pub const TIMM_RESNET: Settings = Settings {
    extends: None,
    read: &["global_pool"],
    tensors: &[
        "block",
        "layers",
        "channels",
        "in_chans",
        "num_classes",
        "stem_width",
        "base_width",
        "avg_down",
        "block_reduce_first",
        "cardinality",
        "down_kernel_size",
        "stem_type",
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
        ("block_args", &["{}", "{\"attn_layer\":\"se\"}"]),
        (
            "norm_layer",
            &["\"batchnorm\"", "\"batchnorm2d\"", "\"BatchNorm2d\""],
        ),
        ("output_stride", &["32"]),
        ("replace_stem_pool", &["false"]),
    ],
};

pub const TIMM_VGG: Settings = Settings {
    extends: None,
    read: &["global_pool"],
    tensors: &["cfg", "in_chans", "num_classes", "mlp_ratio"],
    neutral: &["drop_rate", "device", "dtype", "pretrained", "img_size"],
    only: &[
        ("act_layer", &["\"relu\"", "\"ReLU\""]),
        ("conv_layer", &["\"Conv2d\""]),
        (
            "norm_layer",
            &["\"batchnorm\"", "\"batchnorm2d\"", "\"BatchNorm2d\""],
        ),
        ("output_stride", &["32"]),
    ],
};

pub const TIMM_CONVNEXT: Settings = Settings {
    extends: None,
    read: &["global_pool", "norm_eps"],
    tensors: &[
        "in_chans",
        "num_classes",
        "depths",
        "dims",
        "kernel_sizes",
        "patch_size",
        "stem_type",
        "ls_init_value",
        "head_norm_first",
        "head_hidden_size",
        "conv_mlp",
        "conv_bias",
        "use_grn",
    ],
    neutral: &[
        "head_init_scale",
        "drop_rate",
        "drop_path_rate",
        "device",
        "dtype",
        "pretrained",
        "img_size",
    ],
    only: &[
        ("act_layer", &["\"gelu\"", "\"GELU\""]),
        (
            "norm_layer",
            &["\"layernorm\"", "\"layernorm2d\"", "\"LayerNorm2d\""],
        ),
        ("output_stride", &["32"]),
    ],
};

/// Of `EfficientNet` and of `MobileNetV3`.
pub const TIMM_EFFICIENTNET: Settings = Settings {
    extends: None,
    read: &["global_pool", "pad_type"],
    tensors: &[
        "in_chans",
        "num_classes",
        "num_features",
        "stem_size",
        "stem_kernel_size",
        "fix_stem",
        "head_bias",
        "se_from_exp",
        "round_chs_fn",
    ],
    neutral: &[
        "drop_rate",
        "drop_path_rate",
        "device",
        "dtype",
        "pretrained",
        "img_size",
    ],
    only: &[
        ("aa_layer", &[]),
        ("act_layer", &[]),
        ("block_args", &[]),
        ("head_norm", &["false"]),
        ("layer_scale_init_value", &[]),
        ("norm_layer", &[]),
        ("output_stride", &["32"]),
        ("se_layer", &[]),
    ],
};

pub const TIMM_DENSENET: Settings = Settings {
    extends: None,
    read: &["global_pool"],
    tensors: &[
        "in_chans",
        "num_classes",
        "growth_rate",
        "block_config",
        "bn_size",
        "stem_type",
    ],
    neutral: &[
        "drop_rate",
        "proj_drop_rate",
        "memory_efficient",
        "aa_stem_only",
        "device",
        "dtype",
        "pretrained",
        "img_size",
    ],
    only: &[
        ("aa_layer", &[]),
        ("act_layer", &["\"relu\"", "\"ReLU\""]),
        (
            "norm_layer",
            &["\"batchnorm\"", "\"batchnorm2d\"", "\"BatchNorm2d\""],
        ),
    ],
};

pub const TIMM_VIT: Settings = Settings {
    extends: None,
    read: &["global_pool", "num_heads", "act_layer"],
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
        "class_token",
        "reg_tokens",
        "pre_norm",
        "final_norm",
        "fc_norm",
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
        ("attn_layer", &["\"Attention\"", "\"\""]),
        ("block_fn", &["\"Block\""]),
        ("dynamic_img_pad", &["false"]),
        ("dynamic_img_size", &["false"]),
        ("embed_layer", &["\"PatchEmbed\""]),
        ("embed_norm_layer", &[]),
        ("mlp_layer", &["\"Mlp\""]),
        ("norm_layer", &["\"layernorm\"", "\"LayerNorm\""]),
        ("pool_include_prefix", &["false"]),
        ("pos_embed", &["\"learn\""]),
        ("qk_norm", &["false"]),
        ("scale_attn_norm", &["false"]),
        ("scale_mlp_norm", &["false"]),
    ],
};

pub const TIMM_SWIN: Settings = Settings {
    extends: None,
    read: &["global_pool", "img_size"],
    tensors: &[
        "patch_size",
        // The builder refuses windows that are not square.
        "window_size",
        "in_chans",
        "num_classes",
        "embed_dim",
        "depths",
        "num_heads",
        "head_dim",
        "mlp_ratio",
        "qkv_bias",
    ],
    neutral: &[
        "drop_rate",
        "proj_drop_rate",
        "attn_drop_rate",
        "drop_path_rate",
        "weight_init",
        "device",
        "dtype",
        "pretrained",
    ],
    only: &[
        ("always_partition", &["false"]),
        ("dynamic_img_size", &["false"]),
        ("strict_img_size", &["true"]),
        ("embed_layer", &["\"PatchEmbed\""]),
        ("norm_layer", &["\"LayerNorm\"", "\"layernorm\""]),
    ],
};
