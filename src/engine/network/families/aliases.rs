//! Families under other names: the same computation below the same tensors.

use serde_json::Value;

use super::{Family, MODEL_TYPES, TIMM, timm_vit};

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

/// Whether a builder knows timm's name of a network.
fn is_of_timm(architecture: &str) -> bool {
    let name = architecture.split('.').next().unwrap_or(architecture);
    timm_vit::is_timm(name) || TIMM.iter().any(|timm| timm.names.contains(&name))
}

impl Family {
    /// The family of a configuration.
    pub fn of(config: &Value) -> Option<&'static Self> {
        // timm's `architecture` counts, whatever its user calls the type beside it.
        let architecture = config["architecture"].as_str();
        if architecture.is_some_and(is_of_timm) {
            return None;
        }
        let own = model_type_of(config)?;
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
