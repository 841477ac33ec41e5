//! Ways in which other programs of this kind were broken, each by name, against a whole job.
//!
//! Elsewhere, because they need the service: webhooks to private, link-local and metadata addresses by
//! name, redirect and rebinding (`api::webhooks`, `service::webhooks::address`); another tenant's ids in
//! every endpoint (`api::access`); secrets in logs and error bodies (`service::secrets`). Keys cannot be
//! compared but in constant time: `domain::access::Secret` has no `==` outside its unit tests.

mod adapters;
mod configurations;
mod inputs;
mod operation;
mod service;

use std::{fs, os::unix::fs::symlink, path::Path};

use retune::contract::codes::FailureCode;
use serde_json::{Value, json};

use crate::pipeline::case::Case;

/// The code and the pointer that a job is refused with; nothing is left under its output.
fn refused(case: &Case, spec: &Value) -> (FailureCode, String) {
    let (code, pointer, detail) = case.refused(spec);
    assert!(!detail.is_empty());
    (code, pointer)
}

/// A safetensors file with this header and as many bytes of zeros after it.
fn weights(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn a_location_through_a_symlink_out_of_the_root() {
    let (case, outside) = (Case::fresh(), tempfile::tempdir().expect("a folder"));
    for name in ["config.json", "model.safetensors"] {
        fs::copy(case.path("new").join(name), outside.path().join(name)).expect("our own files");
    }
    symlink(outside.path(), case.path("linked")).expect("our own folder");
    let mut spec = case.spec();
    spec["target"]["base"] = json!(case.uri("linked/"));
    assert_eq!(
        refused(&case, &spec),
        (FailureCode::LocationNotAllowed, "/target/base".into())
    );
    // A single file of an honest folder, too.
    let path = case.path("new/model.safetensors");
    fs::remove_file(&path).expect("our own file");
    symlink(outside.path().join("model.safetensors"), path).expect("our own folder");
    let (code, pointer) = refused(&case, &case.spec());
    assert!(
        [FailureCode::LocationNotAllowed, FailureCode::NotFound].contains(&code),
        "{code}"
    );
    assert_eq!(pointer, "/target/base");
    let mut spec = case.spec();
    spec["output"] = json!(case.uri("linked/out/"));
    assert_eq!(refused(&case, &spec).1, "/output");
    assert!(!outside.path().join("out").exists());
}

#[test]
fn a_weight_map_with_a_path_in_it() {
    let case = Case::fresh();
    fs::remove_file(case.path("new/model.safetensors")).expect("our own file");
    for shard in [
        "../old/model.safetensors",
        "/etc/passwd",
        "a\\b.safetensors",
        "..",
        "",
    ] {
        let index = json!({"weight_map": {"fc0.weight": shard}});
        case.write("new/model.safetensors.index.json", index.to_string());
        let found = refused(&case, &case.spec());
        assert_eq!(
            found,
            (FailureCode::MalformedIndex, "/target/base".into()),
            "{shard:?}"
        );
    }
}

#[test]
fn a_pickle_as_input() {
    let case = Case::fresh();
    fs::rename(
        case.path("new/model.safetensors"),
        case.path("new/pytorch_model.bin"),
    )
    .expect("our own file");
    assert_eq!(
        refused(&case, &case.spec()),
        (FailureCode::PickleRefused, "/target/base".into())
    );
    let mut spec = case.spec();
    spec["target"]["base"] = json!(case.uri("old/"));
    case.write("tuned.pt", b"PK");
    spec["source"]["trajectory"] = json!(case.uri("tuned.pt"));
    assert_eq!(
        refused(&case, &spec),
        (FailureCode::PickleRefused, "/source/trajectory".into())
    );
}

/// Templates and code beside a model are bytes: they come along and nobody looks into them.
#[test]
fn a_chat_template_is_copied_and_never_run() {
    let case = Case::fresh();
    let mark = case.folder.path().join("somebody-ran-me");
    let shell = format!("touch {}", mark.display());
    let template = format!("{{{{ cycler.__init__.__globals__.os.popen('{shell}').read() }}}}");
    let tokenizer = json!({"chat_template": template, "auto_map": {"AutoTokenizer": "evil.T"}});
    let code = format!("import os\nos.system('{shell}')\n");
    let files = [
        ("chat_template.jinja", template.clone()),
        ("tokenizer_config.json", tokenizer.to_string()),
        ("evil.py", code),
    ];
    for (name, content) in &files {
        case.write(&format!("new/{name}"), content);
    }
    let (_, folder) = case.done(&case.spec());
    for (name, content) in &files {
        assert_eq!(
            &fs::read_to_string(folder.join(name)).expect("copied"),
            content,
            "{name}"
        );
    }
    let card = fs::read_to_string(folder.join("README.md")).expect("a model card");
    assert!(!card.contains("cycler"));
    assert!(!mark.exists(), "something ran");
}

#[test]
fn a_header_with_more_than_100_000_entries() {
    let case = Case::fresh();
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let entries: Vec<String> = (0..=100_000).map(|i| format!(r#""{i}":{entry}"#)).collect();
    put(&case, &weights(&format!("{{{}}}", entries.join(",")), 0));
    assert_eq!(
        refused(&case, &case.spec()),
        (FailureCode::MalformedSafetensors, "/target/base".into())
    );
}

#[test]
fn shapes_that_overflow() {
    let case = Case::fresh();
    for shape in [
        "[4611686018427387904,8]",
        "[18446744073709551615]",
        "[4294967296,4294967296,4]",
        "[-1]",
    ] {
        let header =
            format!(r#"{{"fc0.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,8]}}}}"#);
        put(&case, &weights(&header, 8));
        let (code, pointer) = refused(&case, &case.spec());
        assert_eq!(
            (code, pointer.as_str()),
            (FailureCode::MalformedSafetensors, "/target/base"),
            "{shape}"
        );
    }
}

fn put(case: &Case, bytes: &[u8]) {
    let path = case.path("new/model.safetensors");
    fs::write(Path::new(&path), bytes).expect("our own file");
}
