//! The configuration of a classifier on a body, where a file has its tensors and nobody its name.

use serde_json::{Map, Value, json};

use super::{
    Family, NO_CLASSIFIER,
    suffixes::{CLASSIFIER, TOKEN_CLASSIFIER},
};
use crate::tensors::Signature;

/// What a classifier tells the class of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassOf {
    Sample,
    EveryToken,
}

/// A family's classifier.
struct Classifier {
    /// Its name among `architectures`.
    architecture: String,
    /// The module of its last layer.
    output: &'static str,
}

impl Classifier {
    /// That of the configuration's family; `None` where it has no such classifier.
    fn of(config: &Value, of: ClassOf) -> Option<Self> {
        let family = Family::of(config)?;
        let [_, output] = family.classifier;
        let architecture = family.classifier_of(config);
        if architecture == NO_CLASSIFIER {
            return None;
        }
        if of == ClassOf::Sample {
            return Some(Self {
                architecture: architecture.to_owned(),
                output,
            });
        }

        let stem = architecture.strip_suffix(CLASSIFIER)?;
        // A decoder's has the same name for both; an encoder's is one layer.
        let output = if output == "score" {
            output
        } else {
            "classifier"
        };
        family.has(TOKEN_CLASSIFIER).then(|| Self {
            architecture: format!("{stem}{TOKEN_CLASSIFIER}"),
            output,
        })
    }
}

/// The module of a family's classifier whose last layer a model lacks: it is a body, or has the head of another task.
/// `None` where it has that layer, and where the family has no such classifier.
pub fn missing_classifier(
    config: &Value,
    tensors: &Signature,
    of: ClassOf,
) -> Option<&'static str> {
    let Classifier { output, .. } = Classifier::of(config, of)?;
    let is_there = tensors.contains_key(&format!("{output}.weight"));
    let module = output.split('.').next()?;
    (!is_there).then_some(module)
}

/// The configuration of the family's classifier, on the body that `config` is of, with as many classes
/// as its last layer has rows, under Hugging Face's placeholders. `None` where the family has no such
/// classifier, or these are not a classifier's tensors; one row is a regression.
pub fn as_classifier(config: &Value, tensors: &Signature, of: ClassOf) -> Option<Value> {
    let Classifier {
        architecture,
        output,
    } = Classifier::of(config, of)?;
    let &[classes @ (2..), _] = &tensors.get(&format!("{output}.weight"))?.shape[..] else {
        return None;
    };
    let by_number = (0..classes).map(|class| (class.to_string(), json!(placeholder(class))));
    let by_name = (0..classes).map(|class| (placeholder(class), json!(class)));

    let mut config = config.clone();
    let fields = config.as_object_mut()?;
    fields.insert("architectures".into(), json!([architecture]));
    fields.insert(
        "id2label".into(),
        Value::Object(by_number.collect::<Map<_, _>>()),
    );
    fields.insert(
        "label2id".into(),
        Value::Object(by_name.collect::<Map<_, _>>()),
    );
    for key in ["num_labels", "problem_type"] {
        fields.remove(key);
    }

    Some(config)
}

fn placeholder(class: usize) -> String {
    format!("LABEL_{class}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::{DType, TensorInfo};

    #[test]
    fn a_head_tells_the_classifier_and_its_classes() {
        let head = |name: &str, shape: &[usize]| {
            let info = TensorInfo {
                dtype: DType::F32,
                shape: shape.to_vec(),
            };
            Signature::from([(name.to_owned(), info)])
        };
        let config = json!({"model_type": "llama", "architectures": ["LlamaForCausalLM"],
            "num_labels": 7, "vocab_size": 9});
        let sample = ClassOf::Sample;
        let found = as_classifier(&config, &head("score.weight", &[3, 8]), sample).unwrap();
        assert_eq!(
            found["architectures"],
            json!(["LlamaForSequenceClassification"])
        );
        assert_eq!(
            found["id2label"],
            json!({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})
        );
        assert_eq!(found["label2id"]["LABEL_2"], 2);
        assert_eq!(
            (&found["num_labels"], &found["vocab_size"]),
            (&Value::Null, &json!(9))
        );
        assert_eq!(
            as_classifier(&config, &head("classifier.weight", &[3, 8]), sample),
            None
        );
        assert_eq!(
            as_classifier(
                &json!({"model_type": "graph"}),
                &head("fc.weight", &[3, 8]),
                sample
            ),
            None
        );
        let config = json!({"model_type": "roberta"});
        let two = head("classifier.out_proj.weight", &[2, 8]);

        assert!(as_classifier(&config, &two, sample).is_some());
    }

    #[test]
    fn the_head_of_every_token_is_one_layer() {
        let head = |name: &str| {
            let info = TensorInfo {
                dtype: DType::F32,
                shape: vec![5, 8],
            };
            Signature::from([(name.to_owned(), info)])
        };
        let class = |model_type: &str, name: &str| {
            let config = json!({"model_type": model_type});
            let found = as_classifier(&config, &head(name), ClassOf::EveryToken)?;
            found["architectures"][0].as_str().map(str::to_owned)
        };
        let of_roberta = class("camembert", "classifier.weight");
        assert_eq!(
            of_roberta.as_deref(),
            Some("CamembertForTokenClassification")
        );
        let of_llama = class("llama", "score.weight");
        assert_eq!(of_llama.as_deref(), Some("LlamaForTokenClassification"));
        assert_eq!(class("gpt2", "classifier.weight"), None);

        assert_eq!(class("vit", "classifier.weight"), None);
    }

    /// What a model lacks of its family's classifier is named by the module that peft saves whole.
    #[test]
    fn a_classifier_that_is_missing_is_named() {
        let info = TensorInfo {
            dtype: DType::F32,
            shape: vec![3, 8],
        };
        let with = |name: &str| Signature::from([(name.to_owned(), info.clone())]);
        let missing = |model_type: &str, tensors: &Signature, of| {
            missing_classifier(&json!({"model_type": model_type}), tensors, of)
        };
        let body = with("shared.weight");
        for (model_type, module) in [
            ("t5", "classification_head"),
            ("mbart", "classification_head"),
            ("electra", "classifier"),
            ("qwen3", "score"),
        ] {
            assert_eq!(missing(model_type, &body, ClassOf::Sample), Some(module));
        }
        let whole = with("classification_head.out_proj.weight");
        assert_eq!(missing("t5", &whole, ClassOf::Sample), None);
        assert_eq!(
            missing("t5", &whole, ClassOf::EveryToken),
            Some("classifier")
        );

        assert_eq!(missing("marian", &body, ClassOf::Sample), None);
    }
}
