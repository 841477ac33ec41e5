use serde_json::{Value, json};

use super::*;
use crate::{
    contract::{plan::SampleCounts, spec::Spec},
    engine::{
        network::Graph,
        symmetry::Symmetry,
        tensors::{DType, Signature, TensorInfo},
        training::{DeviceNeeds, Load},
    },
    pipeline::plan::work::Matching,
};

/// Speeds of one second a unit of one kind of work.
fn speeds(of: &str) -> Speeds {
    let mut all = json!({"version": 1, "threads": 1, "product": 0.0, "similarity": 0.0,
        "convolution": 0.0, "light": 0.0, "heavy": 0.0, "node": 0.0, "arithmetic": 0.0, "assignment": 0.0,
        "byte": 0.0});
    all[of] = json!(1.0);
    serde_json::from_value(all).unwrap()
}

fn spec(methods: &Value) -> Spec {
    Spec::from_json(&json!({
        "source": {"base": "s3://m/a/", "trajectory": "s3://m/b/"},
        "target": {"base": "s3://m/c/"},
        "data": {"train": "s3://m/d.safetensors"},
        "methods": methods,
        "options": {"timesteps": 3, "batch_size": 8, "alpha": 1.0},
        "output": "s3://m/out/",
    }))
    .unwrap()
}

#[test]
fn a_perceptron_by_hand() {
    let document = json!({"input": {"kind": "features", "shape": [3]}, "nodes": [
        {"op": "linear", "param": "a"}, {"op": "relu"}, {"op": "linear", "param": "b"}]});
    let graph = Graph::from_document(&document).unwrap();
    let info = |shape: &[usize]| TensorInfo {
        dtype: DType::F32,
        shape: shape.to_vec(),
    };
    let signature = Signature::from([
        ("a.weight".into(), info(&[4, 3])),
        ("a.bias".into(), info(&[4])),
        ("b.weight".into(), info(&[2, 4])),
    ]);
    let program = graph.resolve(&signature).unwrap();
    let matching = Matching::of(&Symmetry::of(&program), &signature);
    // One group of four units over 12 + 4 + 8 values.
    assert_eq!((matching.flops, matching.units), (2.0 * 4.0 * 24.0, 16.0));
    assert_eq!((matching.elements, matching.separable), (48.0, true));
    let spec = spec(&json!(["fgmt"]));
    let job = Job {
        spec: &spec,
        methods: &[Method::Fgmt],
        timesteps: 3,
        parameters: 24,
        largest_tensor: 12,
        load: Load::of(&program),
        device: DeviceNeeds::of(&program, &signature, 1),
        has_batch_norm: false,
        samples: SampleCounts {
            train: 20,
            ..SampleCounts::default()
        },
        bytes: Bytes {
            models: 288,
            data: 400,
            held: 400,
            result: 96,
        },
        matching,
    };
    let seconds = |of: &str| job.estimate(&speeds(of)).seconds;
    assert_eq!(
        job.estimate(&speeds("product")).seconds_least,
        seconds("product")
    );
    // Three solves of one new pair each and the anchor; 2 · 3 · 8 gradients of 3 · 2 · 20 FLOPs.
    assert!((seconds("similarity") - 4.0 * 192.0).abs() < 1e-6);
    assert!((seconds("product") - 48.0 * 120.0).abs() < 1e-6);
    assert!((seconds("assignment") - 3.0 * 16.0).abs() < 1e-6);
    assert!((seconds("byte") - (288.0 + 400.0 + 96.0)).abs() < 1e-6);
    assert!((seconds("light") - 48.0 * 4.0).abs() < 1e-6);
    assert!((seconds("node") - 6.0 * 3.0).abs() < 1e-6);
}
