//! Whole jobs on a GPU, by the command.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::{apart, choice};
use crate::{
    pipeline::case::{Case, number, path_of, read_json, read_model},
    support::retune,
};

/// Of losses, and of the result over the spread of each tensor.
const BOUND: f64 = 1e-3;

fn on(device: &str) -> Command {
    let mut command = retune();
    command.env("RETUNE_WORKER_DEVICE", device);
    command
}

/// Exit code, and what it prints as JSON.
fn said(command: &mut Command) -> (Option<i32>, Value) {
    let done = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    let said = serde_json::from_str(&said).unwrap_or(json!(format!("{said}{complaint}")));
    (done.status.code(), said)
}

/// The folder of the result of a job on a device.
fn transferred(case: &Case, device: &str) -> PathBuf {
    let mut spec = case.spec();
    spec["methods"] = json!([
        "identity",
        "weight_matching",
        "gmt",
        "fgmt",
        "bico",
        "theseus",
        "gradfix",
        "functional"
    ]);
    spec["output"] = json!(case.uri(&format!("out_{device}/")));
    let file = format!("spec_{device}.json");
    case.write(&file, spec.to_string());

    let job = &mut on(device);
    let (exit, outcome) = said(job.args(["transfer", "--json"]).arg(case.path(&file)));
    assert_eq!(exit, Some(0), "{outcome}");
    path_of(outcome["uri"].as_str().expect("a URI"))
}

#[test]
fn a_job_ends_as_it_ends_on_the_cpu() {
    let case = Case::fresh();
    let (own, right) = (transferred(&case, &choice()), transferred(&case, "cpu"));
    let (worst, tensor) = apart(&read_model(&right), &read_model(&own));
    println!("the model: {worst:.1e} ({tensor})");
    assert!(worst < BOUND, "{worst:.1e} ({tensor})");

    let [own, right] = [own, right].map(|folder| read_json(&folder.join("report.json")));
    assert_eq!(own["winner"], right["winner"]);
    assert_eq!(own["verdict"], right["verdict"]);
    let losses = [&own, &right].map(|report| number(&report["metrics"]["loss"]));
    assert!((losses[0] - losses[1]).abs() < BOUND, "{losses:?}");

    // It says what computed.
    assert_eq!(right["environment"]["device"], "cpu");
    let device = own["environment"]["device"].as_str().expect("a name");
    println!("{device}");
    assert!(device.len() > 3 && device != "cpu", "{device}");
    assert!(number(&own["timing"]["gpu_seconds"]) > 0.0);
    assert_eq!(right["timing"]["gpu_seconds"], Value::Null);
}

#[test]
fn a_plan_names_the_device_and_what_it_holds() {
    let case = Case::fresh();
    case.write("spec.json", case.spec().to_string());
    let plan = |device: &str| {
        let (exit, plan) = said(
            on(device)
                .args(["plan", "--json"])
                .arg(case.path("spec.json")),
        );
        assert_eq!(exit, Some(0), "{plan}");
        plan
    };
    let own = plan(&choice());
    assert_eq!(own["device"], choice());
    assert!(number(&own["device_memory_bytes"]) > 0.0);
    let right = plan("cpu");
    assert_eq!(right["device"], "cpu");
    assert_eq!(right["device_memory_bytes"], Value::Null);
}

#[test]
fn an_evaluation_ends_as_on_the_cpu() {
    let case = Case::fresh();
    let evaluated = |device: &str| {
        let command = &mut on(device);
        let (model, data) = (case.path("tuned"), case.path("test.safetensors"));
        command.arg("evaluate").arg(model).arg("--data").arg(data);
        let (exit, found) = said(command.arg("--json"));
        assert_eq!(exit, Some(0), "{found}");
        found
    };
    let (own, right) = (evaluated(&choice()), evaluated("cpu"));
    assert_eq!(own["accuracy"], right["accuracy"]);
    assert!((number(&own["loss"]) - number(&right["loss"])).abs() < 1e-5);
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let case = Case::fresh();
    case.write("spec.json", case.spec().to_string());
    let command = &mut on(&choice());
    command.env("RETUNE_WORKER_DEVICE_MEMORY_BYTES", "2000");
    let (exit, refused) = said(
        command
            .args(["transfer", "--json"])
            .arg(case.path("spec.json")),
    );
    assert_eq!(exit, Some(2), "{refused}");
    assert_eq!(refused["error"]["code"], "needs_memory", "{refused}");
    let detail = refused["error"]["detail"].as_str().expect("words");
    assert!(detail.contains("worker.device_memory_bytes"), "{detail}");
    assert!(case.left_under_output().is_empty());
}

/// Neither a machine without a driver nor one with a software driver alone computes by surprise.
#[test]
fn where_there_is_no_gpu_it_is_refused() {
    let case = Case::fresh();
    case.write("spec.json", case.spec().to_string());
    let mut without = on("gpu");
    without
        .env("VK_DRIVER_FILES", "/no/such/driver.json")
        .env("VK_ICD_FILENAMES", "/no/such/driver.json");
    let mut commands = vec![without];
    if choice() == "software" {
        commands.push(on("gpu"));
    }

    for mut command in commands {
        let (exit, refused) = said(
            command
                .args(["transfer", "--json"])
                .arg(case.path("spec.json")),
        );
        assert_eq!(exit, Some(1), "{refused}");
        assert_eq!(refused["error"]["code"], "device_refused", "{refused}");
        let detail = refused["error"]["detail"].as_str().expect("words");
        // Without Vulkan there may be OpenGL, by software as well.
        let is_named = ["none is found", "computes on the CPU"]
            .iter()
            .any(|why| detail.contains(why));
        assert!(is_named && detail.contains("worker.device"), "{detail}");
    }
}
