//! `retune convert`: what a file holds decides, not what its names begin with.

use std::{fs, path::Path};

use retune::engine::tensors::Checkpoint;

use crate::{
    pipeline::case::{names_in, read_tensors},
    support::retune,
};

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/adapters/pickles"
);

fn convert(file: &Path, folder: &Path) -> std::process::Output {
    retune()
        .arg("convert")
        .arg(file)
        .arg(folder)
        .output()
        .expect("it runs")
}

fn converted(name: &str) -> Checkpoint {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = convert(
        &Path::new(FIXTURES).join(name),
        &folder.path().join("model"),
    );
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    read_tensors(&folder.path().join("model/model.safetensors"))
}

#[test]
fn every_tensor_of_a_model_is_kept_wherever_it_is_nested() {
    let files = [
        "flat.bin",
        "trained.pt",
        "deep.pt",
        "pytorch_model.bin.index.json",
        "pytorch_model-00002-of-00002.bin",
    ];
    for file in files {
        let found = converted(file);
        let names: Vec<&str> = found.iter().map(|(name, _)| name).collect();
        let wanted = [
            "lm_head.weight",
            "model.embed_tokens.weight",
            "model.norm.weight",
        ];
        assert_eq!(names, wanted, "{file}");
        assert_eq!(found["lm_head.weight"].f32()[0], 2.0, "{file}");
    }
}

#[test]
fn an_adapter_stays_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir(&from).expect("our own folder");
    let file = from.join("adapter_model.bin");
    fs::copy(Path::new(FIXTURES).join("adapter_model.bin"), &file).expect("our own file");
    fs::write(from.join("adapter_config.json"), "{}").expect("our own file");
    let ran = convert(&file, &to);
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert_eq!(
        names_in(&to),
        ["adapter_config.json", "adapter_model.safetensors"]
    );
}

#[test]
fn a_part_without_the_list_of_all_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = "pytorch_model-00001-of-00002.bin";
    let file = folder.path().join(name);
    fs::copy(Path::new(FIXTURES).join(name), &file).expect("our own file");
    let ran = convert(&file, &folder.path().join("model"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(
        said.contains("pytorch_model.bin.index.json is missing"),
        "{said}"
    );
    // The list may name no file elsewhere, and none that is not there.
    for shard in ["../x.bin", "pytorch_model-00002-of-00002.bin"] {
        let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
        fs::write(folder.path().join("pytorch_model.bin.index.json"), index).expect("our file");
        let ran = convert(&file, &folder.path().join("model"));
        assert_eq!(ran.status.code(), Some(2));
        assert!(!folder.path().join("model").exists());
    }
}
