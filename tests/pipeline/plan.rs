//! A plan's estimate, and what it remembers of this machine.

use std::{fs, path::Path};

use retune::{
    artifacts::{tensors, testing::write_model},
    contract::codes::FailureCode,
    engine::{
        tensors::{Checkpoint, DType, HostTensor},
        testing::Llama,
    },
    pipeline::Failure,
};
use serde_json::{Value, json};

use super::case::{Case, read_json, refusal};
use crate::support::retune;

fn by_command(case: &Case, cache: &Path) -> Value {
    case.write("spec.json", case.spec().to_string());
    let done = retune()
        .args(["plan", "--json"])
        .arg(case.path("spec.json"))
        .env("RETUNE_WORKER_CACHE_DIR", cache)
        .output()
        .expect("the program runs");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    serde_json::from_slice(&done.stdout).expect("JSON")
}

#[test]
fn phases_add_up_and_the_machines_speed_is_remembered() {
    let case = Case::fresh();
    let cache = case.folder.path().join("cache");
    let plan = by_command(&case, &cache);
    let estimate = &plan["estimate"];
    let sum = |field: &str| -> f64 {
        let phases = estimate["phases"].as_array().expect("phases");
        phases
            .iter()
            .map(|phase| phase[field].as_f64().expect("a number"))
            .sum()
    };
    let total = |field: &str| estimate[field].as_f64().expect("a number");
    assert!(total("seconds") > 0.0 && (sum("seconds") - total("seconds")).abs() < 1e-3);
    assert!((sum("flops") - total("flops")).abs() < 1.0);
    // Three models of f32.
    let parameters = plan["parameters"].as_u64().expect("a count");
    let data = ["train", "validation", "test"].map(|name| {
        fs::metadata(case.path(&format!("{name}.safetensors")))
            .unwrap()
            .len()
    });
    assert_eq!(
        estimate["read_bytes"],
        3 * 4 * parameters + data.iter().sum::<u64>()
    );
    assert!(total("memory_bytes") > 1e7);

    let file = cache.join("speed.json");
    let remembered = fs::read_to_string(&file).expect("it is written");
    let speed = |plan: &Value| plan["speeds"]["product"].as_f64().expect("a number");
    let again = by_command(&case, &cache);
    assert!(
        (speed(&again) / speed(&plan) - 1.0).abs() < 1e-12,
        "not measured again"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), remembered);
    let mut speeds: Value = serde_json::from_str(&remembered).unwrap();
    speeds["product"] = json!(-1.0);
    for wrong in [String::new(), "{".into(), "[]".into(), speeds.to_string()] {
        fs::write(&file, &wrong).expect("our own file");
        let plan = by_command(&case, &cache);
        assert!(speed(&plan) > 0.0);
        assert_ne!(fs::read_to_string(&file).unwrap(), wrong, "it is mended");
    }
}

/// Nobody knows how many rungs `auto` needs: the sum of all is the most, the first alone the least.
#[test]
fn the_ladder_is_estimated_from_its_first_rung_to_its_last() {
    let case = Case::fresh();
    let seconds = |methods: Value| {
        let mut spec = case.spec();
        spec["methods"] = methods;
        let plan = case.plan(&spec).expect("a sound job");
        ["seconds_least", "seconds"].map(|name| plan["estimate"][name].as_f64().expect("a number"))
    };
    let [least, most] = seconds(json!("auto"));
    assert!(0.0 < least && 2.0 * least < most, "{least} … {most}");
    for methods in [json!(["identity"]), json!(["identity", "gmt"])] {
        let [least, most] = seconds(methods);
        assert_eq!(least, most, "named methods all run");
    }
}

/// What a candidate takes is told before: to the sample where nothing is searched, else the most of it.
#[test]
fn sample_counts_are_those_of_the_report() {
    let perceptron = Case::fresh();
    let normed = Case::normed();
    for case in [&perceptron, &normed] {
        let mut spec = case.spec();
        spec["methods"] = json!([
            "identity",
            "weight_matching",
            "gmt",
            "fgmt",
            "gradfix",
            "bico",
            "theseus",
            "oracle"
        ]);
        spec["options"]["gradfix_on"] = json!("fgmt");
        let searched = counts(case, &spec);
        spec["options"]["step"] = json!("last");
        spec["options"]["alpha"] = json!(1.0);
        let fixed = counts(case, &spec);
        for one in &fixed {
            assert_eq!(one.gradients.planned, one.gradients.done, "{}", one.method);
            // What another method has found before is not evaluated again: its 60 validation samples, and
            // the statistics of 120.
            let spared = one.forwards.planned - one.forwards.done;
            assert!([0, 60, 180].contains(&spared), "{one:?}");
        }
        assert!(
            fixed
                .iter()
                .filter(|one| one.forwards.planned == one.forwards.done)
                .count()
                > 4
        );
        for one in &searched {
            assert_eq!(one.gradients.planned, one.gradients.done, "{}", one.method);
            assert!(one.forwards.done <= one.forwards.planned, "{one:?}");
        }
    }
}

/// A count of the plan, and the report's.
#[derive(Debug)]
struct Count {
    planned: u64,
    done: u64,
}

#[derive(Debug)]
struct Counts {
    method: String,
    gradients: Count,
    forwards: Count,
}

fn counts(case: &Case, spec: &Value) -> Vec<Counts> {
    let plan = case.plan(spec).expect("a sound job");
    let report = read_json(&case.done(spec).1.join("report.json"));
    let count = |of: &Value, name: &str| of[name].as_u64().expect("a count");
    // A candidate's own count ends before it is judged on the test split.
    let test = plan["samples"]["test"].as_u64().expect("a count");
    rows(&plan["methods"])
        .iter()
        .zip(rows(&report["candidates"]))
        .map(|(planned, done)| {
            assert_eq!(planned["method"], done["method"]);
            let [gradients, forwards] = ["sample_gradients", "sample_forwards"].map(|name| Count {
                planned: count(planned, name),
                done: count(done, name),
            });
            let forwards = Count {
                done: forwards.done + test,
                ..forwards
            };
            let method = done["method"].as_str().expect("a name").to_owned();
            Counts {
                method,
                gradients,
                forwards,
            }
        })
        .collect()
}

fn rows(list: &Value) -> &Vec<Value> {
    list.as_array().expect("a list")
}

#[test]
fn samples_that_the_network_does_not_read_are_refused_by_their_headers() {
    let case = Case::fresh();
    let inputs = HostTensor::from_f32(vec![4, 7], vec![0.5; 28]);
    case.put_data("test.safetensors", inputs, &[0, 1, 2, 0]);
    for failure in [case.plan(&case.spec()).err(), case.run(&case.spec()).err()] {
        let Some(Failure::Input {
            code,
            pointer,
            detail,
        }) = failure
        else {
            panic!("it is refused: {failure:?}")
        };
        assert_eq!(
            (code, pointer.as_deref()),
            (FailureCode::WrongInputShape, Some("/data/test"))
        );
        assert!(
            detail.contains("shape [7]") && detail.contains("reads [6]"),
            "{detail}"
        );
    }
}

/// A job that must be refused: by its plan as by its run.
fn is_refused(case: &Case, spec: &Value, code: FailureCode, pointer: &str) {
    let expected = (code, Some(pointer.to_owned()));
    assert_eq!(refusal(case.run(spec)), expected, "the run");
    assert_eq!(refusal(case.plan(spec)), expected, "the plan");
}

#[test]
fn what_headers_show_of_the_data_is_refused_before_a_run() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["data"]["preprocess"] = json!({"mean": [0.1, 0.2], "std": [1.0, 1.0]});
    is_refused(&case, &spec, FailureCode::InvalidPreprocess, "/data/train");

    let llama = Llama {
        hidden: 16,
        intermediate: 16,
        layers: 1,
        heads: 2,
        kv_heads: 1,
        vocabulary: 20,
        positions: 16,
        classes: 3,
    };
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        let folder = case.path(name);
        fs::remove_dir_all(&folder).expect("our own");
        let model = llama.model(DType::F32, seed, None);
        write_model(&folder, &llama.config(), &model, 1).expect("our own");
    }
    let whole =
        |shape: &[usize]| HostTensor::from_i64(shape.to_vec(), &vec![1; shape.iter().product()]);
    let put = |more: &[(&str, HostTensor)]| {
        let ids = ("input_ids", whole(&[40, 5]));
        let all = [ids].into_iter().chain(more.iter().cloned());
        let data: Checkpoint = all
            .map(|(name, tensor)| (name.to_owned(), tensor))
            .collect();
        for name in ["train", "validation", "test"] {
            case.write(&format!("{name}.safetensors"), tensors::to_bytes(&data));
        }
    };
    let spec = case.spec();
    put(&[("labels", whole(&[40]))]);
    case.plan(&spec).expect("sound data");
    put(&[
        ("labels", whole(&[40])),
        ("token_type_ids", whole(&[40, 5])),
    ]);
    is_refused(&case, &spec, FailureCode::UnexpectedTensor, "/data/train");
    put(&[("labels", whole(&[40, 5]))]);
    is_refused(&case, &spec, FailureCode::WrongShape, "/data/train");
    let mut spec = spec;
    spec["data"]["preprocess"] = json!({"mean": [0.1], "std": [1.0]});
    put(&[("labels", whole(&[40]))]);
    is_refused(&case, &spec, FailureCode::InvalidPreprocess, "/data/train");
}

/// A network whose output is not what its task needs.
#[test]
fn a_network_without_its_tasks_output_is_refused_before_a_run() {
    let case = Case::fresh();
    for name in ["old", "tuned", "new"] {
        let file = format!("{name}/config.json");
        let mut config = read_json(&case.path(&file));
        config["task"] = json!("question_answering");
        case.write(&file, config.to_string());
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    spec.as_object_mut().expect("an object").remove("data");
    is_refused(&case, &spec, FailureCode::MalformedGraph, "/target/base");
}

/// Models that are read a range at a time are not counted as if they were held.
#[test]
fn the_memory_of_what_is_streamed_does_not_grow_with_the_model() {
    let case = Case::fresh();
    let llama = |vocabulary| Llama {
        hidden: 64,
        intermediate: 64,
        layers: 1,
        heads: 4,
        kv_heads: 2,
        vocabulary,
        positions: 16,
        classes: 3,
    };
    let memory = |vocabulary: usize| {
        let llama = llama(vocabulary);
        for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
            let folder = case.path(name);
            let _ = fs::remove_dir_all(&folder);
            let model = llama.model(DType::BF16, seed, None);
            write_model(&folder, &llama.config(), &model, 1).expect("our own");
        }
        let mut spec = case.spec();
        spec["methods"] = json!(["identity", "weight_matching"]);
        spec.as_object_mut().expect("an object").remove("data");
        let plan = case.plan(&spec).expect("a sound job");
        let bytes = |at: usize| {
            plan["methods"][at]["memory_bytes"]
                .as_f64()
                .expect("a number")
        };
        (
            bytes(0),
            bytes(1),
            plan["estimate"]["memory_bytes"].as_f64().expect("a number"),
        )
    };
    let large = memory(600_000);
    assert!(large.0 < 120e6, "identity: {large:?}");
    assert!(
        large.1 < 600e6 && large.1 <= large.2,
        "weight matching: {large:?}"
    );
}
