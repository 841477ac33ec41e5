//! Jobs that need more memory than there is, and numbers that no memory holds.

use retune::{contract::codes::FailureCode, pipeline::Failure};
use serde_json::json;

use crate::{
    engine::networks::{Network, mlp},
    pipeline::case::{Case, Silent},
    support::retune,
};

/// What a job's own plan puts above the worker's memory is refused before anything large is read.
#[test]
fn a_job_that_needs_more_memory_than_there_is_is_refused() {
    let case = Case::fresh();
    let run = |memory| case.run_within(&case.spec(), &Silent, Some(memory));

    let Err(Failure::Input { code, detail, .. }) = run(1 << 20) else {
        panic!("the job is refused")
    };
    assert_eq!(code, FailureCode::NeedsMemory);
    assert!(detail.contains("worker.memory_bytes"), "{detail}");
    run(4 << 30).expect("enough memory");
}

/// A file of three megabytes whose widest layer has forty thousand units: their order is solved for in a matrix of
/// twelve gigabytes.
#[test]
fn a_small_file_that_asks_for_a_large_matrix_is_refused_before_it_is_made() {
    let case = Case::empty(mlp(&[6, 40_000, 3]));
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        case.put_model(name, &case.network.parameters(seed));
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching"]);
    spec.as_object_mut().expect("an object").remove("data");

    let Err(Failure::Input { code, .. }) = case.run_within(&spec, &Silent, Some(2 << 30)) else {
        panic!("the job is refused")
    };
    assert_eq!(code, FailureCode::NeedsMemory);
    let planned = case.plan(&spec).expect("headers are enough")["estimate"]["memory_bytes"].clone();
    assert!(
        planned.as_f64().is_some_and(|bytes| bytes > 6e9),
        "{planned}"
    );
}

/// Products of such numbers wrap where nobody checks them; the plan, the job and the command line say which it is.
#[test]
fn numbers_that_no_memory_holds_are_refused_by_plan_and_job() {
    let config = |padding: u64| {
        json!({"model_type": "graph", "input": {"kind": "image", "shape": [1, 8, 8]}, "nodes": [
            {"op": "conv2d", "param": "c", "padding": padding}, {"op": "relu"},
            {"op": "global_avg_pool"}, {"op": "linear", "param": "fc"}]})
    };
    let shapes = vec![
        ("c.weight".to_owned(), vec![4, 1, 3, 3]),
        ("c.bias".to_owned(), vec![4]),
        ("fc.weight".to_owned(), vec![3, 4]),
        ("fc.bias".to_owned(), vec![3]),
    ];
    let case = Case::empty(Network::of(&config(1), shapes));
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        case.put_model(name, &case.network.parameters(seed));
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching"]);
    spec.as_object_mut().expect("an object").remove("data");

    let vit = |size: u64| {
        json!({"model_type": "vit", "architectures": ["ViTForImageClassification"], "image_size": size,
            "patch_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1, "hidden_size": 4,
            "intermediate_size": 8})
    };
    let strange = [1 << 31, 1 << 62, u64::MAX].map(config);
    for config in strange.into_iter().chain([vit(1 << 62)]) {
        for name in ["old", "tuned", "new"] {
            case.write(&format!("{name}/config.json"), config.to_string());
        }
        for refused in [case.plan(&spec).map(drop), case.run(&spec).map(drop)] {
            let Err(Failure::Input { code, pointer, .. }) = refused else {
                panic!("{config}: {refused:?}")
            };
            assert!(
                [FailureCode::MalformedGraph, FailureCode::MissingTensor].contains(&code),
                "{code}: {config}"
            );
            assert!(pointer.is_some_and(|at| at.ends_with("/base")), "{config}");
        }
        case.write("job.json", spec.to_string());
        let ran = retune()
            .args(["transfer"])
            .arg(case.path("job.json"))
            .output();
        let ran = ran.expect("the program runs");
        assert_eq!(
            ran.status.code(),
            Some(2),
            "{config}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}

/// Whether a job fits into memory is known from its plan: a job without a plan is not run to find out.
#[test]
fn a_job_that_cannot_be_planned_is_refused_where_memory_is_limited() {
    let case = Case::fresh();
    case.write("test.safetensors", 8u64.to_le_bytes());
    let refused = |memory| match case.run_within(&case.spec(), &Silent, memory) {
        Err(Failure::Input { code, pointer, .. }) => (code, pointer.unwrap_or_default()),
        other => panic!("{other:?}"),
    };

    let expected = (FailureCode::Truncated, "/data/test".to_owned());
    assert_eq!(refused(Some(4 << 30)), expected);
    assert_eq!(refused(None), expected, "a run says the same");
    assert!(case.left_under_output().is_empty());
}
