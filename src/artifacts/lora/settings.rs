//! `adapter_config.json`: which keys say what the adapter computes, and which are built here.
//!
//! Every key of peft's `LoraConfig` is listed. A key that is not listed may change the function, and is
//! refused by its name, as are the values of listed keys that are known to change it.

use crate::contract::codes::FailureCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    pattern::Pattern,
    refusal::{Refusal, not_implemented},
};

/// What a key means for a saved adapter.
enum Meaning {
    /// No part in what it computes: where it came from, how it was trained, what its tensors' names say.
    Neutral,
    /// Changes what it computes, and is built here.
    Built,
    /// Neutral at the values that this accepts, and refused at all others, for this reason.
    Only(fn(&Value) -> bool, &'static str),
}
use Meaning::{Built, Neutral, Only};

const NOT_PLAIN: &str = "is not implemented";
const BASE_CHANGED: &str = "changes the base's own weights before it is trained, so that the adapter belongs \
                            to another base: save it with path_initial_model_for_weight_conversion";

/// Keys of `LoraConfig`, peft 0.21 and before.
const KEYS: [(&str, Meaning); 44] = [
    (
        "alora_invocation_tokens",
        Only(is_off, "changes some tokens of a sentence only"),
    ),
    ("alpha_pattern", Built),
    ("arrow_config", Only(is_off, NOT_PLAIN)),
    ("auto_mapping", Neutral),
    ("base_model_name_or_path", Neutral),
    ("bias", Built),
    ("corda_config", Neutral),
    ("enable_lora", Only(is_off, "changes parts of a layer only")),
    ("ensure_weight_tying", Built),
    ("eva_config", Neutral),
    ("exclude_modules", Neutral),
    // The base's layer says how its weight is stored.
    ("fan_in_fan_out", Neutral),
    ("inference_mode", Neutral),
    ("init_lora_weights", Only(leaves_the_base, BASE_CHANGED)),
    ("kasa_config", Only(is_off, NOT_PLAIN)),
    (
        "layer_replication",
        Only(is_off, "repeats layers of the base"),
    ),
    ("layers_pattern", Neutral),
    ("layers_to_transform", Neutral),
    ("loftq_config", Neutral),
    ("lora_alpha", Built),
    ("lora_bias", Built),
    ("lora_dropout", Neutral),
    ("lora_ga_config", Neutral),
    ("megatron_config", Only(is_off, NOT_PLAIN)),
    ("megatron_core", Neutral),
    ("merge_weights", Neutral),
    ("modules_to_save", Built),
    ("monteclora_config", Only(is_off, NOT_PLAIN)),
    (
        "peft_type",
        Only(|value| value == "LORA", "is not implemented; LORA is"),
    ),
    ("peft_version", Neutral),
    ("qalora_group_size", Neutral),
    ("r", Built),
    ("rank_pattern", Built),
    ("revision", Neutral),
    ("target_modules", Neutral),
    (
        "target_parameters",
        Only(is_off, "changes parameters that are no layer's weight"),
    ),
    ("task_type", Built),
    ("trainable_token_indices", Built),
    ("use_bdlora", Only(is_off, NOT_PLAIN)),
    ("use_dora", Built),
    (
        "use_qalora",
        Only(is_off, "reads averages of a layer's inputs"),
    ),
    ("use_rslora", Built),
    ("velora_config", Neutral),
    ("runtime_config", Neutral),
];

/// `null`, `false`, an empty list or object: as if it were not there.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Initialisations after which the base is what it was.
fn leaves_the_base(value: &Value) -> bool {
    let known = ["gaussian", "orthogonal", "eva", "mica"];
    match value.as_str() {
        Some(name) => known.contains(&name.to_ascii_lowercase().as_str()),
        None => value.is_boolean() || value.is_null(),
    }
}

/// What of the settings is computed with.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Settings {
    #[serde(default)]
    pub task_type: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    pub use_dora: bool,
    #[serde(default)]
    rank_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    alpha_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    modules_to_save: Option<Vec<String>>,
    #[serde(default)]
    pub ensure_weight_tying: bool,
    #[serde(default)]
    trainable_token_indices: Value,
}

fn malformed(detail: String) -> Refusal {
    (FailureCode::MalformedConfig, detail)
}

impl Settings {
    /// Reads the settings, and refuses what is not known to be neutral and not built.
    ///
    /// # Errors
    /// `malformed_config`, `not_implemented`.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let document: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if !document.contains_key("peft_type") {
            return Err(malformed(
                "peft_type is missing; \"LORA\" is what can be read".into(),
            ));
        }

        // Another kind of adapter has keys of its own: what it is comes first.
        let kind_first = document.iter().filter(|(key, _)| *key == "peft_type");
        for (key, value) in kind_first.chain(&document) {
            match KEYS.iter().find(|(known, _)| known == key) {
                None => {
                    let what = format!("the setting {key:?} ({}) is not known", shown(value));
                    return Err(not_implemented(&what));
                }
                Some((_, Only(neutral, why))) if !neutral(value) => {
                    return Err(not_implemented(&format!("{key}: {} {why}", shown(value))));
                }
                Some(_) => {}
            }
        }

        let settings: Self = serde_json::from_value(Value::Object(document))
            .map_err(|error| malformed(error.to_string()))?;
        if settings.r == 0 {
            return Err(malformed("r must be at least 1".into()));
        }

        for pattern in settings.patterns() {
            Pattern::read(pattern)?;
        }

        Ok(settings)
    }

    fn patterns(&self) -> impl Iterator<Item = &String> {
        [&self.rank_pattern, &self.alpha_pattern]
            .into_iter()
            .flatten()
            .flat_map(Map::keys)
    }

    /// The rank of a module's factors.
    ///
    /// # Errors
    /// `malformed_config`.
    pub fn rank(&self, module: &str) -> Result<usize, Refusal> {
        let Some(value) = by_pattern(self.rank_pattern.as_ref(), module)? else {
            return Ok(self.r);
        };
        let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok());

        rank.filter(|rank| *rank > 0).ok_or_else(|| {
            (
                FailureCode::MalformedConfig,
                format!("rank_pattern: give a whole number above 0, not {value}"),
            )
        })
    }

    /// `alpha / r`, or `alpha / √r` (rank-stabilised LoRA, Kalajdzievski 2023).
    ///
    /// # Errors
    /// `malformed_config`.
    pub fn scale(&self, module: &str) -> Result<f64, Refusal> {
        let rank = self.rank(module)? as f64;
        let alpha = match by_pattern(self.alpha_pattern.as_ref(), module)? {
            None => self.lora_alpha,
            Some(value) => value.as_f64().ok_or_else(|| {
                (
                    FailureCode::MalformedConfig,
                    format!("alpha_pattern: give a number, not {value}"),
                )
            })?,
        };
        Ok(alpha / if self.use_rslora { rank.sqrt() } else { rank })
    }

    /// Whether a module was trained as a copy of its own.
    pub fn saves(&self, module: &str) -> bool {
        let saved = self.modules_to_save.iter().flatten();
        saved
            .into_iter()
            .any(|name| module.ends_with(name.as_str()))
    }

    /// The tokens of an embedding that were trained by themselves.
    pub fn tokens(&self, module: &str) -> Option<Vec<usize>> {
        let list = match &self.trainable_token_indices {
            Value::Object(map) => map
                .iter()
                .find(|(name, _)| module.ends_with(name.as_str()))?
                .1
                .as_array()?,
            list => list.as_array()?,
        };
        list.iter()
            .map(|row| row.as_u64().and_then(|row| usize::try_from(row).ok()))
            .collect()
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(60).collect()
}

/// The value under the first pattern that fits, in the order of the file.
fn by_pattern<'a>(
    patterns: Option<&'a Map<String, Value>>,
    module: &str,
) -> Result<Option<&'a Value>, Refusal> {
    for (pattern, value) in patterns.into_iter().flatten() {
        if Pattern::read(pattern)?.fits_the_end_of(module) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: Value) -> Result<Settings, Refusal> {
        let mut settings = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 6});
        for (key, value) in more.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        Settings::read(settings.to_string().as_bytes())
    }

    /// peft's own defaults, as it saves them: every key is known, and neutral there.
    #[test]
    fn every_key_of_the_library_is_known() {
        let saved = include_bytes!("../../../tests/fixtures/adapters/default_config.json");
        Settings::read(saved).expect("peft's defaults");
        let document: Map<String, Value> = serde_json::from_slice(saved).expect("JSON");
        for key in document.keys() {
            assert!(KEYS.iter().any(|(known, _)| known == key), "{key}");
        }
        let mut names: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len(), "each once");
    }

    #[test]
    fn what_is_not_known_to_be_neutral_is_refused_by_name() {
        for (key, value) in [
            ("init_lora_weights", json!("pissa")),
            ("init_lora_weights", json!("pissa_niter_16")),
            ("init_lora_weights", json!("olora")),
            ("init_lora_weights", json!("OLoRA")),
            ("init_lora_weights", json!("corda")),
            ("init_lora_weights", json!("loftq")),
            ("init_lora_weights", json!("lora_ga")),
            ("init_lora_weights", json!("of next year")),
            ("peft_type", json!("ADALORA")),
            ("layer_replication", json!([[0, 2], [1, 2]])),
            ("target_parameters", json!(["experts.gate_up_proj"])),
            ("alora_invocation_tokens", json!([1, 2])),
            ("use_qalora", json!(true)),
            ("arrow_config", json!({"top_k": 2})),
            ("kasa_config", json!({"x": 1})),
            ("monteclora_config", json!({"x": 1})),
            ("megatron_config", json!({"x": 1})),
            ("use_bdlora", json!({"x": 1})),
            ("rank_pattern", json!({"(q|k)_proj": 4})),
            ("a_setting_of_next_year", json!(null)),
        ] {
            let (code, detail) = read(json!({key: value})).expect_err(key);
            assert_eq!(code, FailureCode::NotImplemented, "{key}");
            assert!(detail.contains(key), "{key} in {detail}");
        }
        for kind in ["gaussian", "orthogonal", "eva", "mica"] {
            assert!(read(json!({"init_lora_weights": kind})).is_ok(), "{kind}");
        }
        for (key, value) in [
            ("r", json!(0)),
            ("r", json!("2")),
            ("lora_alpha", json!(null)),
        ] {
            assert_eq!(
                read(json!({key: value})).expect_err(key).0,
                FailureCode::MalformedConfig,
                "{key}"
            );
        }
    }

    #[test]
    fn rank_and_scale_of_a_module_by_its_name() {
        let settings = read(json!({
            "rank_pattern": {"^model.h.0.q": 4, "k": 1},
            "alpha_pattern": {".*\\.1\\.k": 5, "v": 8},
        }));
        let settings = settings.unwrap();
        let of = |module: &str| {
            (
                settings.rank(module).unwrap(),
                settings.scale(module).unwrap(),
            )
        };
        assert_eq!(of("model.h.0.q"), (4, 1.5));
        assert_eq!(of("x.model.h.0.q"), (2, 3.0), "^ is the start");
        assert_eq!(of("model.h.0.k"), (1, 6.0));
        assert_eq!(of("model.h.1.k"), (1, 5.0));
        assert_eq!(of("model.h.1.v"), (2, 4.0));
        assert_eq!(of("model.h.1.vv"), (2, 3.0));
        let stabilised = read(json!({"r": 4, "use_rslora": true})).unwrap();
        assert!((stabilised.scale("q").unwrap() - 3.0).abs() < 1e-12);
    }
}
