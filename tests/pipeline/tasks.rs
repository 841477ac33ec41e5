//! Networks that tell values, several labels, an answer's ends or the words that belong in a sentence: whole jobs,
//! from files to a published result.

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::{
    artifacts::{Access, tensors},
    contract::codes::FailureCode,
    engine::{
        network::Naming,
        symmetry::Permutation,
        tensors::{Checkpoint, HostTensor},
        testing,
        training::Batch,
    },
    pipeline,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::case::{Case, number, read_json, read_tensors, refusal};
use crate::engine::networks::Network;

const LENGTH: usize = 11;
const VOCABULARY: usize = 30;
const SPLITS: [(&str, usize, u64); 3] = [("train", 60, 1), ("validation", 60, 2), ("test", 90, 3)];

/// A network and its configuration.
struct Model {
    config: Value,
    network: Network,
}

impl Model {
    /// The network of a fixture of the library.
    fn fixture(name: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/transformers");
        let bytes = std::fs::read(format!("{folder}/{name}.safetensors")).expect("a fixture");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let config = &header.metadata().as_ref().expect("metadata")["config"];
        let config: Value = serde_json::from_str(config).expect("a configuration");
        let file = SafeTensors::deserialize(&bytes).expect("a fixture");
        let shapes = file.tensors().into_iter().filter_map(|(name, view)| {
            Some((
                name.strip_prefix("param.")?.to_owned(),
                view.shape().to_vec(),
            ))
        });
        // Without what the library has and does not read.
        let all = testing::signature(shapes);
        let read = Naming::of(&config, &all).read_signature(all);
        let shapes = read.into_iter().map(|(name, info)| (name, info.shape));
        let network = Network::of(&config, shapes.collect::<Vec<_>>());
        Self { config, network }
    }

    /// A perceptron that tells two values.
    fn of_values() -> Self {
        let config = json!({"model_type": "graph", "input": {"kind": "features", "shape": [6]},
            "task": "regression", "nodes": [{"op": "linear", "param": "fc0"}, {"op": "relu"},
                {"op": "linear", "param": "fc1"}]});
        let shapes = [("fc0", [16, 6]), ("fc1", [2, 16])].into_iter();
        let shapes = shapes.flat_map(|(name, [rows, columns])| {
            [
                (format!("{name}.weight"), vec![rows, columns]),
                (format!("{name}.bias"), vec![rows]),
            ]
        });
        let network = Network::of(&config, shapes.collect::<Vec<_>>());
        Self { config, network }
    }

    fn is_of_ids(&self) -> bool {
        self.config["model_type"] != "graph"
    }

    fn inputs(&self, samples: usize, seed: u64) -> HostTensor {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        if self.is_of_ids() {
            let ids: Vec<i64> = (0..samples * LENGTH)
                .map(|_| rng.random_range(2..VOCABULARY as i64))
                .collect();
            return HostTensor::from_i64(vec![samples, LENGTH], &ids);
        }
        let values = (0..samples * 6).map(|_| rng.random_range(-1f32..1.0));
        HostTensor::from_f32(vec![samples, 6], values.collect())
    }

    /// The tuned model's own answers: it has all right.
    fn labels(&self, tuned: &Checkpoint, inputs: &HostTensor) -> HostTensor {
        let samples = inputs.shape()[0];
        let batch = Batch {
            inputs: inputs.f32().into_owned(),
            sample_shape: inputs.shape()[1..].to_vec(),
            labels: Vec::new(),
        };
        let learner = self.network.learner();
        let logits = learner.predict(tuned, &batch);
        let width = learner.classes();
        match json!(self.network.graph.task).as_str().expect("a name") {
            "regression" => HostTensor::from_f32(vec![samples, width], logits),
            "multi_label_classification" => {
                let labels: Vec<i64> = logits.iter().map(|&z| i64::from(z > 0.0)).collect();
                HostTensor::from_i64(vec![samples, width], &labels)
            }
            "question_answering" => {
                let mut labels = Vec::new();
                for sample in logits.chunks(2 * LENGTH) {
                    for end in 0..2 {
                        let of_end: Vec<f32> =
                            sample.iter().skip(end).step_by(2).copied().collect();
                        labels.push(largest(&of_end));
                    }
                }
                HostTensor::from_i64(vec![samples, 2], &labels)
            }
            "masked_token" => {
                let rows = logits.chunks(width).enumerate();
                let labels = rows.map(|(at, row)| if at % 3 == 0 { largest(row) } else { -100 });
                HostTensor::from_i64(vec![samples, LENGTH], &labels.collect::<Vec<_>>())
            }
            other => panic!("{other}"),
        }
    }

    /// A folder with bases, a tuning and data. The new base is the old one in another order of its units.
    fn case(self) -> (Case, Value) {
        let Self { config, network } = self;
        let case = Case::empty(network);
        let own = Self {
            config,
            network: Network {
                graph: case.network.graph.clone(),
                signature: case.network.signature.clone(),
            },
        };
        let old = case.network.parameters(1);
        let [a, b] = [2, 3].map(|seed| case.network.parameters(seed));
        let tuned = old.shifted(&a, &b, 0.3);
        let symmetry = case.network.symmetry();
        let order = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(4));
        let new = order.apply(&symmetry, &old);
        for (name, model) in [("old", &old), ("tuned", &tuned), ("new", &new)] {
            case.write(&format!("{name}/config.json"), own.config.to_string());
            case.put_weights(name, model);
        }
        for (name, samples, seed) in SPLITS {
            let inputs = own.inputs(samples, seed);
            let labels = own.labels(&tuned, &inputs);
            let name = format!("{name}.safetensors");
            case.write(&name, tensors::to_bytes(&own.data(inputs, Some(labels))));
        }
        let mut spec = case.spec();
        spec["methods"] = json!(["identity", "weight_matching"]);
        (case, spec)
    }

    fn data(&self, inputs: HostTensor, labels: Option<HostTensor>) -> Checkpoint {
        let name = if self.is_of_ids() {
            "input_ids"
        } else {
            "inputs"
        };
        let labels = labels.map(|labels| ("labels".to_owned(), labels));
        [(name.to_owned(), inputs)]
            .into_iter()
            .chain(labels)
            .collect()
    }
}

fn largest(row: &[f32]) -> i64 {
    (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as i64
}

fn evaluated(case: &Case, model: &str) -> Value {
    let scratch = case.folder.path().join("scratch");
    let access = Access {
        storage: &case.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    let (model, data) = (case.uri(model), case.uri("test.safetensors"));
    pipeline::evaluate(access, &model, &data, None, None).expect("sound data")
}

/// The order is found, so that the result answers as the tuned model does, and its files are the new base's.
fn is_carried(case: &Case, spec: &Value, figure: &str) -> Value {
    let found = evaluated(case, "tuned/");
    assert!(number(&found[figure]) > 1.0 - 1e-6, "{found}");
    assert!(number(&evaluated(case, "new/")[figure]) < 0.9);

    case.plan(spec).expect("headers tell the same");
    let (_, folder) = case.done(spec);
    let report = read_json(&folder.join("report.json"));
    assert_eq!(report["verdict"], "published", "{report:#}");
    assert_eq!(report["winner"], "weight_matching");
    assert!(
        number(&report["metrics"][figure]) > 0.99,
        "{:#}",
        report["metrics"]
    );
    let result = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(result.signature(), case.model("new").signature());
    assert_eq!(
        read_json(&folder.join("config.json")),
        read_json(&case.path("new/config.json"))
    );
    report
}

/// Of a regression `predictions.parquet` has the values that the models tell, two of each sample here.
fn has_values(case: &Case) {
    let [folder] = &case.left_under_output()[..] else {
        panic!("one result")
    };
    let file = std::fs::File::open(folder.join("predictions.parquet")).expect("a table");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let labels = read_tensors(&case.path("test.safetensors"))["labels"]
        .f32()
        .into_owned();
    let mut rows = 0;
    for row in reader.get_row_iter(None).expect("rows") {
        let row = row.expect("a row");
        let fields = row.get_column_iter();
        let fields: Vec<(&str, &Field)> =
            fields.map(|(name, field)| (name.as_str(), field)).collect();
        let value = |name: &str| match fields.iter().find(|(own, _)| *own == name) {
            Some((_, Field::Float(value))) => *value,
            other => panic!("{name}: {other:?}"),
        };
        for place in 0..2 {
            let label = value(&format!("label_{place}"));
            assert_eq!(label.to_bits(), labels[2 * rows + place].to_bits());
            // The new base is the old one in another order: the result tells what the old tuned model does.
            let [told, old] = ["result", "old_tuned"].map(|name| value(&format!("{name}_{place}")));
            assert!((told - label).abs() < 1e-3 && (old - label).abs() < 1e-3);
        }
        rows += 1;
    }
    assert_eq!(rows, SPLITS[2].1);
}

#[test]
fn a_regression_is_judged_by_r2() {
    let (case, mut spec) = Model::of_values().case();
    spec["methods"] = json!(["identity", "weight_matching", "fgmt", "functional"]);
    spec["gate"] = json!({"metric": "r2", "max_drop_from_source": 0.05, "min": 0.9});
    spec["fine_tune"] = json!({"epochs": 1, "learning_rate": 0.001});
    let mut carried = spec.clone();
    carried["methods"] = json!(["identity", "weight_matching"]);
    let report = is_carried(&case, &carried, "r2");
    has_values(&case);
    let metrics = &report["metrics"];
    assert_eq!(
        (&metrics["accuracy"], &metrics["source_accuracy"]),
        (&json!(null), &json!(null))
    );
    assert!(number(&metrics["source_r2"]) > 1.0 - 1e-6);
    assert!(number(&metrics["target_r2_before"]) < 0.9);
    let first = &report["candidates"][0];
    for split in ["validation", "test"] {
        assert!(first[split]["r2"].is_number() && first[split]["accuracy"].is_null());
    }
    assert!(report["baselines"]["source_tuned"]["r2"].is_number());
    assert!(report["fine_tune"]["epochs"][0]["validation_r2"].is_number());
    assert!(report["negative_flips"].is_null());
    assert!(report["decision"]["accuracy_lost_per_100"].is_null());
    let sentence = report["decision"]["sentence"].as_str().expect("a sentence");
    assert!(
        sentence.contains("of 100 parts of how the values vary"),
        "{sentence}"
    );

    // By gradients and by fits it is carried too.
    let report = case.report(&spec);
    for candidate in report["candidates"].as_array().expect("candidates") {
        assert!(candidate["test"]["r2"].is_number(), "{candidate:#}");
    }
    spec["methods"] = json!(["functional"]);
    spec["options"]["alpha"] = json!("by_group");
    assert!(number(&case.report(&spec)["metrics"]["r2"]) > 0.5);
}

#[test]
fn a_gate_by_accuracy_is_refused_where_values_are_told() {
    let (case, mut spec) = Model::of_values().case();
    spec["gate"] = json!({"max_drop_from_source": 0.05});
    let (code, pointer, detail) = case.refused(&spec);
    assert_eq!(
        (code, &*pointer),
        (FailureCode::WrongMeasure, "/gate/metric")
    );
    assert!(detail.contains("\"r2\""), "{detail}");
    assert!(case.plan(&spec).is_err());
}

/// Without labels the old tuned model's values stand in their place.
#[test]
fn a_regression_without_labels_is_judged_beside_the_old_models_values() {
    let model = Model::of_values();
    let inputs = SPLITS.map(|(name, samples, seed)| (name, model.inputs(samples, seed)));
    let (case, mut spec) = model.case();
    let model = Model::of_values();
    for (name, inputs) in inputs {
        let data = model.data(inputs, None);
        case.write(&format!("{name}.safetensors"), tensors::to_bytes(&data));
    }
    spec["gate"] = json!({"metric": "agreement", "min": 0.9});
    let report = case.report(&spec);
    assert_eq!(report["verdict"], "published", "{report:#}");
    assert!(number(&report["metrics"]["agreement"]) > 0.99);
    assert!(report["metrics"]["r2"].is_null() && report["metrics"]["accuracy"].is_null());
}

#[test]
fn several_labels_are_right_together() {
    let (case, mut spec) = Model::fixture("electra_labels").case();
    spec["gate"] = json!({"max_drop_from_source": 0.05, "max_negative_flips": 0.05});
    is_carried(&case, &spec, "accuracy");
    spec["methods"] = json!(["fgmt", "functional"]);
    assert!(case.report(&spec)["metrics"]["accuracy"].is_number());
}

#[test]
fn the_ends_of_an_answer_are_right_together() {
    let (case, mut spec) = Model::fixture("bert_spans").case();
    spec["gate"] = json!({"max_drop_from_source": 0.05, "max_negative_flips": 0.05});
    is_carried(&case, &spec, "accuracy");
    spec["methods"] = json!(["fgmt", "functional"]);
    assert!(case.report(&spec)["metrics"]["accuracy"].is_number());

    // As the library names them.
    let data = read_tensors(&case.path("test.safetensors"));
    let labels = data["labels"].f32().into_owned();
    let mut named: Checkpoint = [("input_ids".to_owned(), data["input_ids"].clone())]
        .into_iter()
        .collect();
    for (at, name) in ["start_positions", "end_positions"].into_iter().enumerate() {
        let ends: Vec<i64> = labels
            .iter()
            .skip(at)
            .step_by(2)
            .map(|&end| end as i64)
            .collect();
        named.insert(name, HostTensor::from_i64(vec![ends.len()], &ends));
    }
    let before = evaluated(&case, "new/");
    case.write("test.safetensors", tensors::to_bytes(&named));
    let after = evaluated(&case, "new/");
    assert_eq!(
        (&before["accuracy"], &before["loss"]),
        (&after["accuracy"], &after["loss"])
    );
}

#[test]
fn a_masked_language_model_is_judged_by_the_tokens_that_are_asked_for() {
    for name in ["bert_words", "bert_words_apart"] {
        let (case, mut spec) = Model::fixture(name).case();
        spec["gate"] = json!({"max_drop_from_source": 0.05});
        is_carried(&case, &spec, "accuracy");
        spec["methods"] = json!(["fgmt", "functional"]);
        assert!(case.report(&spec)["metrics"]["accuracy"].is_number());
    }
}

/// Published files of BERT have the heads of all of its pre-training.
#[test]
fn the_rest_of_a_pretraining_is_left_out_of_a_language_model() {
    let (case, spec) = Model::fixture("bert_words").case();
    let width = case.model("new")["bert.embeddings.LayerNorm.weight"].len();
    for name in ["old", "new"] {
        let mut model = case.model(name);
        for (tensor, shape) in [
            ("bert.pooler.dense.weight", vec![width, width]),
            ("cls.seq_relationship.weight", vec![2, width]),
        ] {
            let size = shape.iter().product();
            model.insert(tensor, HostTensor::from_f32(shape, vec![0.5; size]));
        }
        case.put_weights(name, &model);
    }
    assert!(evaluated(&case, "new/")["accuracy"].is_number());
    let (_, folder) = case.done(&spec);
    let result = read_tensors(&folder.join("model.safetensors"));
    assert_eq!(result.signature(), case.model("tuned").signature());
    assert_eq!(
        read_json(&folder.join("report.json"))["head"]["left_out"],
        json!(["bert.pooler.dense.weight", "cls.seq_relationship.weight"])
    );
}

#[test]
fn labels_that_a_task_has_not_are_refused_and_named() {
    let of = |case: &Case, labels: HostTensor| {
        let mut data = read_tensors(&case.path("test.safetensors"));
        data.insert("labels", labels);
        case.write("test.safetensors", tensors::to_bytes(&data));
    };
    let samples = SPLITS[2].1;
    let floats = |value: f32, each: usize| {
        HostTensor::from_f32(vec![samples, each], vec![value; samples * each])
    };
    let whole = |value: i64, each: usize| {
        HostTensor::from_i64(vec![samples, each], &vec![value; samples * each])
    };
    let (values, several, ends) = ("", "electra_labels", "bert_spans");
    for (name, labels, code) in [
        (values, floats(f32::NAN, 2), FailureCode::NotFinite),
        (values, floats(f32::INFINITY, 2), FailureCode::NotFinite),
        (values, floats(0.5, 3), FailureCode::WrongShape),
        (values, whole(1, 2), FailureCode::WrongDtype),
        (several, whole(2, 3), FailureCode::LabelOutOfRange),
        (several, floats(0.5, 3), FailureCode::LabelOutOfRange),
        (several, whole(1, 2), FailureCode::WrongShape),
        (ends, whole(-1, 2), FailureCode::LabelOutOfRange),
        (ends, whole(LENGTH as i64, 2), FailureCode::EmptyDataset),
        (ends, whole(1, 3), FailureCode::WrongShape),
        (ends, floats(1.0, 2), FailureCode::WrongDtype),
    ] {
        let model = if name.is_empty() {
            Model::of_values()
        } else {
            Model::fixture(name)
        };
        let (case, spec) = model.case();
        of(&case, labels);
        let (found, pointer, detail) = case.refused(&spec);
        assert_eq!((found, &*pointer), (code, "/data/test"), "{name}: {detail}");
        // What headers show, a plan refuses too.
        if [FailureCode::WrongShape, FailureCode::WrongDtype].contains(&code) {
            assert_eq!(refusal(case.plan(&spec)), (code, Some(pointer)), "{name}");
        }
    }

    // One end within the sentence and one beyond it is no answer.
    let (case, spec) = Model::fixture(ends).case();
    let pairs: Vec<i64> = (0..samples).flat_map(|_| [2, LENGTH as i64]).collect();
    of(&case, HostTensor::from_i64(vec![samples, 2], &pairs));
    let (code, _, detail) = case.refused(&spec);
    assert_eq!(code, FailureCode::LabelOutOfRange);
    assert!(detail.contains("sample 0 has an answer"), "{detail}");
}
