//! Model folders, trajectories and datasets, sound and not.

use retune::{
    artifacts::{
        Access, ArtifactError, ModelFolder, Trajectory,
        dataset::{self, Reading},
        names, tensors,
    },
    contract::{codes::FailureCode, spec::Preprocess},
    engine::tensors::{Checkpoint, HostTensor},
};
use serde_json::json;

use crate::support::files::TestStorage;

fn weights(value: f32) -> Vec<u8> {
    tensors::to_bytes(&named("fc.weight", value))
}

fn named(name: &str, value: f32) -> Checkpoint {
    [(
        name.to_owned(),
        HostTensor::from_f32(vec![2], vec![value; 2]),
    )]
    .into_iter()
    .collect()
}

fn put_model(test: &TestStorage, folder: &str, value: f32) {
    test.write(
        &format!("{folder}/config.json"),
        r#"{"model_type":"graph"}"#,
    );
    test.write(&format!("{folder}/model.safetensors"), weights(value));
}

fn look(test: &TestStorage, path: &str) -> Result<ModelFolder, ArtifactError> {
    let location = test.storage.check_location(&test.uri(path)).unwrap();
    ModelFolder::look(test.storage.blocking(), &location)
}

fn with_access<T>(test: &TestStorage, run: impl FnOnce(&Access<'_>) -> T) -> T {
    let scratch = test.scratch();
    run(&Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    })
}

#[test]
fn a_model_is_opened_with_its_digests() {
    let test = TestStorage::on_files();
    put_model(&test, "m", 1.5);
    test.write("m/vocab.txt", "a b");
    test.write("m/optimizer.pt", "never touched");
    test.write("m/README.md", "# M");
    let folder = look(&test, "m/").unwrap();
    let others = |folder: &ModelFolder| -> Vec<String> {
        folder
            .other_files
            .iter()
            .map(|f| f.key.to_string())
            .collect()
    };
    assert_eq!(others(&folder), ["vocab.txt"]);
    // A sentence transformer's modules lie in folders; others are none of the model's.
    test.write("m/1_Pooling/config.json", "{}");
    test.write("m/2_Dense/model.safetensors", weights(1.0));
    test.write("m/2_Dense/pytorch_model.bin", "never touched");
    test.write("m/onnx/model.onnx", "x");
    assert_eq!(others(&look(&test, "m/").unwrap()), ["vocab.txt"]);
    test.write("m/modules.json", "[]");
    let with_modules = look(&test, "m/").unwrap();
    assert_eq!(
        others(&with_modules),
        ["modules.json", "vocab.txt", "1_Pooling/config.json"]
    );
    // What is behind the network reads channels that the transfer may have moved.
    let left_out = [
        "optimizer.pt",
        "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin",
        "onnx/",
    ];
    assert!(
        left_out
            .iter()
            .all(|name| with_modules.left_out.iter().any(|found| found == name))
    );
    let signature = folder.signature(test.storage.blocking()).unwrap();
    let model = with_access(&test, |access| folder.open(access)).unwrap();
    assert_eq!(model.checkpoint.signature(), signature);
    assert_eq!(model.checkpoint["fc.weight"].f32().as_ref(), [1.5, 1.5]);
    assert_eq!(model.inputs.len(), 2);
    assert!(
        model
            .inputs
            .iter()
            .any(|i| i.sha256 == retune::storage::sha256_of(&weights(1.5)))
    );
}

#[test]
fn shards_are_joined_and_their_index_is_held_to_its_word() {
    let test = TestStorage::on_files();
    let index = |map: serde_json::Value| json!({"weight_map": map}).to_string();
    test.write("m/config.json", "{}");
    test.write("m/one.safetensors", tensors::to_bytes(&named("a", 1.0)));
    test.write("m/two.safetensors", tensors::to_bytes(&named("b", 2.0)));
    let path = "m/model.safetensors.index.json";
    let code = || {
        let folder = look(&test, "m")?;
        folder.signature(test.storage.blocking())?;
        with_access(&test, |access| folder.open(access))
    };
    test.write(
        path,
        index(json!({"a": "one.safetensors", "b": "two.safetensors"})),
    );
    assert_eq!(code().unwrap().checkpoint["b"].f32().as_ref(), [2.0, 2.0]);
    for (map, expected) in [
        (
            json!({"a": "one.safetensors", "b": "../m/two.safetensors"}),
            FailureCode::MalformedIndex,
        ),
        (
            json!({"a": "one.safetensors", "b": "/etc/two.safetensors"}),
            FailureCode::MalformedIndex,
        ),
        (
            json!({"a": "one.safetensors", "b": "two.bin"}),
            FailureCode::MalformedIndex,
        ),
        (json!({}), FailureCode::MalformedIndex),
        (
            json!({"a": "one.safetensors", "b": "one.safetensors"}),
            FailureCode::MissingTensor,
        ),
        (json!({"b": "one.safetensors"}), FailureCode::MalformedIndex),
        (
            json!({"a": "one.safetensors", "b": "three.safetensors"}),
            FailureCode::NotFound,
        ),
    ] {
        test.write(path, index(map.clone()));
        assert_eq!(code().unwrap_err().code(), expected, "{map}");
    }
}

#[test]
fn what_is_no_model_is_said_to_be_none() {
    let test = TestStorage::on_files();
    test.write("pickled/config.json", "{}");
    test.write("pickled/pytorch_model.bin", "x");
    test.write("weights/model.safetensors", weights(1.0));
    test.write("list/model.safetensors", weights(1.0));
    test.write("list/config.json", "[]");
    test.write("broken/model.safetensors", weights(1.0));
    test.write("broken/config.json", "{");
    test.write("lora/adapter_config.json", "{}");
    for (path, expected) in [
        ("pickled", FailureCode::PickleRefused),
        ("tuned.pt", FailureCode::PickleRefused),
        ("weights", FailureCode::MissingConfig),
        ("list", FailureCode::MalformedConfig),
        ("broken", FailureCode::MalformedConfig),
        ("lora", FailureCode::NotFound),
        ("nowhere", FailureCode::NotFound),
        ("weights/model.safetensors", FailureCode::NotFound),
    ] {
        let error = look(&test, path).unwrap_err();
        assert_eq!(error.code(), expected, "{path}: {error}");
        assert!(error.is_input());
    }
    assert!(
        look(&test, "pickled")
            .unwrap_err()
            .to_string()
            .contains("retune convert")
    );
}

fn trajectory(test: &TestStorage, path: &str) -> Result<Vec<(u64, String)>, ArtifactError> {
    let place = |path: &str| test.storage.check_location(&test.uri(path)).unwrap();
    let found = Trajectory::look(test.storage.blocking(), &place(path), &place("base"))?;
    let root = format!("{}/", test.uri("").trim_end_matches('/'));
    let name = |step: &retune::artifacts::trajectory::TunedStep| {
        (step.step, step.model.to_string().replace(&root, ""))
    };
    Ok(found.checkpoints.iter().map(name).collect())
}

fn steps(list: &[(u64, &str)]) -> Vec<(u64, String)> {
    list.iter()
        .map(|(step, model)| (*step, (*model).to_owned()))
        .collect()
}

#[test]
fn the_three_forms_of_a_trajectory_are_read() {
    let test = TestStorage::on_files();
    put_model(&test, "tuned", 1.0);
    assert_eq!(
        trajectory(&test, "tuned").unwrap(),
        steps(&[(0, "base"), (1, "tuned")])
    );
    for n in [5, 10, 100] {
        put_model(&test, &format!("trainer/checkpoint-{n}"), 1.0);
    }
    test.write("trainer/checkpoint-x/readme", "");
    assert_eq!(
        trajectory(&test, "trainer").unwrap(),
        steps(&[
            (0, "base"),
            (5, "trainer/checkpoint-5"),
            (10, "trainer/checkpoint-10"),
            (100, "trainer/checkpoint-100"),
        ])
    );
    let list = json!({"format": "retune-trajectory/1", "checkpoints": [
        {"step": 0, "model": "step-000000/"}, {"step": 9, "model": "later/step-000009/"}]});
    test.write("listed/trajectory.json", list.to_string());
    assert_eq!(
        trajectory(&test, "listed").unwrap(),
        steps(&[(0, "listed/step-000000"), (9, "listed/later/step-000009")])
    );
}

#[test]
fn trajectories_that_lead_nowhere_are_refused() {
    let test = TestStorage::on_files();
    let listed = |checkpoints: serde_json::Value| {
        let list = json!({"format": "retune-trajectory/1", "checkpoints": checkpoints});
        test.write("t/trajectory.json", list.to_string());
        trajectory(&test, "t").unwrap_err().code()
    };
    assert_eq!(listed(json!([])), FailureCode::EmptyTrajectory);
    assert_eq!(
        listed(json!([{"step": 0, "model": "a"}])),
        FailureCode::EmptyTrajectory
    );
    for model in ["../base", "/etc", "a/../../b", "s3://b/a", ""] {
        let two = json!([{"step": 0, "model": "a"}, {"step": 1, "model": model}]);
        assert_eq!(listed(two), FailureCode::MalformedTrajectory, "{model}");
    }
    let twice = json!([{"step": 3, "model": "a"}, {"step": 3, "model": "b"}]);
    assert_eq!(listed(twice), FailureCode::MalformedTrajectory);
    test.write(
        "t/trajectory.json",
        r#"{"format":"other/1","checkpoints":[]}"#,
    );
    assert_eq!(
        trajectory(&test, "t").unwrap_err().code(),
        FailureCode::MalformedTrajectory
    );
    assert_eq!(
        trajectory(&test, "nowhere").unwrap_err().code(),
        FailureCode::EmptyTrajectory
    );
    for (settings, code) in [
        ("{}", FailureCode::MalformedConfig),
        (
            r#"{"peft_type":"LORA","r":0,"lora_alpha":1}"#,
            FailureCode::MalformedConfig,
        ),
        (
            r#"{"peft_type":"LOHA","r":1,"lora_alpha":1}"#,
            FailureCode::NotImplemented,
        ),
        (
            r#"{"peft_type":"LORA","r":1,"lora_alpha":1,"use_qalora":true}"#,
            FailureCode::NotImplemented,
        ),
    ] {
        test.write("lora/adapter_config.json", settings);
        assert_eq!(
            trajectory(&test, "lora").unwrap_err().code(),
            code,
            "{settings}"
        );
    }
    test.write("tuned.pt", "x");
    assert_eq!(
        trajectory(&test, "tuned.pt").unwrap_err().code(),
        FailureCode::PickleRefused
    );
}

fn put_data(test: &TestStorage, inputs: HostTensor, labels: HostTensor) {
    let data: Checkpoint = [("inputs".to_owned(), inputs), ("labels".to_owned(), labels)]
        .into_iter()
        .collect();
    test.write("d.safetensors", tensors::to_bytes(&data));
}

fn read_data(
    test: &TestStorage,
    preprocess: Option<&Preprocess>,
) -> Result<retune::engine::training::Dataset, ArtifactError> {
    let place = test
        .storage
        .check_location(&test.uri("d.safetensors"))
        .unwrap();
    let reading = Reading {
        preprocess,
        ..Reading::default()
    };
    let read = with_access(test, |access| dataset::read(access, &place, reading));
    // What values do not decide, the header decides already.
    if let Err(error) = dataset::look(&test.storage, &place, None) {
        assert_eq!(read.as_ref().unwrap_err().code(), error.code());
    }
    read.map(|(data, _)| data)
}

#[test]
fn bytes_and_floats_are_read_as_samples() {
    let test = TestStorage::on_files();
    let pixels = HostTensor::from_bytes(
        retune::engine::tensors::DType::U8,
        vec![2, 1, 1, 2],
        vec![0, 51, 102, 255].into(),
    );
    put_data(
        &test,
        pixels.unwrap(),
        HostTensor::from_i64(vec![2], &[1, 0]),
    );
    let data = read_data(&test, None).unwrap();
    assert_eq!((data.len(), data.sample_shape()), (2, &[1, 1, 2][..]));
    assert_eq!(data.batch(&[1]).inputs, [0.4, 1.0]);
    let preprocess = Preprocess {
        mean: vec![0.5],
        std: vec![0.5],
    };
    assert_eq!(
        read_data(&test, Some(&preprocess))
            .unwrap()
            .batch(&[1])
            .inputs[1],
        1.0
    );
    // As a specification has it that names every field.
    let nothing = Preprocess {
        mean: vec![],
        std: vec![],
    };
    assert_eq!(
        read_data(&test, Some(&nothing)).unwrap().batch(&[1]).inputs,
        [0.4, 1.0]
    );
    let preprocess = Preprocess {
        mean: vec![0.5; 3],
        std: vec![0.5; 3],
    };
    let error = read_data(&test, Some(&preprocess)).unwrap_err();
    assert_eq!(error.code(), FailureCode::InvalidPreprocess);
}

#[test]
fn each_fault_of_a_dataset_has_its_code() {
    let test = TestStorage::on_files();
    let floats =
        |shape: &[usize]| HostTensor::from_f32(shape.to_vec(), vec![0.5; shape.iter().product()]);
    let labels = |labels: &[i64]| HostTensor::from_i64(vec![labels.len()], labels);
    let nan = HostTensor::from_f32(vec![1, 2], vec![0.0, f32::NAN]);
    for (inputs, labels, expected) in [
        (floats(&[2, 3]), labels(&[0]), FailureCode::WrongShape),
        (floats(&[2]), labels(&[0, 1]), FailureCode::WrongShape),
        (floats(&[2, 0]), labels(&[0, 1]), FailureCode::WrongShape),
        (floats(&[0, 3]), labels(&[]), FailureCode::EmptyDataset),
        (floats(&[2, 3]), floats(&[2]), FailureCode::WrongDtype),
        (labels(&[1]), labels(&[1]), FailureCode::WrongDtype),
        (
            floats(&[2, 3]),
            labels(&[0, -1]),
            FailureCode::LabelOutOfRange,
        ),
        (nan, labels(&[0]), FailureCode::NotFinite),
    ] {
        put_data(&test, inputs, labels);
        let error = read_data(&test, None).unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
    }
    test.write("d.pt", "x");
    let pickle = test.storage.check_location(&test.uri("d.pt")).unwrap();
    assert_eq!(
        dataset::look(&test.storage, &pickle, None)
            .unwrap_err()
            .code(),
        FailureCode::PickleRefused
    );
    test.write("d.safetensors", weights(1.0));
    assert_eq!(
        read_data(&test, None).unwrap_err().code(),
        FailureCode::MissingTensor
    );
    let place = test
        .storage
        .check_location(&test.uri("d.safetensors"))
        .unwrap();
    assert!(dataset::check_labels(&[0, 9], 10, &place).is_ok());
    let error = dataset::check_labels(&[0, 10], 10, &place).unwrap_err();
    assert_eq!(error.code(), FailureCode::LabelOutOfRange);
    assert!(
        error.to_string().contains("sample 1 has the label 10"),
        "{error}"
    );
}

/// A plan compares lists of tokens by their digests, and reads none that both models have.
#[test]
fn lists_of_tokens_are_told_apart_without_being_parsed() {
    let test = TestStorage::on_files();
    for (folder, list) in [
        ("a", "{no JSON"),
        ("b", "{no JSON"),
        ("c", "{no json"),
        ("d", "{}"),
    ] {
        put_model(&test, folder, 1.0);
        test.write(&format!("{folder}/tokenizer.json"), list);
    }
    put_model(&test, "e", 1.0);
    let same = |one: &str, other: &str| {
        let folders = [look(&test, one).unwrap(), look(&test, other).unwrap()];
        let files = folders.each_ref().map(|folder| &folder.other_files[..]);
        names::same_vocabulary(test.storage.blocking(), files).unwrap()
    };
    assert!(same("a/", "a/") && same("a/", "b/"));
    for other in ["c/", "d/", "e/"] {
        assert!(!same("a/", other), "{other}");
    }
    assert!(!same("e/", "e/"), "there is none");
}
