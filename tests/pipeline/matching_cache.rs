//! The permutation between two bases is solved once for all their tunings, and what is wrong in the
//! cache changes nothing.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use retune::{
    pipeline::{Failure, Outcome, Phase, Progress, Stop},
    storage::sha256_of,
};
use serde_json::{Value, json};

use super::{
    case::{Case, OnPhase, path_of, read_json},
    same_bytes::{are_the_same, lasting},
};

fn spec(case: &Case, seed: u64) -> Value {
    let mut spec = case.spec();
    spec["methods"] = json!(["weight_matching"]);
    spec["options"]["seed"] = json!(seed);
    spec
}

/// The result of a job with that seed, and whether its permutation came from the cache.
fn run(case: &Case, seed: u64) -> (PathBuf, Value) {
    found(case.run(&spec(case, seed)))
}

fn found(done: Result<Outcome, Failure>) -> (PathBuf, Value) {
    let result = path_of(&done.expect("a sound job").uri);
    let report = read_json(&result.join("report.json"));
    (
        result,
        report["timing"]["weight_matching"]["cached"].clone(),
    )
}

fn entry(cache: &Path) -> PathBuf {
    let entries: Vec<_> = fs::read_dir(cache.join("matching"))
        .expect("a folder")
        .collect();
    assert_eq!(entries.len(), 1, "one pair of bases");
    entries[0].as_ref().expect("readable").path()
}

#[test]
fn a_found_permutation_gives_the_bytes_of_a_solved_one() {
    let mut case = Case::fresh();
    let (without, cached) = run(&case, 1);
    assert_eq!(cached, json!(null));
    let cache = case.folder.path().join("cache");
    case.cache = Some(cache.clone());
    let (solved, cached) = run(&case, 1);
    assert_eq!(cached, json!(false));
    let (found, cached) = run(&case, 1);
    assert_eq!(cached, json!(true));
    are_the_same(&without, &solved);
    are_the_same(&solved, &found);
    // The permutation belongs to the bases: another seed, and another tuning, find it too.
    let (other, cached) = run(&case, 2);
    assert_eq!(cached, json!(true));
    let permutation = |result: &Path| fs::read(result.join("permutation.safetensors")).unwrap();
    assert!(permutation(&other) == permutation(&solved));
    case.put_weights("tuned", &case.model("new"));
    assert_eq!(run(&case, 1).1, json!(true));
    // Another base does not.
    case.put_weights("new", &case.model("old"));
    assert_eq!(run(&case, 1).1, json!(false));
}

#[test]
fn what_is_wrong_in_the_cache_is_solved_again_and_mended() {
    let mut case = Case::fresh();
    let cache = case.folder.path().join("cache");
    case.cache = Some(cache.clone());
    let (sound, _) = run(&case, 1);
    let path = entry(&cache);
    let text = fs::read_to_string(&path).expect("text");
    let body: Value = serde_json::from_str(text.split_once('\n').expect("two lines").1).unwrap();
    let forged = |change: &dyn Fn(&mut Value)| {
        let mut body = body.clone();
        change(&mut body);
        let body = body.to_string();
        format!("{}\n{body}", sha256_of(body.as_bytes()))
    };
    for wrong in [
        String::new(),
        text[..text.len() / 2].to_owned(),
        text.replacen("[0,", "[1,", 1).replacen(",0,", ",1,", 1),
        "x".repeat(100_000),
        forged(&|body| body["sigmas"][0][0] = body["sigmas"][0][1].clone()),
        forged(&|body| body["sigmas"][0][0] = json!(4_000_000_000_u32)),
        forged(&|body| body["sigmas"] = json!([])),
        forged(&|body| body["groups"] = json!([])),
        forged(&|body| body["groups"][0][2] = json!("on my word")),
        forged(&|body| body["key"] = json!("another")),
    ] {
        fs::write(&path, &wrong).expect("our own file");
        let (again, cached) = run(&case, 1);
        assert_eq!(cached, json!(false), "{}", &wrong[..wrong.len().min(100)]);
        are_the_same(&sound, &again);
        assert_eq!(
            fs::read_to_string(&path).expect("text"),
            text,
            "it is mended"
        );
    }
    // A folder where the entry should be cannot be mended, and does no harm.
    fs::remove_file(&path).expect("our own file");
    fs::create_dir(&path).expect("our own folder");
    let (again, cached) = run(&case, 1);
    assert_eq!(cached, json!(false));
    assert_eq!(
        lasting(&again.join("report.json")),
        lasting(&sound.join("report.json"))
    );
}

#[test]
fn jobs_that_begin_together_solve_a_pair_once() {
    let mut case = Case::fresh();
    case.cache = Some(case.folder.path().join("cache"));
    let (case, together) = (&case, &Barrier::new(3));
    let results: Vec<_> = thread::scope(|scope| {
        let job = |seed| {
            scope.spawn(move || {
                let progress = OnPhase(|phase| {
                    if phase == Phase::Aligning {
                        together.wait();
                    }
                });
                found(case.run_with(&spec(case, seed), &progress))
            })
        };
        let jobs: Vec<_> = [1, 1, 1].map(job).into();
        jobs.into_iter()
            .map(|job| job.join().expect("no panic"))
            .collect()
    });
    let solved = results
        .iter()
        .filter(|(_, cached)| *cached == json!(false))
        .count();
    assert_eq!(solved, 1, "{results:?}");
    results
        .windows(2)
        .for_each(|two| are_the_same(&two[0].0, &two[1].0));
}

/// Asks something at the tenth time that the job asks whether to go on aligning.
struct Tenth<F> {
    asked: AtomicUsize,
    answer: F,
}

impl<F: Fn() -> Result<(), Stop>> Tenth<F> {
    fn new(answer: F) -> Self {
        Self {
            asked: AtomicUsize::new(usize::MAX),
            answer,
        }
    }
}

impl<F: Fn() -> Result<(), Stop> + Send + Sync> Progress for Tenth<F> {
    fn phase(&self, phase: Phase) {
        if phase == Phase::Aligning {
            self.asked.store(0, Ordering::Relaxed);
        }
    }

    fn advance(&self, _: u64, _: u64, _: &'static str) {}

    fn go_on(&self) -> Result<(), Stop> {
        let asked = self.asked.load(Ordering::Relaxed);
        if asked == usize::MAX {
            return Ok(());
        }
        self.asked.store(asked + 1, Ordering::Relaxed);
        if asked < 10 { Ok(()) } else { (self.answer)() }
    }
}

/// Another worker is solving the pair: its entry is waited for, and so is the end of its process.
#[test]
fn who_finds_a_pair_being_solved_waits_and_can_be_stopped() {
    let mut case = Case::fresh();
    let cache = case.folder.path().join("cache");
    case.cache = Some(cache.clone());
    let (solved, _) = run(&case, 1);
    let (entry, aside) = (entry(&cache), cache.join("aside"));
    fs::rename(&entry, &aside).expect("our own file");
    let locks: Vec<_> = fs::read_dir(cache.join("locks"))
        .expect("a folder")
        .collect();
    let lock = File::open(locks[0].as_ref().expect("readable").path()).expect("a lock");
    lock.lock().expect("nobody solves");

    let stopping = Tenth::new(|| Err(Stop::HandedBack));
    let stopped = case.run_with(&spec(&case, 1), &stopping);
    assert!(
        matches!(stopped, Err(Failure::Stopped(Stop::HandedBack))),
        "{stopped:?}"
    );

    let solving = Tenth::new(|| {
        if aside.exists() {
            fs::rename(&aside, &entry).expect("our own file");
            lock.unlock().expect("ours");
        }
        Ok(())
    });
    let (waited, cached) = found(case.run_with(&spec(&case, 1), &solving));
    assert_eq!(cached, json!(true));
    are_the_same(&solved, &waited);

    // One that ended without an entry leaves nothing to wait for.
    fs::remove_file(&entry).expect("our own file");
    lock.lock().expect("nobody solves");
    let dying = Tenth::new(|| lock.unlock().map_err(|_| Stop::HandedBack));
    let (_, cached) = found(case.run_with(&spec(&case, 1), &dying));
    assert_eq!(cached, json!(false));
}
