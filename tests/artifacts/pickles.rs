//! What `torch.save` has written, converted by its owner, and executed by nobody.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use retune::engine::tensors::{Checkpoint, DType};

use crate::{
    pipeline::case::{read_json, read_tensors},
    support::retune,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pickles")
        .join(name)
}

fn convert(file: &Path, folder: &Path, key: Option<&str>) -> Output {
    let mut command = retune();
    command
        .arg("convert")
        .arg(file)
        .arg(folder)
        .current_dir(folder.parent().expect("a folder"));
    command
        .args(key.into_iter().flat_map(|key| ["--key", key]))
        .output()
        .expect("it runs")
}

#[test]
fn machines_are_told_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    let ran = retune()
        .args(["convert", "--json"])
        .arg(fixture("plain.bin"))
        .arg(&model)
        .output();
    let ran = ran.expect("it runs");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!(
        told["model"],
        model.join("model.safetensors").display().to_string()
    );
    assert_eq!(
        (&told["tensors"], &told["config"]),
        (&4.into(), &serde_json::Value::Null)
    );
    assert!(told["values"].as_u64().expect("a count") > 12);
}

fn converted(name: &str) -> Checkpoint {
    let folder = tempfile::tempdir().expect("a folder");
    let output = convert(&fixture(name), &folder.path().join("model"), None);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    read_tensors(&folder.path().join("model/model.safetensors"))
}

fn is_plain(found: &Checkpoint, prefix: &str) {
    assert_eq!(found.len(), 4);
    let of = |name: &str| &found[&format!("{prefix}{name}")];
    let weight = of("fc1.weight");
    assert_eq!((weight.dtype(), weight.shape()), (DType::F32, &[3, 4][..]));
    assert_eq!(
        weight.f32()[..5],
        [0.0, 3.0, 6.0, 9.0, 1.0],
        "the view, not its storage"
    );
    assert_eq!(of("fc1.bias").dtype(), DType::BF16);
    assert_eq!(of("fc1.bias").f32(), [1.5, -2.0, 0.25].as_slice());
    assert_eq!(of("bn.num_batches_tracked").dtype(), DType::I64);
    assert_eq!(of("bn.num_batches_tracked").f32(), [7.0].as_slice());
    assert_eq!(of("wide").f32(), [0.1f32, 3.0].as_slice());
}

#[test]
fn a_state_dict_and_one_inside_a_checkpoint_become_a_model() {
    is_plain(&converted("plain.bin"), "");
    is_plain(&converted("training.pt"), "");
    is_plain(&converted("prefixed.bin"), "model.");
}

#[test]
fn the_configuration_beside_it_comes_along_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pytorch_model.bin");
    std::fs::copy(fixture("plain.bin"), &file).expect("our own file");
    std::fs::write(folder.path().join("config.json"), "{\"a\": 1}").expect("our own file");
    let model = folder.path().join("model");
    assert!(convert(&file, &model, None).status.success());
    assert_eq!(read_json(&model.join("config.json"))["a"], 1);
    let again = convert(&file, &model, None);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
}

#[test]
fn code_in_a_pickle_is_not_executed() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = convert(&fixture("hostile.pt"), &folder.path().join("model"), None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!folder.path().join("executed").exists(), "{said}");
    // Whether the harmless rest is taken or the whole refused: never a panic, never half a model.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{said}");
    if output.status.success() {
        is_plain(
            &read_tensors(&folder.path().join("model/model.safetensors")),
            "",
        );
    } else {
        assert!(!folder.path().join("model").exists(), "{said}");
    }
}

#[test]
fn what_is_no_file_of_pytorchs_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.bin");
    for bytes in [
        &b""[..],
        b"not a pickle",
        b"PK\x03\x04 broken",
        &[0x80, 2, b'}', b'.'],
    ] {
        std::fs::write(&file, bytes).expect("our own file");
        let refused = convert(&file, &folder.path().join("model"), None);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("model.bin"), "{said}");
        assert!(!folder.path().join("model").exists());
    }
    let missing = convert(
        &fixture("plain.bin"),
        &folder.path().join("model"),
        Some("ema"),
    );
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("ema"));
}
