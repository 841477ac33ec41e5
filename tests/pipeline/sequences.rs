//! From sequence to sequence: a new base with its units in another order, and data with target sequences.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::{
    artifacts::tensors,
    contract::codes::FailureCode,
    engine::{
        symmetry::Permutation,
        tensors::{Checkpoint, HostTensor},
    },
};
use serde_json::{Value, json};

use super::case::{Case, number, read_json, read_tensors};
use crate::engine::{fixtures, planted::relative_error};

/// Ids lie between those of padding and of the fixtures' vocabulary.
const IDS: std::ops::Range<i64> = 3..30;
const SENTENCE: usize = 11;
const TARGET: usize = 7;

/// A job's folder with the models of a fixture: the new base is the old one in another order.
struct Models {
    case: Case,
    expected: Checkpoint,
    of_sound: bool,
}

impl Models {
    fn of(name: &str) -> Self {
        let found = fixtures::all("transformers")
            .into_iter()
            .find(|fixture| fixture.name == name);
        let fixture = found.expect(name);
        let case = Case::empty(fixture.network);
        let parameters = |seed| case.network.parameters(seed);
        let old = parameters(1);
        let tuned = old.shifted(&parameters(2), &parameters(3), 0.1);
        let symmetry = case.network.symmetry();
        let order = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(4));
        let new = order.apply(&symmetry, &old);
        let expected = order.apply(&symmetry, &tuned);

        for (name, model) in [("old", &old), ("tuned", &tuned), ("new", &new)] {
            case.write(&format!("{name}/config.json"), fixture.config.to_string());
            case.put_weights(name, model);
        }
        let of_sound = name == "whisper";
        let models = Self {
            case,
            expected,
            of_sound,
        };
        for (file, seed) in [("train", 5), ("validation", 6), ("test", 7)] {
            models.put(file, models.columns(40, seed));
        }
        models
    }

    fn put(&self, file: &str, columns: Vec<(&str, HostTensor)>) {
        let columns = columns
            .into_iter()
            .map(|(name, tensor)| (name.to_owned(), tensor));
        let data: Checkpoint = columns.collect();
        self.case
            .write(&format!("{file}.safetensors"), tensors::to_bytes(&data));
    }

    /// Sentences or features with target sequences, of which every third is shorter.
    fn columns(&self, samples: usize, seed: u64) -> Vec<(&'static str, HostTensor)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<i64> = (0..samples * TARGET)
            .map(|at| {
                let is_short = at / TARGET % 3 == 2 && at % TARGET > 4;
                if is_short {
                    -100
                } else {
                    rng.random_range(IDS)
                }
            })
            .collect();
        let labels = (
            "labels",
            HostTensor::from_i64(vec![samples, TARGET], &labels),
        );
        if self.of_sound {
            let features: Vec<f32> = (0..samples * 5 * 12)
                .map(|_| rng.random_range(-1.0..1.0))
                .collect();
            let features = HostTensor::from_f32(vec![samples, 5, 12], features);
            return vec![("input_features", features), labels];
        }

        let shape = vec![samples, SENTENCE];
        let ids: Vec<i64> = (0..samples * SENTENCE)
            .map(|_| rng.random_range(IDS))
            .collect();
        let mask: Vec<i64> = (0..samples * SENTENCE)
            .map(|at| i64::from((at / SENTENCE).is_multiple_of(2) || at % SENTENCE < 8))
            .collect();
        vec![
            ("input_ids", HostTensor::from_i64(shape.clone(), &ids)),
            ("attention_mask", HostTensor::from_i64(shape, &mask)),
            labels,
        ]
    }

    fn spec(&self, methods: &Value) -> Value {
        let mut spec = self.case.spec();
        spec["methods"] = methods.clone();
        spec["options"] = json!({"timesteps": 2, "batch_size": 16});
        spec
    }
}

#[test]
fn what_writes_is_carried_to_a_base_in_another_order() {
    for name in ["t5_writer", "mbart_writer", "whisper"] {
        let models = Models::of(name);
        for method in ["weight_matching", "fgmt"] {
            let spec = models.spec(&json!([method]));
            models.case.plan(&spec).expect("headers are enough");
            let (_, folder) = models.case.done(&spec);

            let found = read_tensors(&folder.join("model.safetensors"));
            for (tensor, expected) in models.expected.iter() {
                let off = relative_error(&found[tensor].f32(), &expected.f32());
                assert!(off < 1e-5, "{name}, {method}: {tensor} is {off:e} off");
            }
            let report = read_json(&folder.join("report.json"));
            assert_eq!(report["network"], "graph");
            assert_eq!(report["verdict"], "published", "{name}, {method}");
        }
    }
}

/// Every rung that `auto` takes can be climbed, and a model that is trained on learns.
#[test]
fn all_methods_run_from_sequence_to_sequence() {
    let models = Models::of("t5_writer");
    let named = [
        "identity",
        "functional",
        "gmt",
        "bico",
        "theseus",
        "gradfix",
    ];
    let mut spec = models.spec(&json!(named));
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.01});
    let report = models.case.report(&spec);
    let tried = report["candidates"].as_array().expect("candidates");
    assert_eq!(tried.len(), named.len());
    for candidate in tried {
        let loss = number(&candidate["validation"]["loss"]);
        assert!(loss.is_finite(), "{candidate}");
    }
}

#[test]
fn data_that_a_decoder_cannot_read_are_refused_by_name() {
    let models = Models::of("bart_writer");
    let columns = models.columns(12, 5);
    let without = |name: &str| {
        let kept = columns.iter().filter(|(column, _)| *column != name);
        kept.cloned().collect::<Vec<_>>()
    };
    let with_labels = |shape: Vec<usize>| {
        let labels = vec![5; shape.iter().product()];
        let mut columns = without("labels");
        columns.push(("labels", HostTensor::from_i64(shape, &labels)));
        columns
    };
    let mut own = columns.clone();
    own.push(("decoder_input_ids", columns[2].1.clone()));
    for (columns, code, word) in [
        (without("labels"), FailureCode::LabelsMissing, "[N, T]"),
        (with_labels(vec![12]), FailureCode::WrongShape, "[N, T]"),
        (with_labels(vec![12, 15]), FailureCode::WrongShape, "target"),
        (own, FailureCode::UnexpectedTensor, "decoder_input_ids"),
    ] {
        models.put("train", columns);
        let spec = models.spec(&json!(["identity"]));
        let planned = models.case.plan(&spec).map_err(|error| error.to_string());
        let planned = planned.expect_err("headers show it");
        assert!(planned.contains(word), "{planned}");
        let (found, pointer, detail) = models.case.refused(&spec);
        assert_eq!((found, pointer.as_str()), (code, "/data/train"), "{detail}");
        assert!(detail.contains(word), "{detail}");
    }
}

/// peft has a module of words for each side, and one of position biases: an adapter has them all, and is read back.
#[test]
fn an_adapter_has_every_module_of_a_table() {
    let models = Models::of("t5_tokens");
    let case = &models.case;
    let mut spec = models.spec(&json!(["identity"]));
    spec.as_object_mut().expect("an object").remove("data");
    spec["options"] = json!({"alpha": 1.0, "update": {"format": "lora", "rank": 16}});
    let (_, folder) = case.done(&spec);

    let adapter = read_tensors(&folder.join("adapter/adapter_model.safetensors"));
    let side = "base_model.model.transformer.encoder";
    let words = &adapter[format!("{side}.embed_tokens.weight").as_str()];
    let shared = &adapter["base_model.model.transformer.shared.weight"];
    assert_eq!(words.bytes(), shared.bytes());
    let bias = format!("{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
    assert!(adapter.get(&bias).is_some());
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["update"]["left_out"], json!([]));

    spec["source"]["base"] = json!(case.uri("new/"));
    spec["source"]["trajectory"] = json!(format!("file://{}/", folder.join("adapter").display()));
    spec["options"] = json!({"alpha": 1.0});
    let (_, again) = case.done(&spec);
    let [expected, found] = [folder, again].map(|at| read_tensors(&at.join("model.safetensors")));
    for (tensor, expected) in expected.iter() {
        let off = relative_error(&found[tensor].f32(), &expected.f32());
        assert!(off < 1e-4, "{tensor} is {off:e} off");
    }
}
