//! What operations are called, and the prefix of their tensors.

use super::Op;

impl Op {
    /// The name in `config.json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv2d { .. } => "conv2d",
            Self::Conv1d { .. } => "conv1d",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Relu {} => "relu",
            Self::Gelu {} => "gelu",
            Self::MaxPool { .. } => "max_pool",
            Self::AvgPool { .. } => "avg_pool",
            Self::AdaptiveAvgPool { .. } => "adaptive_avg_pool",
            Self::GlobalAvgPool {} => "global_avg_pool",
            Self::Flatten {} => "flatten",
            Self::Add {} => "add",
            Self::Dropout { .. } => "dropout",
            Self::LayerNorm { .. } => "layer_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::GlobalResponseNorm { .. } => "global_response_norm",
            Self::RmsNorm { .. } => "rms_norm",
            Self::Embedding { .. } => "embedding",
            Self::PositionEmbedding { .. } => "position_embedding",
            Self::Sinusoids { .. } => "sinusoids",
            Self::TokenTypeEmbedding { .. } => "token_type_embedding",
            Self::ClassToken { .. } => "class_token",
            Self::PatchEmbed { .. } => "patch_embed",
            Self::ToTokens {} => "to_tokens",
            Self::MergeTokens { .. } => "merge_tokens",
            Self::Table { .. } => "table",
            Self::ShiftTokens { .. } => "shift_tokens",
            Self::MaskTokens {} => "mask_tokens",
            Self::Attention { .. } => "attention",
            Self::GeluTanh {} => "gelu_tanh",
            Self::Silu {} => "silu",
            Self::Tanh {} => "tanh",
            Self::Sigmoid {} => "sigmoid",
            Self::HardSigmoid {} => "hard_sigmoid",
            Self::HardSwish {} => "hard_swish",
            Self::Relu6 {} => "relu6",
            Self::QuickGelu {} => "quick_gelu",
            Self::Gate {} => "gate",
            Self::Concat {} => "concat",
            Self::SelectToken { .. } => "select_token",
            Self::MeanTokens { .. } => "mean_tokens",
            Self::LayerScale { .. } => "layer_scale",
            Self::Offset { .. } => "offset",
            Self::Scale { .. } => "scale",
            Self::SoftCap { .. } => "soft_cap",
            Self::Split { .. } => "split",
            Self::Experts { .. } => "experts",
            Self::Opaque { .. } => "opaque",
        }
    }

    /// The name of every op that a document may have, for messages.
    pub const NAMES: [&'static str; 47] = [
        "linear",
        "conv2d",
        "conv1d",
        "batch_norm",
        "relu",
        "gelu",
        "max_pool",
        "avg_pool",
        "adaptive_avg_pool",
        "global_avg_pool",
        "flatten",
        "add",
        "dropout",
        "layer_norm",
        "group_norm",
        "global_response_norm",
        "rms_norm",
        "embedding",
        "position_embedding",
        "sinusoids",
        "token_type_embedding",
        "class_token",
        "patch_embed",
        "to_tokens",
        "merge_tokens",
        "table",
        "shift_tokens",
        "mask_tokens",
        "attention",
        "gelu_tanh",
        "silu",
        "tanh",
        "sigmoid",
        "hard_sigmoid",
        "hard_swish",
        "relu6",
        "quick_gelu",
        "gate",
        "concat",
        "select_token",
        "mean_tokens",
        "layer_scale",
        "offset",
        "scale",
        "soft_cap",
        "split",
        "experts",
    ];

    /// The prefix of the op's tensors, if it has any.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Linear { param, .. }
            | Self::Conv2d { param, .. }
            | Self::Conv1d { param, .. }
            | Self::BatchNorm { param, .. }
            | Self::LayerNorm { param, .. }
            | Self::GroupNorm { param, .. }
            | Self::GlobalResponseNorm { param, .. }
            | Self::RmsNorm { param, .. }
            | Self::Embedding { param, .. }
            | Self::PositionEmbedding { param, .. }
            | Self::TokenTypeEmbedding { param }
            | Self::ClassToken { param, .. }
            | Self::PatchEmbed { param }
            | Self::Table { param, .. }
            | Self::LayerScale { param, .. }
            | Self::Offset { param }
            | Self::Experts { param, .. } => Some(param),
            _ => None,
        }
    }
    /// What the bias of a layer is called, if the model has it.
    pub fn bias(&self) -> Option<String> {
        match self {
            Self::Linear {
                bias: Some(name), ..
            } => Some(name.clone()),
            _ => self.param().map(|param| format!("{param}.bias")),
        }
    }
}
