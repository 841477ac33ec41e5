//! Inputs on files that change while a job reads them: no manifest may name a digest that the result does
//! not come from.

use std::{fs, sync::Once};

use retune::pipeline::{Failure, Phase, Progress, Stop};
use serde_json::json;

use crate::pipeline::case::Case;

/// Does something once, when a phase begins.
struct At<'a> {
    phase: Phase,
    deed: &'a (dyn Fn() + Sync),
    once: Once,
}

impl Progress for At<'_> {
    fn phase(&self, phase: Phase) {
        if phase == self.phase {
            self.once.call_once(self.deed);
        }
    }

    fn advance(&self, _: u64, _: u64, _: &'static str) {}

    fn go_on(&self) -> Result<(), Stop> {
        Ok(())
    }
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
            let file = fs::OpenOptions::new().write(true).open(&path).expect("our own file");
            file.set_len(last as u64 / 2).expect("our own file");
        }
        Change::Removed => fs::remove_file(&path).expect("our own file"),
    }
}

/// The pointer of the refusal of a job during which this changes.
fn refused(name: &str, how: Change, phase: Phase) -> String {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    let progress = At { phase, deed: &|| change(&case, name, how), once: Once::new() };
    let done = case.run_with(&spec, &progress);
    let Err(Failure::Input { code: "input_changed", pointer, detail }) = done else {
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
        for how in [Change::InPlace, Change::ByRename, Change::Shorter, Change::Removed] {
            assert_eq!(refused(name, how, Phase::Diagnosing), pointer, "{name} {how:?}");
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
            assert_eq!(refused(name, how, Phase::Evaluating), pointer, "{name} {how:?}");
        }
    }
}

#[test]
fn a_file_that_is_only_read_by_others_is_no_change() {
    let case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    let read = || drop(fs::read(case.path("new/model.safetensors")).expect("a file"));
    let progress = At { phase: Phase::Publishing, deed: &read, once: Once::new() };
    case.run_with(&spec, &progress).expect("nothing has changed");
}
