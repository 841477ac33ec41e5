//! Files beside a model's weights: other forms of the same weights are no part of a result, and named.

use serde_json::json;

use crate::pipeline::case::{Case, names_in, read_json};

#[test]
fn a_bases_weights_in_other_forms_are_left_out_and_named() {
    let case = Case::fresh();
    let weights = [
        "tf_model.h5",
        "flax_model.msgpack",
        "rust_model.ot",
        "model.onnx",
        "model.onnx_data",
        "Q4.GGUF",
        "openvino_model.xml",
        "pytorch_model.bin.index.json",
        "pytorch_model-00001-of-00002.bin",
        "model.fp16.safetensors",
        "adapter_config.json",
        "onnx/model.onnx",
        "openvino/openvino_model.xml",
    ];
    let carried = [
        "tokenizer.json",
        "vocab.txt",
        "LICENSE",
        "special.py",
        "chat_template.jinja",
    ];
    for name in weights.iter().chain(&carried) {
        case.write(&format!("new/{name}"), b"{}");
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    let (_, folder) = case.done(&spec);
    let found = names_in(&folder);
    let own = [
        "README.md",
        "config.json",
        "manifest.json",
        "model.safetensors",
        "report.json",
    ];
    let mut wanted: Vec<&str> = own.iter().chain(&carried).copied().collect();
    wanted.extend(["permutation.safetensors", "predictions.parquet"]);
    wanted.sort_unstable();
    assert_eq!(found, wanted);

    let report = read_json(&folder.join("report.json"));
    let left_out = report["left_out"].as_array().expect("a list");
    for name in weights {
        let named = name
            .split_once('/')
            .map_or(name.to_owned(), |(folder, _)| format!("{folder}/"));
        assert!(left_out.contains(&json!(named)), "{named} in {left_out:?}");
        assert!(
            report["warnings"].to_string().contains(&named),
            "{}",
            report["warnings"]
        );
    }
    assert!(
        !left_out.contains(&json!("model.safetensors")),
        "{left_out:?}"
    );
}
