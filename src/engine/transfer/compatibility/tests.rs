//! What is named of two models that differ, and which head is adopted.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::tensors::{Checkpoint, DType, HostTensor, testing::headers as model};

fn compared(of: &str, own: &Signature, than: &str, other: &Signature) -> Result<(), Incompatible> {
    compare(
        NamedSignature {
            name: of,
            signature: own,
        },
        NamedSignature {
            name: than,
            signature: other,
        },
    )
}

fn configured<'a>(config: &'a Value, signature: &'a Signature) -> Configured<'a> {
    Configured { config, signature }
}

#[test]
fn the_first_differences_are_named() {
    let a = model(&[("w", DType::F32, &[2, 3]), ("b", DType::BF16, &[2])]);
    assert_eq!(
        compared(
            "a",
            &a,
            "b",
            &model(&[("w", DType::F16, &[2, 3]), ("b", DType::F32, &[2])])
        ),
        Ok(())
    );
    let other = model(&[("w", DType::F32, &[3, 2]), ("c", DType::F32, &[2])]);
    let error = compared("the source", &a, "the target", &other)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("w is [2, 3] here and [3, 2] there"),
        "{error}"
    );
    assert!(
        error.contains("b is missing in the target")
            && error.contains("c is missing in the source"),
        "{error}"
    );
}

#[test]
fn a_head_that_the_bases_lack_is_adopted_with_its_task() {
    let same = OtherClasses::default();
    let config =
        json!({"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 9});
    let task = json!({"model_type": "bert", "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "no", "1": "yes"}, "vocab_size": 7});
    let body = ("bert.x.weight", DType::BF16, &[2usize, 2][..]);
    let base = model(&[body, ("cls.bias", DType::F32, &[9])]);
    let tuned = model(&[body, ("classifier.weight", DType::F32, &[2, 2])]);
    let head = AdoptedHead::find(configured(&task, &tuned), [&base, &base], &config, same).unwrap();
    assert_eq!(
        head.tensors,
        BTreeSet::from(["classifier.weight".to_owned()])
    );
    assert_eq!(head.left_out, BTreeSet::from(["cls.bias".to_owned()]));
    assert_eq!(
        head.config["architectures"][0],
        "BertForSequenceClassification"
    );
    assert_eq!(head.config["id2label"]["1"], "yes");
    assert_eq!(head.config["vocab_size"], 9, "the body is the base's own");
    let with = head.on_signature(base.clone(), &tuned);
    assert_eq!(compared("with", &with, "tuned", &tuned), Ok(()));
    let value = |v: f32, dtype| HostTensor::from_f32_as(dtype, vec![1], vec![v]);
    let pair = |name: &str, v, dtype| (name.to_owned(), value(v, dtype));
    let plain: Checkpoint = [
        pair("bert.x.weight", 1.0, DType::BF16),
        pair("cls.bias", 2.0, DType::F32),
    ]
    .into_iter()
    .collect();
    let from: Checkpoint = [pair("classifier.weight", 3.0, DType::F32)]
        .into_iter()
        .collect();
    let with = head.on_old(&plain, &from);
    let found: Vec<_> = with
        .iter()
        .map(|(n, t)| (n, t.dtype(), t.f32()[0]))
        .collect();
    assert_eq!(
        found,
        [
            ("bert.x.weight", DType::BF16, 1.0),
            ("classifier.weight", DType::BF16, 3.0)
        ]
    );
    // A head that both have, and a body's tensor that is missing, are no such case.
    assert_eq!(
        AdoptedHead::find(configured(&task, &tuned), [&tuned, &tuned], &task, same),
        None
    );
    let deeper = model(&[body, ("bert.y.weight", DType::F32, &[2, 2])]);
    assert_eq!(
        AdoptedHead::find(configured(&task, &deeper), [&tuned, &tuned], &task, same),
        None
    );
}
