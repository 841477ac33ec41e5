//! A whole job on disk: two bases, a tuned model, data, and the pipeline that runs it.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune::{
    artifacts::tensors,
    contract::{codes::FailureCode, spec::Spec},
    engine::{
        symmetry::Permutation,
        tensors::{Checkpoint, HostTensor},
        training::{Dataset, FineTunePlan, Optimizer},
    },
    pipeline::{self, Failure, Job, Outcome, Phase, Progress, Stop},
    storage::{Storage, StorageConfig},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::engine::networks::{Network, mlp};

pub const FEATURES: usize = 6;
pub const CLASSES: i64 = 3;

/// `old/`, `tuned/`, `new/`, `train.safetensors`, `validation.safetensors` and `test.safetensors`
/// in a folder that is the only root. The new base is the old one in another order, with noise.
pub struct Case {
    pub folder: tempfile::TempDir,
    pub network: Network,
    pub storage: Storage,
    /// What jobs leave for others; none by default.
    pub cache: Option<PathBuf>,
    runtime: Option<Runtime>,
}

impl Drop for Case {
    /// May be within another runtime, where none may be waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Case {
    pub fn fresh() -> Self {
        let network = mlp(&[FEATURES, 16, 12, CLASSES as usize]);
        let (inputs, labels) = samples(120, 1);
        let train = Dataset::from_floats(inputs, labels);
        let old = network.parameters(2);
        let tuned = {
            let learner = network.learner();
            let plan = plan(20);
            learner
                .fine_tune(&old, &train, &plan, &mut |_| ControlFlow::Continue(()))
                .checkpoint
        };
        let order = Permutation::random(&network.symmetry(), &mut ChaCha8Rng::seed_from_u64(3));
        let noise = (network.parameters(4), network.parameters(5));
        let new = order
            .apply(&network.symmetry(), &old)
            .shifted(&noise.0, &noise.1, 0.02);
        let case = Self::empty(network);
        for (name, model) in [("old", &old), ("tuned", &tuned), ("new", &new)] {
            case.put_model(name, model);
        }
        // Enough to judge by that a loss of a point can be ruled out.
        for (name, seed, count) in [("train", 1, 120), ("validation", 6, 60), ("test", 7, 600)] {
            let (inputs, labels) = samples(count, seed);
            case.put_data(&format!("{name}.safetensors"), inputs, &labels);
        }
        case
    }

    /// A perceptron with a batch norm in it, and the samples of the other.
    pub fn normed() -> Self {
        let config = json!({
            "model_type": "graph", "input": {"kind": "features", "shape": [6]},
            "nodes": [{"op": "linear", "param": "fc0"}, {"op": "batch_norm", "param": "bn"},
                {"op": "relu"}, {"op": "linear", "param": "fc1"}],
        });
        let mut shapes = vec![
            ("fc0.weight".to_owned(), vec![8, 6]),
            ("fc0.bias".to_owned(), vec![8]),
            ("fc1.weight".to_owned(), vec![3, 8]),
            ("fc1.bias".to_owned(), vec![3]),
        ];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("bn.{part}"), vec![8]));
        }
        let case = Self::empty(Network::of(&config, shapes));
        for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
            case.put_model(name, &case.network.parameters(seed));
        }
        for (name, seed, count) in [("train", 1, 120), ("validation", 6, 60), ("test", 7, 60)] {
            let (inputs, labels) = samples(count, seed);
            case.put_data(&format!("{name}.safetensors"), inputs, &labels);
        }
        case
    }

    /// A folder for jobs about this network, without any file yet.
    pub fn empty(network: Network) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let config = StorageConfig {
            roots: vec![format!(
                "file://{}/",
                folder.path().join("objects").display()
            )],
            ..StorageConfig::default()
        };
        fs::create_dir(folder.path().join("objects")).expect("our own folder");
        let storage = Storage::new(config, runtime.handle().clone()).expect("a root");
        Self {
            folder,
            network,
            storage,
            cache: None,
            runtime: Some(runtime),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("objects").join(name)
    }

    pub fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("our own folder");
        fs::write(path, bytes).expect("our own file");
    }

    pub fn put_model(&self, name: &str, model: &Checkpoint) {
        let config = self.network.graph.to_document();
        self.write(&format!("{name}/config.json"), format!("{config:#}\n"));
        self.put_weights(name, model);
    }

    pub fn put_weights(&self, name: &str, model: &Checkpoint) {
        self.write(
            &format!("{name}/model.safetensors"),
            tensors::to_bytes(model),
        );
    }

    pub fn put_data(&self, name: &str, inputs: HostTensor, labels: &[i64]) {
        let labels = HostTensor::from_i64(vec![labels.len()], labels);
        let data: Checkpoint = [("inputs".to_owned(), inputs), ("labels".to_owned(), labels)]
            .into_iter()
            .collect();
        self.write(name, tensors::to_bytes(&data));
    }

    pub fn model(&self, name: &str) -> Checkpoint {
        read_model(&self.path(name))
    }

    /// Everything given, three methods.
    pub fn spec(&self) -> Value {
        json!({
            "source": {"base": self.uri("old/"), "trajectory": self.uri("tuned/")},
            "target": {"base": self.uri("new/")},
            "data": {
                "train": self.uri("train.safetensors"),
                "validation": self.uri("validation.safetensors"),
                "test": self.uri("test.safetensors"),
            },
            "methods": ["identity", "weight_matching", "fgmt"],
            "options": {"timesteps": 3, "batch_size": 32},
            "output": self.uri("out/"),
        })
    }

    /// Runs a job in this process, as a worker does.
    pub fn run(&self, spec: &Value) -> Result<Outcome, Failure> {
        self.run_with(spec, &Silent)
    }

    /// The same, listened to.
    pub fn run_with(&self, spec: &Value, progress: &dyn Progress) -> Result<Outcome, Failure> {
        self.run_within(spec, progress, None)
    }

    /// The same, by a worker that has so many bytes of memory.
    pub fn run_within(
        &self,
        spec: &Value,
        progress: &dyn Progress,
        memory: Option<u64>,
    ) -> Result<Outcome, Failure> {
        let spec = Spec::from_json(spec).map_err(|error| Failure::Input {
            code: error.code,
            pointer: error.faults.first().map(|fault| fault.pointer.clone()),
            detail: error.to_string(),
        })?;
        let scratch = self.folder.path().join("scratch");
        pipeline::run(Job {
            id: Uuid::now_v7(),
            spec: &spec,
            storage: &self.storage,
            scratch: &scratch,
            cache: self.cache.as_deref(),
            memory,
            signer: None,
            progress,
        })
    }

    /// Checks a job by headers alone.
    pub fn plan(&self, spec: &Value) -> Result<Value, Failure> {
        let spec = Spec::from_json(spec).expect("a sound job");
        let plan = pipeline::plan(&spec, &self.storage, self.cache.as_deref())?;
        Ok(json!(plan))
    }

    /// Runs a job that must succeed: its outcome and the folder of its result.
    pub fn done(&self, spec: &Value) -> (Outcome, PathBuf) {
        let outcome = self.run(spec).expect("a sound job");
        let folder = path_of(&outcome.uri);
        (outcome, folder)
    }

    /// The report of a job that must succeed.
    pub fn report(&self, spec: &Value) -> Value {
        read_json(&self.done(spec).1.join("report.json"))
    }

    /// The code, the pointer and the text of a refusal; nothing is left under the output.
    pub fn refused(&self, spec: &Value) -> (FailureCode, String, String) {
        let Err(Failure::Input {
            code,
            pointer,
            detail,
        }) = self.run(spec)
        else {
            panic!("the job is refused")
        };
        assert!(self.left_under_output().is_empty());
        (code, pointer.unwrap_or_default(), detail)
    }

    /// Gives a model's classes these names.
    pub fn name_classes(&self, model: &str, labels: &[&str]) {
        let mut config = read_json(&self.path(&format!("{model}/config.json")));
        config["id2label"] = labels
            .iter()
            .enumerate()
            .map(|(row, name)| (row.to_string(), json!(name)))
            .collect();
        self.write(&format!("{model}/config.json"), format!("{config:#}"));
    }

    /// Files and folders under `output`, unfinished uploads included.
    pub fn left_under_output(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("out")) else {
            return Vec::new();
        };
        entries
            .map(|entry| entry.expect("readable").path())
            .collect()
    }
}

/// Code and pointer of what must be refused.
pub fn refusal(found: Result<impl Sized, Failure>) -> (FailureCode, Option<String>) {
    match found {
        Err(Failure::Input { code, pointer, .. }) => (code, pointer),
        Err(other) => panic!("another failure: {other}"),
        Ok(_) => panic!("it must be refused"),
    }
}

pub fn number(value: &Value) -> f64 {
    let number = value.as_f64();
    number.unwrap_or_else(|| panic!("{value} is a number"))
}

/// The path of a `file://` URI.
pub fn path_of(uri: &str) -> PathBuf {
    PathBuf::from(uri.strip_prefix("file://").expect("a file"))
}

pub fn read_model(folder: &Path) -> Checkpoint {
    read_tensors(&folder.join("model.safetensors"))
}

/// The tensors of a safetensors file, by our own reader.
pub fn read_tensors(file: &Path) -> Checkpoint {
    let runtime = Runtime::new().expect("a runtime");
    let storage = Storage::local(
        retune::storage::S3Config::default(),
        runtime.handle().clone(),
    );
    let place = storage
        .check_location(file.to_str().expect("UTF-8"))
        .expect("a path");
    tensors::open(file, &place).expect("a sound file")
}

pub fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON")
}

pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_str().expect("UTF-8").to_owned();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry.expect("readable")))
        .collect();
    names.sort();
    names
}

/// Points around one centre a class.
pub fn samples(count: usize, seed: u64) -> (HostTensor, Vec<i64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let labels: Vec<i64> = (0..count as i64).map(|i| i % CLASSES).collect();
    let mut values = Vec::with_capacity(count * FEATURES);
    for label in &labels {
        let centre = |feature: usize| {
            if feature as i64 % CLASSES == *label {
                1.0
            } else {
                -0.3
            }
        };
        values.extend((0..FEATURES).map(|f| centre(f) + rng.random_range(-1f32..1.0)));
    }
    (HostTensor::from_f32(vec![count, FEATURES], values), labels)
}

pub fn plan(epochs: usize) -> FineTunePlan<'static> {
    FineTunePlan {
        batch_size: 16,
        seed: 8,
        statistics_samples: 0,
        ..FineTunePlan::new(Optimizer::Sgd, epochs, 0.02)
    }
}

/// Is told of phases, and of nothing else.
pub struct OnPhase<F>(pub F);

impl<F: Fn(Phase) + Send + Sync> Progress for OnPhase<F> {
    fn phase(&self, phase: Phase) {
        (self.0)(phase);
    }

    fn advance(&self, _: u64, _: u64, _: &'static str) {}

    fn go_on(&self) -> Result<(), Stop> {
        Ok(())
    }
}

/// Listens to nothing.
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _: Phase) {}

    fn advance(&self, _: u64, _: u64, _: &'static str) {}

    fn go_on(&self) -> Result<(), Stop> {
        Ok(())
    }
}
