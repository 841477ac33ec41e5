//! From a `config.json` to the builder that it names.

use serde_json::Value;

use super::{Family, Source, TIMM, entries, settings, timm_vit};
use crate::{
    network::{
        error::GraphError,
        graph::{Graph, Input, SampleSize},
    },
    tensors::Signature,
};

impl Graph {
    /// The graph that a `config.json` names: `"model_type": "graph"` spells it out, an
    /// `"architecture"` as timm writes it (`resnet18`, `resnet18.a1_in1k`) or another `model_type`,
    /// Hugging Face's, picks a known family. Of an architecture that no builder knows, and of a known family's
    /// body with a head that it does not read, the graph is one opaque node ([`Graph::by_names`]).
    ///
    /// # Errors
    /// A malformed document, packed weights, a tensor missing from which the builder reads a size.
    pub fn from_config(config: &Value, signature: &Signature) -> Result<Self, GraphError> {
        Self::build(Source {
            config,
            signature,
            sample: None,
        })
    }

    /// The same for samples of this size: a known family reads images of another size where its builder
    /// can, and sentences up to its longest. A graph as data says itself what it reads.
    ///
    /// # Errors
    /// As [`Graph::from_config`]; images of a size that the family does not read.
    pub fn for_samples(
        config: &Value,
        signature: &Signature,
        sample: SampleSize<'_>,
    ) -> Result<Self, GraphError> {
        let mut graph = Self::build(Source {
            config,
            signature,
            sample: Some(sample.shape),
        })?;
        if config["model_type"] == "graph" {
            return Ok(graph);
        }
        // What is computed is counted for sentences as long as these.
        if let (Input::Tokens { shape }, &[length]) = (&mut graph.input, sample.shape) {
            shape[0] = shape[0].min(length);
        }
        if let Some([longest]) = &mut graph.target {
            *longest = (*longest).min(sample.labels.max(1));
        }

        Ok(graph)
    }

    fn build(source: Source<'_>) -> Result<Self, GraphError> {
        let config = source.config;
        if config["model_type"] == "graph" {
            return Self::from_document(config);
        }

        if let Some(family) = Family::of(config) {
            check_packed(family, config)?;
            settings::check(config, family.settings)?;
            return match (family.build)(&source) {
                Err(GraphError::UnknownArchitecture { name, known }) => {
                    source.by_names(&name, known)
                }
                built => built,
            };
        }

        // timm writes an architecture, and beside it whatever its user added.
        if let Some(name) = config["model_type"].as_str()
            && config["architecture"].is_null()
        {
            return source.by_names(name, known());
        }
        if config["architecture"].as_str().is_none() {
            // diffusers writes the class.
            let class = config["_class_name"]
                .as_str()
                .or(config["architectures"][0].as_str());
            return source.by_names(class.unwrap_or("(none)"), known());
        }
        let name = source.architecture();
        if timm_vit::is_timm(name) {
            return timm_vit::build(&source);
        }

        let Some(timm) = TIMM.iter().find(|timm| timm.names.contains(&name)) else {
            return source.by_names(name, known());
        };
        settings::check_timm(config, timm.settings, timm.pool)?;

        (timm.build)(&source)
    }
}

impl Source<'_> {
    /// The network by its tensors' names alone.
    fn by_names(&self, name: &str, known: String) -> Result<Graph, GraphError> {
        Graph::of_names(name, known, self.config, self.signature)
    }
}

/// Refuses gpt-oss as it is published: its experts are packed.
fn check_packed(family: &Family, config: &Value) -> Result<(), GraphError> {
    let packed = &config["quantization_config"];
    if family.names.stacked.is_empty() || packed.is_null() {
        return Ok(());
    }
    let method = packed["quant_method"].as_str().unwrap_or("unnamed");
    let what = format!(
        "config.json has quantization_config ({method}). transformers unpacks mxfp4: from_pretrained(…, \
         quantization_config=Mxfp4Config(dequantize=True)), then save_pretrained"
    );
    Err(GraphError::Packed { what })
}

/// Every architecture that a builder knows.
fn known() -> String {
    let names = entries().into_iter().flat_map(|entry| entry.names);
    names.collect::<Vec<_>>().join(", ")
}
