//! Models larger than what may be held of them: the same bytes whatever the layout of the files and
//! the number of threads, and a bound on memory that does not grow with the model.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::{
    artifacts::testing::write_model,
    engine::{
        network::Graph,
        symmetry::{Permutation, Symmetry},
        tensors::DType,
        testing::{Change, Llama},
    },
};
use serde_json::{Value, json};

use super::case::{path_of, read_tensors};
use crate::support::retune;

/// The embedding alone is laid out in more than one product.
const LLAMA: Llama = Llama {
    hidden: 256,
    intermediate: 320,
    layers: 2,
    heads: 8,
    kv_heads: 2,
    vocabulary: 36_000,
    positions: 32,
    classes: 3,
};

struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    /// Old base, tuned model and new base of these seeds, in so many files each.
    fn of(llama: &Llama, dtype: DType, shards: usize) -> Self {
        let job = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let old = llama.model(dtype, 1, None);
        let tuned = llama.model(
            dtype,
            1,
            Some(Change {
                seed: 2,
                share: 0.05,
            }),
        );
        let graph = Graph::from_config(&llama.config(), &old.signature()).expect("a Llama");
        let symmetry = Symmetry::derive(&graph, &old.signature()).expect("a symmetry");
        let planted = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(3));
        let noisy = llama.model(
            dtype,
            1,
            Some(Change {
                seed: 4,
                share: 0.1,
            }),
        );
        let new = planted.apply(&symmetry, &noisy);
        for (name, model) in [("old", &old), ("tuned", &tuned), ("new", &new)] {
            write_model(&job.path(name), &llama.config(), model, shards).expect("our own folder");
        }
        job
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `retune transfer`; the folder of the result and the most memory it ever had, in MB.
    fn run(&self, methods: &Value, threads: usize) -> (PathBuf, u64) {
        let text = |name: &str| self.path(name).display().to_string();
        let spec = json!({
            "source": {"base": text("old"), "trajectory": text("tuned")},
            "target": {"base": text("new")},
            "methods": methods,
            "output": text("out"),
        });
        fs::write(self.path("spec.json"), spec.to_string()).expect("our own folder");
        let mut child = retune()
            .args(["transfer", "--json"])
            .arg(self.path("spec.json"))
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("RETUNE_DATA_DIR", self.path("state"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut peak = 0;
        while child.try_wait().expect("our own child").is_none() {
            peak = resident_peak(child.id()).unwrap_or(peak);
            thread::sleep(Duration::from_millis(2));
        }
        let done = child.wait_with_output().expect("its output");
        assert!(done.status.success());
        let outcome: Value = serde_json::from_slice(&done.stdout).expect("JSON");
        (path_of(outcome["uri"].as_str().expect("a URI")), peak)
    }
}

/// `VmHWM` in MB; pages of files count.
fn resident_peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}

fn same_files(one: &Path, other: &Path) {
    for name in ["model.safetensors", "permutation.safetensors"] {
        let read = |folder: &Path| fs::read(folder.join(name)).expect(name);
        assert!(read(one) == read(other), "{name}");
    }
}

#[test]
fn the_same_bytes_whatever_the_shards_and_threads() {
    for dtype in [DType::BF16, DType::F32] {
        let (whole, sharded) = (Job::of(&LLAMA, dtype, 1), Job::of(&LLAMA, dtype, 3));
        for method in ["identity", "weight_matching"] {
            let (first, _) = whole.run(&json!([method]), 1);
            let (second, _) = sharded.run(&json!([method]), 2);
            same_files(&first, &second);
            let model = read_tensors(&first.join("model.safetensors"));
            assert!(model.iter().all(|(_, tensor)| tensor.dtype() == dtype));
            let permutation = read_tensors(&first.join("permutation.safetensors"));
            let moved = permutation.iter().any(|(_, p)| p.f32()[0] != 0.0);
            assert_eq!(moved, method == "weight_matching");
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_model() {
    let small = Job::of(
        &Llama {
            vocabulary: 1000,
            layers: 1,
            ..LLAMA
        },
        DType::BF16,
        1,
    );
    // 3 × 130 MB of files; the result as much again.
    let llama = Llama {
        vocabulary: 250_000,
        ..LLAMA
    };
    let large = Job::of(&llama, DType::BF16, 2);
    for (methods, room) in [(json!(["identity"]), 60), (json!("auto"), 400)] {
        let ((_, before), (result, peak)) = (small.run(&methods, 2), large.run(&methods, 2));
        let size = fs::metadata(result.join("model.safetensors"))
            .expect("a result")
            .len();
        assert!(
            size > 2 * llama.parameters() as u64 && size > 120 << 20,
            "{size} B"
        );
        assert!(
            peak < before + room,
            "{methods}: {peak} MB after {before} MB"
        );
    }
}
