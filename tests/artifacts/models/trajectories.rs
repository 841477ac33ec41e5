//! The three forms of a trajectory.

use retune::{
    artifacts::{ArtifactError, Trajectory},
    contract::codes::FailureCode,
};
use serde_json::json;

use super::put_model;
use crate::support::files::TestStorage;

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
