//! A gate by another program: what is staged, and what its judgement makes of it.

use retune::{
    artifacts::signature::{Signer, verify},
    contract::{codes::FailureCode, evaluation::EvaluationRecord, spec::Spec},
    pipeline::{self, Failure, Job, Outcome, Staged, Verdict},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::case::{Case, Silent, names_in, path_of, read_json};

struct Setting {
    case: Case,
    spec: Value,
    id: Uuid,
    signer: Option<Signer>,
}

impl Setting {
    fn with_gate(gate: Value) -> Self {
        let case = Case::fresh();
        let mut spec = case.spec();
        spec["methods"] = json!(["weight_matching"]);
        spec["name"] = json!("mail");
        spec["gate"] = gate;
        Self {
            case,
            spec,
            id: Uuid::now_v7(),
            signer: None,
        }
    }

    fn job<T>(&self, run: impl FnOnce(Job) -> T) -> T {
        let spec = Spec::from_json(&self.spec).expect("a sound job");
        let scratch = self.case.folder.path().join("scratch");
        run(Job {
            id: self.id,
            spec: &spec,
            storage: &self.case.storage,
            scratch: &scratch,
            cache: None,
            memory: None,
            signer: self.signer.as_ref(),
            progress: &Silent,
        })
    }

    fn stage(&self) -> Staged {
        self.job(pipeline::run_to_staging).expect("a sound job")
    }

    fn conclude(&self, evaluation: &EvaluationRecord) -> Outcome {
        self.job(|job| pipeline::conclude(job, Some(evaluation)))
            .expect("a staged result")
    }
}

fn answer(passed: bool) -> EvaluationRecord {
    let said =
        json!({"answered": true, "name": "judge", "passed": passed, "metrics": {"score": 0.5}});
    serde_json::from_value(said).expect("an evaluation")
}

#[test]
fn a_result_is_staged_and_gets_its_place_once_it_has_passed() {
    let setting = Setting::with_gate(json!({"min": 0.1, "external": {"name": "judge"}}));
    let Staged::Waiting(staged) = setting.stage() else {
        panic!("its own gate passes")
    };
    let staging = path_of(&staged.uri);
    assert!(staging.ends_with(format!("staging/{}", setting.id)));
    let model = std::fs::read(staging.join("model.safetensors")).unwrap();
    let files = names_in(&staging);
    assert!(
        !setting.case.path(&format!("out/{}", setting.id)).exists(),
        "nothing is published yet"
    );
    // As an attempt that follows one that died.
    let Staged::Waiting(again) = setting.stage() else {
        panic!("the same")
    };
    assert_eq!(
        (again.uri, again.manifest_sha256),
        (staged.uri, staged.manifest_sha256)
    );

    let done = setting.conclude(&answer(true));
    assert_eq!(done.verdict, Verdict::Published);
    let folder = path_of(&done.uri);
    assert!(folder.ends_with(format!("out/{}", setting.id)));
    assert_eq!(names_in(&folder), files);
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        model
    );
    let report = read_json(&folder.join("report.json"));
    assert_eq!(
        (&report["verdict"], &report["name"]),
        (&json!("published"), &json!("mail"))
    );
    assert_eq!(report["evaluation"]["metrics"], json!({"score": 0.5}));
    assert!(!staging.exists(), "the staging place is empty");
    let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(card.contains("| Job | mail |"), "{card}");
    // A worker that died between the result and its record.
    let again = setting.conclude(&answer(true));
    assert_eq!(
        (again.uri, again.manifest_sha256),
        (done.uri, done.manifest_sha256)
    );
}

#[test]
fn what_does_not_pass_is_a_report_without_a_model() {
    for (evaluation, reason) in [
        (answer(false), "judge did not pass it"),
        (
            EvaluationRecord::unanswered("judge"),
            "judge did not answer by the deadline",
        ),
    ] {
        let setting = Setting::with_gate(json!({"external": {"name": "judge"}}));
        let Staged::Waiting(staged) = setting.stage() else {
            panic!("its own gate passes")
        };
        let done = setting.conclude(&evaluation);
        assert_eq!(done.verdict, Verdict::Rejected);
        let folder = path_of(&done.uri);
        assert!(!folder.join("model.safetensors").exists());
        let report = read_json(&folder.join("report.json"));
        assert_eq!(report["verdict"], "rejected");
        let reasons = report["recommendation"]["reasons"].as_array().unwrap();
        assert!(
            reasons
                .iter()
                .any(|said| said.as_str().unwrap().contains(reason)),
            "{reasons:?}"
        );
        assert!(
            report["decision"]["sentence"]
                .as_str()
                .unwrap()
                .contains(reason)
        );
        assert_eq!(
            read_json(&folder.join("manifest.json"))["verdict"],
            "rejected"
        );
        assert!(!path_of(&staged.uri).exists());
    }
}

#[test]
fn what_the_jobs_own_gate_rejects_is_not_put_to_anybody() {
    let setting = Setting::with_gate(
        json!({"min": 1.0, "max_negative_flips": 0.0, "external": {"name": "judge"}}),
    );
    let Staged::Rejected(done) = setting.stage() else {
        panic!("its own gate rejects")
    };
    assert_eq!(done.verdict, Verdict::Rejected);
    assert!(path_of(&done.uri).ends_with(format!("out/{}", setting.id)));
    assert!(
        !setting
            .case
            .path(&format!("out/staging/{}", setting.id))
            .exists()
    );
    assert_eq!(
        read_json(&path_of(&done.uri).join("report.json")).get("evaluation"),
        None
    );
}

/// What is published is what was judged: a file of the staging place that is another by now is refused.
#[test]
fn a_staged_file_that_changed_while_it_was_judged_is_not_published() {
    for name in ["model.safetensors", "report.json", "README.md"] {
        let setting = Setting::with_gate(json!({"external": {"name": "judge"}}));
        let Staged::Waiting(staged) = setting.stage() else {
            panic!("its own gate passes")
        };
        let place = path_of(&staged.uri).join(name);
        let mut bytes = std::fs::read(&place).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(&place, bytes).unwrap();

        let done = setting
            .job(|job| pipeline::conclude(job, Some(&answer(true))))
            .expect_err("refused");
        let Failure::Internal {
            code: FailureCode::UnreadableResult,
            ..
        } = done
        else {
            panic!("{done:?}")
        };
        let published = setting
            .case
            .path(&format!("out/{}/manifest.json", setting.id));
        assert!(!published.exists(), "{name}");
    }
}

#[test]
fn a_staged_result_is_signed_anew_in_its_place() {
    let mut setting = Setting::with_gate(json!({"min": 0.1, "external": {"name": "judge"}}));
    let key = include_str!("../fixtures/signing/pkcs8.pem");
    let signer = setting.signer.insert(Signer::from_pem(key).unwrap());
    let public = signer.public().clone();
    setting.stage();
    let done = setting.conclude(&answer(true));

    let folder = setting.case.storage.check_location(&done.uri).unwrap();
    let found = verify(setting.case.storage.blocking(), &folder, &public).unwrap();
    assert_eq!((found.name, found.faults), (setting.id.to_string(), vec![]));
    let listed = &read_json(&path_of(&done.uri).join("manifest.json"))["outputs"];
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["name"])
        .collect();
    assert_eq!(
        names.iter().filter(|name| **name == "model.sig").count(),
        1,
        "{names:?}"
    );
}
