//! Model folders, trajectories and datasets, sound and not.

mod datasets;
mod trajectories;

use retune::{
    artifacts::{Access, ArtifactError, ModelFolder, tensors},
    contract::codes::FailureCode,
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
