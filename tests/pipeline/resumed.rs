//! What an interrupted job had found is found again, and changes nothing.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use retune::pipeline::{Failure, Phase, Progress, Stop};
use serde_json::json;

use super::{
    case::{Case, read_json},
    same_bytes::are_the_same,
};

/// Hands a job back after so many timesteps.
struct Until(AtomicUsize);

impl Progress for Until {
    fn phase(&self, _: Phase) {}

    fn advance(&self, _: u64, _: u64, unit: &'static str) {
        if ["timesteps", "gradient pairs"].contains(&unit) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    fn go_on(&self) -> Result<(), Stop> {
        if self.0.load(Relaxed) == 0 {
            Err(Stop::HandedBack)
        } else {
            Ok(())
        }
    }
}

#[test]
fn an_interrupted_gmt_goes_on_after_the_last_step_that_it_had_finished() {
    let mut case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["gmt"]);
    spec["options"]["timesteps"] = json!(5);
    let (_, undisturbed) = case.done(&spec);
    let cache = case.folder.path().join("cache");
    case.cache = Some(cache.clone());
    // Asked before every step: three are finished when the fourth is refused.
    let ended = case.run_with(&spec, &Until(AtomicUsize::new(4)));
    assert!(
        matches!(ended, Err(Failure::Stopped(Stop::HandedBack))),
        "{ended:?}"
    );
    let folders: Vec<_> = fs::read_dir(cache.join("steps"))
        .expect("a folder")
        .collect();
    let folder = folders[0].as_ref().expect("readable").path();
    let left = || fs::read_dir(&folder).map_or(0, Iterator::count);
    assert_eq!(left(), 3);
    // What is cut off is computed again.
    fs::write(folder.join("00003-reached.json"), "cut off").expect("our own file");
    let (_, resumed) = case.done(&spec);
    assert_eq!(left(), 0, "it goes with the job");
    let timing = &read_json(&resumed.join("report.json"))["timing"];
    assert_eq!(timing["resumed_gradients"], 2 + 4);
    are_the_same(&undisturbed, &resumed);
}

#[test]
fn an_interrupted_weight_matching_goes_on_at_the_last_group() {
    let mut case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching"]);
    let (_, undisturbed) = case.done(&spec);
    let cache = case.folder.path().join("cache");
    case.cache = Some(cache.clone());
    // Asked before the first group and after each.
    let ended = case.run_with(&spec, &Until(AtomicUsize::new(3)));
    assert!(
        matches!(ended, Err(Failure::Stopped(Stop::HandedBack))),
        "{ended:?}"
    );
    let left = || -> Vec<_> {
        let files = fs::read_dir(cache.join("matching")).expect("a folder");
        files.map(|file| file.expect("readable").path()).collect()
    };
    let [underway] = left().try_into().expect("one file");
    assert_eq!(
        underway.extension().and_then(|e| e.to_str()),
        Some("underway")
    );
    let whole = fs::read_to_string(&underway).expect("text");
    let (_, resumed) = case.done(&spec);
    let timing =
        |folder: &Path| read_json(&folder.join("report.json"))["timing"]["weight_matching"].clone();
    assert_eq!(timing(&resumed), json!({"cached": false, "resumed": true}));
    are_the_same(&undisturbed, &resumed);

    // The entry has taken its place. Without it and with half a stage it is solved from the start.
    let [entry] = left().try_into().expect("one file");
    fs::remove_file(entry).expect("our own file");
    fs::write(&underway, &whole[..whole.len() / 2]).expect("our own file");
    let (_, again) = case.done(&spec);
    assert_eq!(timing(&again), json!({"cached": false, "resumed": false}));
    are_the_same(&undisturbed, &again);
}

/// Two trials of two layers, two of one, and the two layers of the result.
#[test]
fn an_interrupted_functional_goes_on_behind_its_last_layer() {
    let mut case = Case::fresh();
    let mut spec = case.spec();
    spec["methods"] = json!(["functional"]);
    let (_, undisturbed) = case.done(&spec);
    let cache = case.folder.path().join("cache");
    case.cache = Some(cache.clone());

    let left = || -> Vec<_> {
        let folders = fs::read_dir(cache.join("steps"))
            .into_iter()
            .flatten()
            .flatten();
        let files = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("a folder"));
        let names = files.map(|file| file.expect("readable").path());
        names
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect()
    };
    // Asked before every node: behind the first layers.
    let ended = case.run_with(&spec, &Until(AtomicUsize::new(4)));
    assert!(
        matches!(ended, Err(Failure::Stopped(Stop::HandedBack))),
        "{ended:?}"
    );
    let layers = left();
    assert!(!layers.is_empty(), "the first layer of both starts");
    // What is cut off is fitted again.
    let (entry, tensors) = (&layers[0], layers[0].with_extension("safetensors"));
    let whole = fs::read(&tensors).expect("our own file");
    fs::write(&tensors, &whole[..whole.len() - 1]).expect("our own file");
    assert!(entry.exists());

    let (_, resumed) = case.done(&spec);
    assert!(left().is_empty(), "they go with the job");
    let timing = &read_json(&resumed.join("report.json"))["timing"];
    assert_eq!(timing["resumed_layers"], layers.len() - 1);
    let model = |folder: &Path| fs::read(folder.join("model.safetensors")).expect("a model");
    assert!(model(&undisturbed) == model(&resumed), "the model");
    let told = |folder: &Path| read_json(&folder.join("report.json"))["candidates"].clone();
    assert_eq!(told(&undisturbed), told(&resumed));
}
