//! The networks of `tests/fixtures`: configurations, parameters and inputs as their users have them,
//! built by the families' own builders.

use std::{fs, path::Path};

use bytes::Bytes;
use retune::engine::{
    network::{Graph, Input, Naming, SampleSize, Task, Token},
    tensors::{Checkpoint, DType, HostTensor},
    training::Dataset,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use super::networks::Network;

pub struct Fixture {
    pub name: String,
    pub config: Value,
    pub network: Network,
    pub parameters: Checkpoint,
    pub data: Dataset,
}

/// What configurations call the number of layers.
const LAYERS: [&str; 5] = [
    "num_hidden_layers",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
];

impl Fixture {
    /// The same network with so many layers, each like the second; of stages the last has them.
    pub fn deepened(&self, layers: usize) -> Network {
        let mut config = self.config.clone();
        let stages = config["depths"].as_array().map(Vec::len);
        if let Some(last) = stages.and_then(|stages| stages.checked_sub(1)) {
            config["depths"][last] = json!(layers);
        }
        for key in LAYERS {
            if !config[key].is_null() && stages.is_none() {
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
            let copies = (2..layers).filter_map(|layer| of_layer(name, layer, stages));
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

/// The name that a tensor of the second layer has in another; `None` of what is no tensor of the second layer. With
/// stages it is that of the last one's.
fn of_layer(name: &str, layer: usize, stages: Option<usize>) -> Option<String> {
    let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
    let mut numbers = parts
        .iter_mut()
        .filter(|part| part.parse::<usize>().is_ok());
    if let Some(stages) = stages {
        numbers
            .next()
            .filter(|stage| **stage == (stages - 1).to_string())?;
    }
    let number = numbers.next().filter(|number| *number == "1")?;
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
        [_, shape @ ..] if shape.len() == 3 => {
            let target = file.tensor("label").ok();
            let labels = target.and_then(|label| label.shape().get(1).copied());
            let sample = SampleSize {
                shape,
                labels: labels.unwrap_or(1),
            };
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
        Task::TokenClassification | Task::MaskedToken => {
            let seen = input.f32().iter().map(|&id| id >= 0.0).collect::<Vec<_>>();
            let labels = seen.iter().map(|&seen| if seen { 0 } else { -100 });
            Dataset::unlabelled(input.clone()).labelled(labels.collect())
        }
        Task::SequenceToSequence => {
            let labels = tensor("label")
                .f32()
                .iter()
                .map(|&label| label as i64)
                .collect();
            Dataset::unlabelled(input).labelled(labels)
        }
        task => {
            let samples = input.shape()[0];
            let program = graph.resolve(&signature).expect("a network");
            let all = samples * program.classes().unwrap_or(1);
            let data = Dataset::unlabelled(input);
            match task {
                Task::Regression => {
                    data.of_values(&(0..all).map(|at| at as f32).collect::<Vec<_>>())
                }
                Task::MultiLabelClassification | Task::QuestionAnswering => {
                    data.labelled_together(vec![0; all])
                }
                _ => data.labelled(vec![0; samples]),
            }
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
