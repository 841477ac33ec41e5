//! Places that are no files, no folders, or cannot be written to: named at once, with their pointer.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use nix::{
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};
use retune::{
    contract::codes::FailureCode,
    pipeline::{Failure, Phase},
    storage::{S3Config, Storage},
};
use serde_json::{Value, json};

use crate::pipeline::case::{Case, OnPhase, refusal};

fn refused(found: Result<impl Sized, Failure>) -> (FailureCode, String) {
    let (code, pointer) = refusal(found);
    (code, pointer.unwrap_or_default())
}

fn pipe(case: &Case, name: &str) {
    let path = case.path(name);
    let _ = fs::remove_file(&path);
    mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
}

#[test]
fn a_pipe_by_the_name_of_an_input_holds_nobody_up() {
    for (name, pointer) in [
        ("new/config.json", "/target/base"),
        ("new/model.safetensors", "/target/base"),
        ("old/config.json", "/source/base"),
        ("tuned/model.safetensors", "/source/trajectory"),
        ("train.safetensors", "/data/train"),
    ] {
        let case = Case::fresh();
        pipe(&case, name);
        let expected = (FailureCode::NotAFile, pointer.to_owned());
        assert_eq!(
            refused(case.plan(&case.spec())),
            expected,
            "the plan, {name}"
        );
        assert_eq!(refused(case.run(&case.spec())), expected, "{name}");
    }
    // Index, trajectory list, adapter, and what is only carried along.
    let case = Case::fresh();
    fs::rename(
        case.path("new/model.safetensors"),
        case.path("new/one.safetensors"),
    )
    .expect("ours");
    pipe(&case, "new/model.safetensors.index.json");
    assert_eq!(
        refused(case.run(&case.spec())),
        (FailureCode::NotAFile, "/target/base".into())
    );
    let case = Case::fresh();
    pipe(&case, "tuned/trajectory.json");
    assert_eq!(
        refused(case.run(&case.spec())),
        (FailureCode::NotAFile, "/source/trajectory".into())
    );
    let case = Case::fresh();
    pipe(&case, "new/vocab.txt");
    assert_eq!(refused(case.run(&case.spec())).0, FailureCode::NotAFile);
}

#[test]
fn data_that_is_a_folder_is_named() {
    let case = Case::fresh();
    fs::create_dir(case.path("folder.safetensors")).expect("our own folder");
    let mut spec = case.spec();
    spec["data"]["train"] = json!(case.uri("folder.safetensors"));
    assert_eq!(
        refused(case.run(&spec)),
        (FailureCode::NotAFile, "/data/train".into())
    );
}

#[test]
fn a_symlink_to_itself_is_named() {
    let case = Case::fresh();
    symlink(case.path("loop"), case.path("loop")).expect("our own folder");
    let mut spec = case.spec();
    spec["target"]["base"] = json!(case.uri("loop"));
    assert_eq!(
        refused(case.run(&spec)),
        (FailureCode::LocationNotAllowed, "/target/base".into())
    );
    let mut spec = case.spec();
    spec["output"] = json!(case.uri("loop/out"));
    assert_eq!(
        refused(case.run(&spec)),
        (FailureCode::LocationNotAllowed, "/output".into())
    );
}

/// A refusal before anything is computed.
fn early(case: &Case, spec: &Value) -> (FailureCode, String) {
    let first = OnPhase(|phase| assert_eq!(phase, Phase::Fetching));
    refused(case.run_with(spec, &first))
}

#[test]
fn an_output_that_cannot_be_written_to_is_found_before_anything_is_computed() {
    let case = Case::fresh();
    case.write("file", "x");
    let mut spec = case.spec();
    for output in ["file", "file/deeper/"] {
        spec["output"] = json!(case.uri(output));
        assert_eq!(
            early(&case, &spec),
            (FailureCode::NotAFolder, "/output".into()),
            "{output}"
        );
    }
    if geteuid().is_root() {
        // Root may write everywhere but there.
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let storage = Storage::local(S3Config::default(), runtime.handle().clone());
        let folder = storage.check_location("/proc/nowhere").expect("a path");
        let error = storage
            .blocking()
            .begin_attempt(&folder)
            .expect_err("refused");
        assert!(error.is_input(), "{error}");
        return;
    }
    let closed = case.path("closed");
    fs::create_dir(&closed).expect("our own folder");
    let mode = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode));
    mode(0o555).expect("our own folder");
    spec["output"] = json!(case.uri("closed/out/"));
    let found = early(&case, &spec);
    mode(0o755).expect("our own folder");
    assert_eq!(found, (FailureCode::StorageDenied, "/output".into()));
}
