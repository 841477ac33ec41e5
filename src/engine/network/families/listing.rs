//! What is known of networks, by asking the builders.

use serde_json::json;

use super::{
    Family, MODEL_TYPES, NO_CLASSIFIER, Source, TIMM,
    aliases::ALIASES,
    bart::MARIAN_WRITER,
    llama, timm_vit,
    transformer::{TOKEN_CLASSIFIER, WRITER},
};
use crate::{network::error::GraphError, tensors::Signature};

/// A family with one of the tasks that it is read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Values of `model_type`, or of timm's `architecture`; a `*` stands for any ending.
    pub names: Vec<&'static str>,
    pub library: &'static str,
    /// How the names of the classes end that are read; empty for timm's, whose networks tell images apart.
    pub classes: Vec<&'static str>,
    /// A body without a head is read too (`…Model`): it has no loss.
    pub has_bodies: bool,
    /// Some of its layers have experts, which `functional`, `bico` and `theseus` leave as they are.
    pub has_experts: bool,
}

/// Endings of Hugging Face's classes.
const CLASSES: [&str; 10] = [
    "ForSequenceClassification",
    "ForImageClassification",
    "ForCausalLM",
    "LMHeadModel",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMaskedLM",
    WRITER,
    MARIAN_WRITER,
    ENCODER,
];
const BODY: &str = "Model";
/// A body of a family that has another side too.
const ENCODER: &str = "EncoderModel";
/// Families of which the library has no classifier of tokens.
const WITHOUT_TOKEN_CLASSIFIER: [&str; 5] = ["olmo2", "olmo3", "olmoe", "gemma3_text", "granite"];

/// Every family, in the order in which they are looked for.
pub fn entries() -> Vec<Entry> {
    let of_transformers = MODEL_TYPES.iter().map(|family| {
        let aliases = ALIASES
            .iter()
            .filter(|alias| alias.family == family.model_type);
        Entry {
            names: [family.model_type]
                .into_iter()
                .chain(aliases.map(|alias| alias.model_type))
                .collect(),
            library: "transformers",
            classes: CLASSES
                .into_iter()
                .filter(|class| family.has(class))
                .collect(),
            has_bodies: reads(family.model_type, BODY),
            has_experts: llama::has_experts(family.model_type),
        }
    });
    let of_timm = TIMM.iter().map(|timm| timm.names.to_vec());
    let of_timm = of_timm
        .chain([timm_vit::PATTERNS.to_vec()])
        .map(|names| Entry {
            names,
            library: "timm",
            classes: Vec::new(),
            has_bodies: false,
            has_experts: false,
        });

    of_transformers.chain(of_timm).collect()
}

impl Family {
    /// Whether the family has such a class, and its builder reads it.
    pub(super) fn has(&self, class: &str) -> bool {
        let [classifier, _] = self.classifier;
        let is_missing = match class {
            TOKEN_CLASSIFIER => WITHOUT_TOKEN_CLASSIFIER.contains(&self.model_type),
            ENCODER => reads(self.model_type, BODY),
            // Elsewhere it would be a body.
            MARIAN_WRITER => self.model_type != "marian",
            class => class.ends_with("Classification") && classifier == NO_CLASSIFIER,
        };
        !is_missing && reads(self.model_type, class)
    }
}

/// Whether the family's builder takes a class for its own, before it looks at any tensor.
fn reads(model_type: &str, class: &str) -> bool {
    let Some(family) = MODEL_TYPES
        .iter()
        .find(|family| family.model_type == model_type)
    else {
        return false;
    };
    let config = json!({"model_type": model_type, "architectures": [format!("X{class}")]});
    let source = Source {
        config: &config,
        signature: &Signature::new(),
        sample: None,
    };

    !matches!(
        (family.build)(&source),
        Err(GraphError::UnknownArchitecture { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_listed_with_what_its_builder_reads() {
        let entries = entries();
        let of = |name: &str| {
            entries
                .iter()
                .find(|entry| entry.names.contains(&name))
                .unwrap()
        };
        assert_eq!(of("roberta").names, ["roberta", "xlm-roberta", "camembert"]);
        assert!(
            of("camembert")
                .classes
                .contains(&"ForSequenceClassification")
        );
        assert!(!of("bert").classes.contains(&"ForCausalLM"));
        assert!(of("llama").classes.contains(&"ForCausalLM"));
        assert!(of("gpt2").classes.contains(&"LMHeadModel"));
        assert_eq!(of("vit").classes, ["ForImageClassification"]);
        assert!(of("bert").has_bodies && of("llama").has_bodies && !of("resnet18").has_bodies);
        assert!(of("bert").classes.contains(&"ForTokenClassification"));
        assert_eq!(
            of("granite").classes,
            ["ForCausalLM"],
            "the library has no other"
        );
        assert!(!of("olmo2").classes.contains(&"ForTokenClassification"));
        assert_eq!(
            of("mt5").classes,
            [
                "ForSequenceClassification",
                "ForTokenClassification",
                "ForConditionalGeneration",
                "EncoderModel"
            ]
        );
        assert_eq!(of("marian").classes, ["MTModel"]);
        for name in ["pegasus", "whisper"] {
            assert_eq!(of(name).classes, ["ForConditionalGeneration"]);
        }
        let of_both = ["ForSequenceClassification", "ForConditionalGeneration"];
        assert_eq!(of("mbart").classes, of_both);
        assert!(!of("t5").has_bodies && !of("bert").classes.contains(&ENCODER));
        assert!(of("mpnet").has_bodies && of("deberta-v2").has_bodies);
        assert_eq!(of("convnext").classes, ["ForImageClassification"]);
        assert_eq!(of("siglip").classes, ["ForImageClassification"]);
        assert!(of("dinov2").has_bodies && of("clip_vision_model").has_bodies);
        assert!(!of("clip").has_bodies && !of("resnet").has_bodies);
        assert!(of("clip_vision_model").classes.is_empty());
        assert_eq!(of("resnext50_32x4d").library, "timm");
        assert_eq!(of("tf_efficientnet_b0").names.len(), 47);
        assert!(of("mixtral").has_experts && !of("mistral").has_experts);

        assert_eq!(
            (of("resnet18").library, of("vit_*").library),
            ("timm", "timm")
        );
    }
}
