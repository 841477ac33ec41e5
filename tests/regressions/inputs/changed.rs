//! Inputs on files that change while a job reads them: no manifest may name a digest that the result does
//! not come from.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use retune::{
    artifacts::{
        Access,
        dataset::{self, Reading},
        tensors::InputChanged,
    },
    contract::codes::FailureCode,
    pipeline::{self, Failure, Phase},
};
use serde_json::json;

use crate::pipeline::case::{Case, OnPhase};

/// Does something once, when a phase begins.
fn at(wanted: Phase, deed: impl Fn() + Send + Sync) -> OnPhase<impl Fn(Phase) + Send + Sync> {
    let once = Once::new();
    OnPhase(move |phase| {
        if phase == wanted {
            once.call_once(&deed);
        }
    })
}

/// How a file becomes another.
#[derive(Clone, Copy, Debug)]
enum Change {
    InPlace,
    ByRename,
    Shorter,
    Removed,
}

fn change(case: &Case, name: &str, how: Change) {
    let path = case.path(name);
    let mut bytes = fs::read(&path).expect("a file");
    let last = bytes.len() - 1;
    bytes[last] ^= 0x10;
    match how {
        Change::InPlace => fs::write(&path, &bytes).expect("our own file"),
        Change::ByRename => {
            let beside = path.with_extension("next");
            fs::write(&beside, &bytes).expect("our own file");
            fs::rename(&beside, &path).expect("our own file");
        }
        Change::Shorter => {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .expect("our own file");
            file.set_len(last as u64 / 2).expect("our own file");
        }
        Change::Removed => fs::remove_file(&path).expect("our own file"),
    }
}

fn scratch(case: &Case) -> PathBuf {
    let folder = case.folder.path().join("scratch");
    fs::create_dir_all(&folder).expect("our own folder");
    folder
}

/// The pointer of the refusal of a job during which this changes.
fn refused(name: &str, how: Change, phase: Phase) -> String {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    let progress = at(phase, || change(&case, name, how));
    let done = case.run_with(&spec, &progress);
    let Err(Failure::Input {
        code: FailureCode::InputChanged,
        pointer,
        detail,
    }) = done
    else {
        panic!("{name} {how:?}: {done:?}")
    };
    assert!(detail.contains(name), "{detail}");
    assert!(case.left_under_output().is_empty(), "{name} {how:?}");
    pointer.expect("a pointer")
}

#[test]
fn a_model_that_changes_after_it_was_opened_is_refused() {
    for (name, pointer) in [
        ("old/model.safetensors", "/source/base"),
        ("tuned/model.safetensors", "/source/trajectory"),
        ("new/model.safetensors", "/target/base"),
    ] {
        for how in [
            Change::InPlace,
            Change::ByRename,
            Change::Shorter,
            Change::Removed,
        ] {
            assert_eq!(
                refused(name, how, Phase::Diagnosing),
                pointer,
                "{name} {how:?}"
            );
        }
    }
    assert_eq!(
        refused("new/model.safetensors", Change::InPlace, Phase::Publishing),
        "/target/base"
    );
    assert_eq!(
        refused("new/model.safetensors", Change::Shorter, Phase::Publishing),
        "/target/base"
    );
}

#[test]
fn configurations_and_data_are_watched_too() {
    for (name, pointer) in [
        ("old/config.json", "/source/base"),
        ("new/config.json", "/target/base"),
        ("validation.safetensors", "/data/validation"),
    ] {
        for how in [Change::InPlace, Change::ByRename] {
            assert_eq!(
                refused(name, how, Phase::Evaluating),
                pointer,
                "{name} {how:?}"
            );
        }
    }
}

/// Who touches a page of a mapped file that its owner has cut off is killed: samples are read by position.
#[test]
fn data_that_are_cut_off_while_a_job_reads_them_are_refused() {
    for (name, pointer) in [
        ("validation.safetensors", "/data/validation"),
        ("test.safetensors", "/data/test"),
    ] {
        for phase in [Phase::Diagnosing, Phase::Evaluating] {
            assert_eq!(
                refused(name, Change::Shorter, phase),
                pointer,
                "{name} {phase:?}"
            );
        }
    }
}

#[test]
fn samples_of_a_file_that_is_cut_off_are_an_error() {
    let case = Case::fresh();
    let place = case
        .storage
        .check_location(&case.uri("test.safetensors"))
        .expect("a root");
    let scratch = scratch(&case);
    let access = Access {
        storage: &case.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    let (data, _) = dataset::read(&access, &place, Reading::default()).expect("sound data");
    let last = data.len() - 1;
    let whole = data.batch(&[3, 4, last]);

    // Samples lie behind the labels.
    let file = fs::OpenOptions::new()
        .write(true)
        .open(case.path("test.safetensors"));
    let file = file.expect("our own file");
    let length = file.metadata().expect("our own file").len();
    file.set_len(length - 4).expect("our own file");

    let again = InputChanged::catch(|| data.batch(&[3, 4])).expect("these are still there");
    assert_eq!(again.inputs, whole.inputs[..again.inputs.len()]);
    let changed = InputChanged::catch(|| data.batch(&[3, 4, last])).expect_err("the last is not");
    assert!(
        changed.location.ends_with("test.safetensors"),
        "{changed:?}"
    );
}

/// `retune evaluate` reads a model as lazily as a job does, and figures of a mixture of two models are none.
#[test]
fn a_model_that_is_changed_while_it_is_evaluated_is_refused() {
    for kind in [Change::Shorter, Change::InPlace, Change::ByRename] {
        let case = Case::fresh();
        let scratch = scratch(&case);
        // The configuration and the weights are asked for twice each; the data come after them.
        let asked = AtomicUsize::new(0);
        let go_on = || {
            if asked.fetch_add(1, Ordering::Relaxed) == 4 {
                change(&case, "tuned/model.safetensors", kind);
            }
            true
        };
        let access = Access {
            storage: &case.storage,
            scratch: &scratch,
            go_on: &go_on,
        };

        let (model, data) = (case.uri("tuned/"), case.uri("test.safetensors"));
        let done = pipeline::evaluate(access, &model, &data, None, None);
        let Err(Failure::Input {
            code: FailureCode::InputChanged,
            detail,
            ..
        }) = done
        else {
            panic!("{done:?}")
        };
        assert!(detail.contains("tuned/model.safetensors"), "{detail}");
    }
}

#[test]
fn a_file_that_is_only_read_by_others_is_no_change() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    let read = || drop(fs::read(case.path("new/model.safetensors")).expect("a file"));
    let progress = at(Phase::Publishing, read);
    case.run_with(&spec, &progress)
        .expect("nothing has changed");
}
