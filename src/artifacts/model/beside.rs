//! Files beside a model's weights: those that a result carries along, and those that would make it two models.

use super::{ADAPTER, OtherFile, is_pickle};
use crate::storage::{Listing, ObjectInfo, ResultKey};

/// Suffixes of weights for other programs.
const OTHER_WEIGHTS: [&str; 21] = [
    ".h5",
    ".hdf5",
    ".keras",
    ".msgpack",
    ".ot",
    ".onnx",
    ".onnx_data",
    ".onnx.data",
    ".gguf",
    ".ggml",
    ".ggjt",
    ".tflite",
    ".pb",
    ".mlmodel",
    ".mlpackage",
    ".npz",
    ".npy",
    ".nemo",
    ".engine",
    ".plan",
    ".llamafile",
];
/// Bytes that a file has at most that is neither weights nor a tokenizer.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What lies beside the weights that are read.
#[derive(Default)]
pub(super) struct Beside {
    pub other_files: Vec<OtherFile>,
    pub left_out: Vec<String>,
}

impl Beside {
    /// Files of the model's folder, or of the folder of a module behind it.
    pub fn add(&mut self, module: Option<&str>, files: &[ObjectInfo]) {
        for file in files {
            let name = file.location.name();
            let name = module.map_or_else(|| name.to_owned(), |module| format!("{module}/{name}"));
            // A module behind the network reads its channels as the old base numbered them, and no graph knows
            // of it: what π does to its input is not undone there.
            let is_of_module = module.is_some() && is_safetensors(&name);
            if is_of_module || may_be_weights(&name, file.size) {
                self.left_out.push(name);
            } else if let Some(key) = ResultKey::carried(&name) {
                self.other_files.push(OtherFile {
                    key,
                    location: file.location.clone(),
                });
            } else if is_safetensors(&name) {
                self.left_out.push(name);
            }
        }
    }
}

fn is_safetensors(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")
}

/// Whether a file may be a model's weights in a form that is not read: by its ending, as a list of such
/// files, as an adapter (which libraries would load on top), or by its size where no tokenizer is so large.
fn may_be_weights(name: &str, size: u64) -> bool {
    let name = name.to_ascii_lowercase();
    let file = name.rsplit('/').next().unwrap_or(&name);
    let of_tokenizer = [
        ".json",
        ".txt",
        ".model",
        ".tiktoken",
        ".spm",
        ".bpe",
        ".vocab",
    ];

    is_pickle(&name)
        || OTHER_WEIGHTS.iter().any(|suffix| name.ends_with(suffix))
        || (file.ends_with(".index.json") && !is_safetensors(&name))
        || file == ADAPTER
        || file.starts_with("openvino_")
        || (size > MAX_FILE_BYTES
            && !is_safetensors(&name)
            && !of_tokenizer.iter().any(|end| name.ends_with(end)))
}

/// What lies in a folder beside weights, as it would be carried.
pub(crate) fn files_beside(listing: &Listing) -> Vec<OtherFile> {
    let mut beside = Beside::default();
    beside.add(None, &listing.files);
    beside.other_files
}
