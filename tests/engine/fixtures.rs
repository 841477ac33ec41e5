//! The networks of `tests/fixtures`: configurations, parameters and inputs as their users have them,
//! built by the families' own builders.

use std::{fs, path::Path};

use bytes::Bytes;
use retune::engine::{
    network::{Graph, Input, Naming, Task, Token},
    tensors::{Checkpoint, DType, HostTensor},
    training::Dataset,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use super::networks::Network;

pub struct Fixture {
    pub name: String,
    config: Value,
    pub network: Network,
    pub parameters: Checkpoint,
    pub data: Dataset,
}

/// What configurations call the number of layers.
const LAYERS: [&str; 3] = ["num_hidden_layers", "num_layers", "num_decoder_layers"];

impl Fixture {
    /// The same network with so many layers, each like the second.
    pub fn deepened(&self, layers: usize) -> Network {
        let mut config = self.config.clone();
        for key in LAYERS {
            if !config[key].is_null() {
                config[key] = json!(layers);
            }
            // Of a pair of towers.
            if !config["vision_config"][key].is_null() {
                config["vision_config"][key] = json!(layers);
            }
        }
        let signature = &self.network.signature;
        // ALBERT's are run more often.
        let are_shared = !config["num_hidden_groups"].is_null();
        let copies = signature.iter().filter(|_| !are_shared);
        let copies = copies.flat_map(|(name, info)| {
            let copies = (2..layers).filter_map(|layer| of_layer(name, layer));
            copies.map(|name| (name, info.clone()))
        });
        let mut deep = signature.clone();
        deep.extend(copies);
        Network {
            graph: Graph::from_config(&config, &deep).expect("a network"),
            signature: deep,
        }
    }
}

/// The name that a tensor of the second layer has in another; `None` of what is no tensor of the second layer.
fn of_layer(name: &str, layer: usize) -> Option<String> {
    let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let number = parts
        .iter_mut()
        .find(|part| part.parse::<usize>().is_ok())
        .filter(|number| *number == "1")?;
    *number = layer.to_string();
    Some(parts.join("."))
}

/// Every network of a folder.
pub fn all(folder: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let entries = fs::read_dir(folder).expect("fixtures");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Fixture {
    let bytes = fs::read(path).expect("a fixture");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let config = &header.metadata().as_ref().expect("metadata")["config"];
    let config: Value = serde_json::from_str(config).expect("a configuration");
    let file = SafeTensors::deserialize(&bytes).expect("a fixture");
    let tensor = |name: &str| {
        let view = file.tensor(name).expect("a tensor of it");
        let dtype = if view.dtype() == Dtype::F32 {
            DType::F32
        } else {
            DType::I64
        };
        let data = Bytes::copy_from_slice(view.data());
        HostTensor::from_bytes(dtype, view.shape().to_vec(), data).expect("whole")
    };
    let names = file.names().into_iter();
    let parameters: Checkpoint = names
        .filter_map(|name| Some((name.strip_prefix("param.")?.to_owned(), tensor(name))))
        .collect();
    // A graph may have other names than a file.
    let parameters = Naming::of(&config, &parameters.signature()).read(&parameters);
    let signature = parameters.signature();
    let mut input = tensor("input");
    // Some networks read images of any size.
    let graph = match input.shape() {
        [_, sample @ ..] if sample.len() == 3 => {
            Graph::for_samples(&config, &signature, sample).expect("a network")
        }
        _ => Graph::from_config(&config, &signature).expect("a network"),
    };
    if matches!(graph.input, Input::Tokens { .. }) {
        input = packed(&input);
    }
    let data = match graph.task {
        Task::NextToken => {
            let labels: Vec<i64> = input
                .f32()
                .iter()
                .map(|&id| if id < 0.0 { -100 } else { id as i64 })
                .collect();
            Dataset::of_tokens(input, &labels)
        }
        Task::TokenClassification => {
            let seen = input.f32().iter().map(|&id| id >= 0.0).collect::<Vec<_>>();
            let labels = seen.iter().map(|&seen| if seen { 0 } else { -100 });
            Dataset::unlabelled(input.clone()).labelled(labels.collect())
        }
        _ => {
            let labels = vec![0; input.shape()[0]];
            Dataset::from_floats(input, labels)
        }
    };
    let name = path
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    Fixture {
        name,
        config,
        network: Network { graph, signature },
        parameters,
        data,
    }
}

/// Ids, −1 where the fixtures have their padding's id, masked.
fn packed(ids: &HostTensor) -> HostTensor {
    let padding = Token {
        id: 1,
        token_type: 0,
        masked: true,
    }
    .packed();
    let values = ids
        .f32()
        .iter()
        .map(|&id| if id < 0.0 { padding } else { id })
        .collect();
    HostTensor::from_f32(ids.shape().to_vec(), values)
}
