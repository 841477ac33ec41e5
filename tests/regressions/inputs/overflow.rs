//! Values that overflow on the way: nothing that holds an infinity is published, and no loss is `null`.

use retune::{
    artifacts::{Access, tensors},
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, DType, HostTensor},
    pipeline::{self, Failure},
};
use serde_json::{Value, json};

use crate::pipeline::case::{Case, FEATURES, samples};

/// What a tensor is filled with.
#[derive(Clone, Copy)]
enum Filling {
    Everywhere(f32),
    /// The others are zero.
    EveryOther(f32),
}

impl Filling {
    fn value(self, element: usize) -> f32 {
        match self {
            Self::EveryOther(_) if element % 2 == 1 => 0.0,
            Self::Everywhere(value) | Self::EveryOther(value) => value,
        }
    }
}

/// A tensor of this dtype, filled.
fn filled(like: &HostTensor, dtype: DType, filling: Filling) -> HostTensor {
    let bytes: Vec<u8> = (0..like.len())
        .map(|element| filling.value(element))
        .flat_map(|value| match dtype {
            DType::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            DType::BF16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        })
        .collect();
    HostTensor::from_bytes(dtype, like.shape().to_vec(), bytes.into()).expect("as many values")
}

/// A tuned model of which one tensor has this value where the new base has it too, so that the sum has
/// twice of it. Every other element only: `auto` takes out what points along the bases' difference.
fn case(dtype: DType, value: f32) -> (Case, Value) {
    let case = Case::fresh();
    for (name, spoilt) in [
        ("old", Filling::Everywhere(0.0)),
        ("tuned", Filling::EveryOther(value)),
        ("new", Filling::Everywhere(value)),
    ] {
        let model = case.model(name);
        let model: Checkpoint = model
            .iter()
            .map(|(tensor, found)| {
                let is_spoilt = tensor == "fc1.bias";
                let filling = if is_spoilt {
                    spoilt
                } else {
                    Filling::Everywhere(0.25)
                };
                (tensor.to_owned(), filled(found, dtype, filling))
            })
            .collect();
        case.put_weights(name, &model);
    }
    let mut spec = case.spec();
    spec.as_object_mut().expect("an object").remove("data");
    spec["methods"] = json!(["identity"]);
    (case, spec)
}

fn refused(case: &Case, spec: &Value) -> String {
    match case.run(spec) {
        Err(Failure::Input {
            code: FailureCode::Overflow,
            detail,
            ..
        }) => {
            assert!(case.left_under_output().is_empty());
            detail
        }
        other => panic!("{}: {other:?}", spec["methods"]),
    }
}

#[test]
fn a_sum_beyond_its_dtype_is_not_published() {
    for (dtype, value) in [
        (DType::F16, 50_000.0),
        (DType::F32, 3e38),
        (DType::BF16, 3e38),
    ] {
        for methods in [
            json!(["identity"]),
            json!(["weight_matching"]),
            json!("auto"),
        ] {
            let (case, mut spec) = case(dtype, value);
            spec["methods"] = methods.clone();
            let detail = refused(&case, &spec);
            let named = detail.contains("fc1.bias") && detail.contains(dtype.name());
            assert!(named, "{dtype:?} {methods}: {detail}");
        }
    }
}

#[test]
fn neither_is_one_in_the_adapter_of_the_update() {
    let (case, mut spec) = case(DType::F32, 3e38);
    spec["options"]["update"] = json!({"format": "lora", "rank": 2});
    refused(&case, &spec);
}

#[test]
fn an_adapter_scaled_beyond_every_number_is_not_published() {
    let (case, mut spec) = case(DType::F32, 0.0);
    let settings =
        json!({"peft_type": "LORA", "r": 2, "lora_alpha": 1e39, "target_modules": ["fc1"]});
    let [rows, columns] = case.model("old")["fc1.weight"].shape()[..] else {
        panic!("a matrix")
    };
    let ones = |shape: Vec<usize>| {
        let values = vec![1.0; shape.iter().product()];
        HostTensor::from_f32(shape, values)
    };
    let factors: Checkpoint = [
        (
            "base_model.model.fc1.lora_A.weight".to_owned(),
            ones(vec![2, columns]),
        ),
        (
            "base_model.model.fc1.lora_B.weight".to_owned(),
            ones(vec![rows, 2]),
        ),
    ]
    .into_iter()
    .collect();
    case.write("lora/adapter_config.json", settings.to_string());
    case.write(
        "lora/adapter_model.safetensors",
        tensors::to_bytes(&factors),
    );
    spec["source"]["trajectory"] = json!(case.uri("lora/"));
    let detail = refused(&case, &spec);
    assert!(detail.contains("fc1.weight"), "{detail}");
}

#[test]
fn a_loss_that_is_no_number_is_said_and_no_null() {
    let case = Case::fresh();
    for name in ["old", "tuned", "new"] {
        let model = case.model(name);
        let all = model.iter().map(|(tensor, t)| {
            (
                tensor.to_owned(),
                filled(t, DType::F32, Filling::Everywhere(4.0)),
            )
        });
        case.put_weights(name, &all.collect());
    }
    let (_, labels) = samples(60, 6);
    let large = HostTensor::from_f32(vec![60, FEATURES], vec![3e38; 60 * FEATURES]);
    case.put_data("large.safetensors", large, &labels);
    let scratch = case.folder.path().join("scratch");
    std::fs::create_dir_all(&scratch).expect("our own folder");
    let access = Access {
        storage: &case.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    let evaluate =
        |data: &str| pipeline::evaluate(access, &case.uri("tuned/"), &case.uri(data), None, None);
    assert!(evaluate("test.safetensors").expect("sound data")["loss"].is_number());
    let Err(Failure::Input { code, detail, .. }) = evaluate("large.safetensors") else {
        panic!("it must be refused")
    };
    assert_eq!(code, FailureCode::Overflow);
    assert!(detail.contains("preprocess"), "{detail}");
    // Nor is a model published whose loss on the test split is none.
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    for split in ["validation", "test"] {
        spec["data"][split] = json!(case.uri("large.safetensors"));
    }
    refused(&case, &spec);
}
