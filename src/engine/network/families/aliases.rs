//! Families under other names: the same computation below the same tensors.

use serde_json::Value;

use super::{Family, MODEL_TYPES};

/// A `model_type` that computes as another one's family.
pub(super) struct Alias {
    pub model_type: &'static str,
    pub family: &'static str,
    /// Its classifier among `architectures`.
    pub classifier: &'static str,
}

pub(super) const ALIASES: [Alias; 4] = [
    Alias {
        model_type: "xlm-roberta",
        family: "roberta",
        classifier: "XLMRobertaForSequenceClassification",
    },
    Alias {
        model_type: "camembert",
        family: "roberta",
        classifier: "CamembertForSequenceClassification",
    },
    Alias {
        model_type: "mbart",
        family: "bart",
        classifier: "MBartForSequenceClassification",
    },
    Alias {
        model_type: "mt5",
        family: "t5",
        classifier: "MT5ForSequenceClassification",
    },
];

/// The family's own `model_type` of a configuration's.
pub(super) fn model_type_of(config: &Value) -> Option<&str> {
    let given = config["model_type"].as_str()?;
    let alias = ALIASES.iter().find(|alias| alias.model_type == given);
    Some(alias.map_or(given, |alias| alias.family))
}

/// Families of Hugging Face that users of timm name beside timm's `architecture`.
const OF_BOTH: [&str; 6] = [
    "resnet",
    "convnext",
    "convnextv2",
    "efficientnet",
    "vit",
    "swin",
];

/// Whether timm wrote a configuration, whatever its user calls the type beside it.
fn is_of_timm(config: &Value, model_type: &str) -> bool {
    let has_timms_key = config["architecture"].is_string() && config["architectures"].is_null();
    has_timms_key && OF_BOTH.contains(&model_type)
}

impl Family {
    /// The family of a configuration.
    pub fn of(config: &Value) -> Option<&'static Self> {
        let own = model_type_of(config).filter(|own| !is_of_timm(config, own))?;
        MODEL_TYPES.iter().find(|family| family.model_type == own)
    }

    /// What the library calls the classifier of a configuration's `model_type`.
    pub fn classifier_of(&self, config: &Value) -> &'static str {
        let alias = ALIASES
            .iter()
            .find(|alias| config["model_type"] == alias.model_type);
        alias.map_or(self.classifier[0], |alias| alias.classifier)
    }
}
