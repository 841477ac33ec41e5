//! `manifest.json`, whose presence makes a folder a result, and the names of a model folder's files.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{outcome::Verdict, report::Software};

/// Changes with the form of a manifest.
pub const FORMAT: &str = "retune-result/1";

/// The folder, below a job's output, of results that wait for an external gate.
pub const STAGING: &str = "staging";

/// The largest manifest, report, card or signature that is read: the first lists files by name and digest, a
/// model has thousands of them at most, and a report has a row per timestep.
pub const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// Names of files in a folder of a model, an adapter or a result.
pub mod files {
    pub const CONFIG: &str = "config.json";
    pub const WEIGHTS: &str = "model.safetensors";
    pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
    /// As diffusers names the same two.
    pub const DIFFUSION_WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
    pub const DIFFUSION_WEIGHTS_INDEX: &str = "diffusion_pytorch_model.safetensors.index.json";
    /// As files of weights begin that `torch.save` has written.
    pub const PICKLED_STEM: &str = "pytorch_model";
    pub const ADAPTER_STEM: &str = "adapter_model";
    pub const ADAPTER_CONFIG: &str = "adapter_config.json";
    pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
    pub const MODEL_CARD: &str = "README.md";
    pub const PERMUTATION: &str = "permutation.safetensors";
    pub const REPORT: &str = "report.json";
    pub const PREDICTIONS: &str = "predictions.parquet";
    /// Beside the model, where results are signed: as model-signing calls it.
    pub const SIGNATURE: &str = "model.sig";
    pub const MANIFEST: &str = "manifest.json";
}

/// What a result is, what it was made of, and which files belong to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: String,
    /// Of the transfer.
    pub id: Uuid,
    pub software: Software,
    pub verdict: Verdict,
    /// The job specification.
    pub spec: Value,
    /// In order of location.
    pub inputs: Vec<InputFile>,
    /// In order of name; all files but the manifest.
    pub outputs: Vec<OutputFile>,
}

/// The part of a manifest that says which files belong to the result. The rest may be of any version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listing {
    pub outputs: Vec<OutputFile>,
}

impl Listing {
    /// Of all files but the manifest.
    pub fn bytes(&self) -> u64 {
        self.outputs
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

/// A file that a transfer read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InputFile {
    pub uri: String,
    /// Bytes.
    pub size: u64,
    /// Of the content, in hexadecimal.
    pub sha256: String,
}

/// A file of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Of the content, in hexadecimal.
    pub sha256: String,
}
