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

/// The configuration of the family's classifier, on the body that `config` is of, with as many classes
/// as its last layer has rows, under Hugging Face's placeholders. `None` where the family has no such
/// classifier, or these are not a classifier's tensors; one row is a regression.
pub fn as_classifier(config: &Value, tensors: &Signature, of: ClassOf) -> Option<Value> {
    let family = Family::of(config)?;
    let (mut architecture, mut output) = (
        family.classifier_of(config).to_owned(),
        family.classifier[1],
    );
    if architecture == NO_CLASSIFIER {
        return None;
    }
    if of == ClassOf::EveryToken {
        let stem = architecture.strip_suffix(CLASSIFIER)?;
        architecture = format!("{stem}{TOKEN_CLASSIFIER}");
        // A decoder's has the same name for both; an encoder's is one layer.
        output = if output == "score" {
            output
        } else {
            "classifier"
        };
        if !family.has(TOKEN_CLASSIFIER) {
            return None;
        }
    }
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
}
