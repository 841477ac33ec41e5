//! Model folders for tests and benches: nothing else uses this module. A result is written by
//! [`ResultWriter`](super::result::ResultWriter).

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::{Map, Value, json};

use super::tensors;
use crate::engine::tensors::{Checkpoint, DType};

/// Writes a safetensors file as it is computed.
///
/// # Errors
/// From the file system.
pub fn write_tensors(path: &Path, model: &Checkpoint) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    tensors::to_pieces(model)
        .pieces
        .try_for_each(|piece| file.write_all(&piece))?;
    file.flush()
}

/// Writes a model folder, its tensors in so many files. The configuration is told the first tensor's element type.
///
/// # Errors
/// From the file system.
pub fn write_model(
    folder: &Path,
    config: &Value,
    model: &Checkpoint,
    shards: usize,
) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let is_bf16 = model
        .iter()
        .next()
        .is_some_and(|(_, first)| first.dtype() == DType::BF16);
    let mut config = config.clone();
    config["torch_dtype"] = json!(if is_bf16 { "bfloat16" } else { "float32" });
    fs::write(folder.join("config.json"), format!("{config:#}\n"))?;
    if shards == 1 {
        return write_tensors(&folder.join("model.safetensors"), model);
    }

    let mut parts = vec![Checkpoint::new(); shards];
    let mut weight_map = Map::new();
    for (i, (name, tensor)) in model.iter().enumerate() {
        let part = i * shards / model.len();
        weight_map.insert(name.into(), json!(file_name(part, shards)));
        parts[part].insert(name, tensor.clone());
    }

    for (i, part) in parts.iter().enumerate() {
        write_tensors(&folder.join(file_name(i, shards)), part)?;
    }

    let index = json!({"weight_map": weight_map});
    fs::write(
        folder.join("model.safetensors.index.json"),
        index.to_string(),
    )
}

fn file_name(part: usize, of: usize) -> String {
    format!("model-{:05}-of-{of:05}.safetensors", part + 1)
}
