//! Jobs whose models and data lie on a Hugging Face hub.

use std::fs;

use retune::storage::{Storage, StorageConfig};
use tokio::runtime::Runtime;

use super::case::{Case, names_in, read_json};
use crate::support::hub_server::HubServer;

const MODELS: &str = "org/models";
const DATA: &str = "datasets/org/data";

/// The files of a folder of the case, to be put into a repository.
fn files_of(case: &Case, folder: &str) -> Vec<(String, Vec<u8>)> {
    let names = names_in(&case.path(folder));
    names
        .into_iter()
        .map(|name| {
            let bytes = fs::read(case.path(folder).join(&name)).unwrap();
            (format!("{folder}/{name}"), bytes)
        })
        .collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect()
}

/// The same job twice, from files and from a hub: the same model, and a manifest that names commits.
#[test]
fn a_job_from_a_hub_gives_the_same_bytes_and_pins_commits() {
    let mut case = Case::fresh();
    let mut spec = case.spec();
    let (_, from_files) = case.done(&spec);

    let runtime = Runtime::new().unwrap();
    let hub = HubServer::start(runtime.handle());
    let models: Vec<_> = ["old", "tuned", "new"]
        .iter()
        .flat_map(|name| files_of(&case, name))
        .collect();
    let commit = hub.commit(MODELS, "v1.0", &borrowed(&models));
    let data: Vec<_> = ["train", "validation", "test"]
        .iter()
        .map(|name| format!("{name}.safetensors"))
        .map(|name| (name.clone(), fs::read(case.path(&name)).unwrap()))
        .collect();
    let data_commit = hub.commit(DATA, "main", &borrowed(&data));

    case.storage = Storage::new(
        StorageConfig {
            roots: vec![
                case.uri(""),
                "hf://org/models".into(),
                "hf://datasets/org/data".into(),
            ],
            hub: hub.config(None),
            ..StorageConfig::default()
        },
        runtime.handle().clone(),
    )
    .unwrap();
    spec["source"]["base"] = "hf://org/models@v1.0/old/".into();
    spec["source"]["trajectory"] = "hf://org/models@v1.0/tuned/".into();
    spec["target"]["base"] = "hf://org/models@v1.0/new/".into();
    for split in ["train", "validation", "test"] {
        spec["data"][split] = format!("hf://datasets/org/data/{split}.safetensors").into();
    }
    assert!(case.plan(&spec).is_ok());
    let (_, from_hub) = case.done(&spec);

    let model = |folder: &std::path::Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(model(&from_hub), model(&from_files));
    let manifest = read_json(&from_hub.join("manifest.json"));
    let inputs: Vec<&str> = manifest["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["uri"].as_str().unwrap())
        .collect();
    let pinned = [
        format!("hf://org/models@{commit}/"),
        format!("hf://datasets/org/data@{data_commit}/"),
    ];
    assert!(
        inputs
            .iter()
            .all(|uri| pinned.iter().any(|folder| uri.starts_with(folder))),
        "{inputs:?}"
    );
    assert!(inputs.len() > 6, "{inputs:?}");

    spec["output"] = "hf://org/models/out/".into();
    let refused = case.run(&spec).unwrap_err().to_string();
    assert!(
        refused.contains("results are not written to a hub"),
        "{refused}"
    );
}
