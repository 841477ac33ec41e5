//! Which layers of a decoder have a bias.

use super::Source;
use crate::network::error::GraphError;

/// Which layers have a bias.
pub(super) struct Biases {
    pub queries_keys_values: Bias,
    pub output: Bias,
    pub mlp: Bias,
}

#[derive(Clone, Copy)]
pub(super) enum Bias {
    Never,
    Always,
    /// As a key says, or the library without it.
    Told {
        key: &'static str,
        default: bool,
    },
}

const OF_ATTENTION: Bias = Bias::Told {
    key: "attention_bias",
    default: false,
};

impl Biases {
    pub(super) const NONE: Self = Self {
        queries_keys_values: Bias::Never,
        output: Bias::Never,
        mlp: Bias::Never,
    };
    pub(super) const OF_ATTENTION: Self = Self {
        queries_keys_values: OF_ATTENTION,
        output: OF_ATTENTION,
        ..Self::NONE
    };
    pub(super) const TOLD: Self = Self {
        mlp: Bias::Told {
            key: "mlp_bias",
            default: false,
        },
        ..Self::OF_ATTENTION
    };

    /// Refuses a file with a bias that the library does not read, and one without a bias that it would
    /// draw at random; `first` projects queries, `gate` begins the hidden layer.
    pub(super) fn check(
        &self,
        source: &Source<'_>,
        first: &str,
        gate: &str,
    ) -> Result<(), GraphError> {
        self.queries_keys_values
            .check(source, first, "attention_bias")?;
        self.output
            .check(source, "self_attn.o_proj", "attention_bias")?;
        self.mlp.check(source, gate, "mlp_bias")
    }
}

impl Bias {
    fn check(&self, source: &Source<'_>, layer: &str, key: &str) -> Result<(), GraphError> {
        let (wanted, key) = match self {
            Self::Never => (false, key),
            Self::Always => (true, key),
            Self::Told { key, default } => {
                (source.config[*key].as_bool().unwrap_or(*default), *key)
            }
        };
        let tensor = format!("model.layers.0.{layer}.bias");
        if source.has(&tensor) == wanted {
            return Ok(());
        }

        let (told, found) = if wanted { ("a", "none") } else { ("no", "one") };
        let detail = format!(
            "{key}: by it and the model_type {layer} has {told} bias, but the file has {found} ({tensor})"
        );
        Err(GraphError::Malformed { detail })
    }
}
