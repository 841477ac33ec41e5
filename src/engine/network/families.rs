//! Known architectures: builders from the `config.json` that users already have to a [`Graph`].
//!
//! A builder knows names and wiring, nothing else; every size is read from the tensors. What may be
//! permuted follows from the graph alone.

mod aliases;
mod bert;
mod builder;
mod classifier;
mod gpt2;
mod gpt_neox;
mod listing;
mod llama;
mod modernbert;
mod naming;
mod resnet;
mod rope;
mod settings;
mod source;
mod transformer;
mod vgg;
mod vit;

use serde_json::Value;

pub use classifier::{ClassOf, as_classifier};
pub use listing::{Entry, entries};
pub use naming::{
    Naming, OUTPUT, body_prefix, is_of_a_task, is_transposed, module_of_tensor, tensor_of_module,
    tied_embedding, vocabulary_of, wrapper_of,
};

use builder::{Builder, PoolWindow};
use naming::Names;
use settings::Settings;
use source::Source;

use super::{
    error::GraphError,
    graph::{Graph, Input},
};
use crate::tensors::Signature;

type Build = fn(&Source<'_>) -> Result<Graph, GraphError>;

/// Architecture names with their builders.
const FAMILIES: [(&str, Build); 15] = [
    ("resnet18", |source| resnet::build(source, [2, 2, 2, 2])),
    ("resnet34", |source| resnet::build(source, [3, 4, 6, 3])),
    ("resnet50", |source| resnet::build(source, [3, 4, 6, 3])),
    ("resnet101", |source| resnet::build(source, [3, 4, 23, 3])),
    ("resnet152", |source| resnet::build(source, [3, 8, 36, 3])),
    // Their widths are read from the tensors.
    ("wide_resnet50_2", |source| {
        resnet::build(source, [3, 4, 6, 3])
    }),
    ("wide_resnet101_2", |source| {
        resnet::build(source, [3, 4, 23, 3])
    }),
    ("vgg11", |source| vgg::build(source, [1, 1, 2, 2, 2], false)),
    ("vgg13", |source| vgg::build(source, [2, 2, 2, 2, 2], false)),
    ("vgg16", |source| vgg::build(source, [2, 2, 3, 3, 3], false)),
    ("vgg19", |source| vgg::build(source, [2, 2, 4, 4, 4], false)),
    ("vgg11_bn", |source| {
        vgg::build(source, [1, 1, 2, 2, 2], true)
    }),
    ("vgg13_bn", |source| {
        vgg::build(source, [2, 2, 2, 2, 2], true)
    }),
    ("vgg16_bn", |source| {
        vgg::build(source, [2, 2, 3, 3, 3], true)
    }),
    ("vgg19_bn", |source| {
        vgg::build(source, [2, 2, 4, 4, 4], true)
    }),
];

/// One of Hugging Face's families.
struct Family {
    model_type: &'static str,
    build: Build,
    settings: &'static Settings,
    /// The classifier's name among `architectures`, and its last layer.
    classifier: [&'static str; 2],
    names: Names,
}

/// Tensors of all experts of a layer, and what each expert's part is called.
const STACKED: &[(&str, &str)] = &[
    (
        "model.layers.#.mlp.experts.gate_up_proj",
        "gate_up_proj.weight",
    ),
    (
        "model.layers.#.mlp.experts.gate_up_proj_bias",
        "gate_up_proj.bias",
    ),
    ("model.layers.#.mlp.experts.down_proj", "down_proj.weight"),
    (
        "model.layers.#.mlp.experts.down_proj_bias",
        "down_proj.bias",
    ),
];
/// In the place of a classifier's name: the library has none of this family.
const NO_CLASSIFIER: &str = "";
const ROTARY: &[&str] = &[
    "model.rotary_emb.inv_freq",
    "model.layers.#.self_attn.rotary_emb.inv_freq",
];

/// `model_type` of Hugging Face configurations with their builders.
const MODEL_TYPES: [Family; 24] = [
    Family {
        model_type: "bert",
        build: bert::bert,
        settings: &settings::BERT,
        classifier: ["BertForSequenceClassification", "classifier"],
        names: Names {
            body: "bert",
            heads: &["classifier", "cls", "qa_outputs", "bert.pooler"],
            buffers: &[
                "bert.embeddings.position_ids",
                "bert.embeddings.token_type_ids",
            ],
            tied: None,
            stacked: &[],
        },
    },
    Family {
        model_type: "roberta",
        build: bert::roberta,
        settings: &settings::BERT,
        classifier: ["RobertaForSequenceClassification", "classifier.out_proj"],
        names: Names {
            body: "roberta",
            heads: &["classifier", "lm_head", "qa_outputs", "roberta.pooler"],
            buffers: &[
                "roberta.embeddings.position_ids",
                "roberta.embeddings.token_type_ids",
            ],
            tied: None,
            stacked: &[],
        },
    },
    Family {
        model_type: "distilbert",
        build: bert::distilbert,
        settings: &settings::DISTILBERT,
        classifier: ["DistilBertForSequenceClassification", "classifier"],
        names: Names {
            body: "distilbert",
            heads: &[
                "pre_classifier",
                "classifier",
                "vocab_transform",
                "vocab_layer_norm",
                "vocab_projector",
                "qa_outputs",
            ],
            buffers: &["distilbert.embeddings.position_ids"],
            tied: None,
            stacked: &[],
        },
    },
    Family {
        model_type: "gpt2",
        build: gpt2::build,
        settings: &settings::GPT2,
        classifier: ["GPT2ForSequenceClassification", "score"],
        names: Names {
            body: "transformer",
            heads: &["score", "lm_head"],
            buffers: &[
                "transformer.h.#.attn.bias",
                "transformer.h.#.attn.masked_bias",
            ],
            tied: Some(("transformer.wte", true)),
            stacked: &[],
        },
    },
    llama_like("llama", "LlamaForSequenceClassification", &settings::LLAMA),
    llama_like(
        "mistral",
        "MistralForSequenceClassification",
        &settings::MISTRAL,
    ),
    llama_like("qwen2", "Qwen2ForSequenceClassification", &settings::QWEN2),
    llama_like("qwen3", "Qwen3ForSequenceClassification", &settings::QWEN3),
    llama_like(
        "qwen3_moe",
        "Qwen3MoeForSequenceClassification",
        &settings::QWEN3_MOE,
    ),
    llama_like(
        "mixtral",
        "MixtralForSequenceClassification",
        &settings::MIXTRAL,
    ),
    llama_like("olmoe", NO_CLASSIFIER, &settings::OLMOE),
    stacked(llama_like(
        "gpt_oss",
        "GptOssForSequenceClassification",
        &settings::GPT_OSS,
    )),
    tied(llama_like(
        "smollm3",
        "SmolLM3ForSequenceClassification",
        &settings::SMOLLM3,
    )),
    llama_like("olmo2", "Olmo2ForSequenceClassification", &settings::OLMO2),
    llama_like("olmo3", "Olmo3ForSequenceClassification", &settings::OLMO3),
    tied(llama_like(
        "gemma",
        "GemmaForSequenceClassification",
        &settings::GEMMA,
    )),
    tied(llama_like(
        "gemma2",
        "Gemma2ForSequenceClassification",
        &settings::GEMMA2,
    )),
    tied(llama_like(
        "gemma3_text",
        "Gemma3TextForSequenceClassification",
        &settings::GEMMA3,
    )),
    llama_like("phi3", "Phi3ForSequenceClassification", &settings::PHI3),
    llama_like("granite", NO_CLASSIFIER, &settings::GRANITE),
    llama_like("glm4", "Glm4ForSequenceClassification", &settings::GLM4),
    Family {
        model_type: "gpt_neox",
        build: gpt_neox::build,
        settings: &settings::GPT_NEOX,
        classifier: ["GPTNeoXForSequenceClassification", "score"],
        names: Names {
            body: "gpt_neox",
            heads: &["score", "classifier", "lm_head"],
            buffers: &[
                "gpt_neox.layers.#.attention.bias",
                "gpt_neox.layers.#.attention.masked_bias",
                "gpt_neox.layers.#.attention.rotary_emb.inv_freq",
                "gpt_neox.rotary_emb.inv_freq",
            ],
            tied: Some(("gpt_neox.embed_in", false)),
            stacked: &[],
        },
    },
    Family {
        model_type: "modernbert",
        build: modernbert::build,
        settings: &settings::MODERNBERT,
        classifier: ["ModernBertForSequenceClassification", "classifier"],
        names: Names {
            body: "model",
            heads: &["head", "classifier", "decoder"],
            buffers: &[],
            tied: None,
            stacked: &[],
        },
    },
    Family {
        model_type: "vit",
        build: vit::hugging_face,
        settings: &settings::VIT,
        classifier: ["ViTForImageClassification", "classifier"],
        names: Names {
            body: "vit",
            heads: &["classifier", "vit.pooler"],
            buffers: &[],
            tied: None,
            stacked: &[],
        },
    },
];

const fn llama_like(
    model_type: &'static str,
    classifier: &'static str,
    settings: &'static Settings,
) -> Family {
    let names = Names {
        body: "model",
        heads: &["score", "lm_head"],
        buffers: ROTARY,
        tied: Some(("model.embed_tokens", false)),
        stacked: &[],
    };
    Family {
        model_type,
        build: llama::build,
        settings,
        classifier: [classifier, "score"],
        names,
    }
}

/// The same where the output matrix is the embedding unless the configuration says otherwise.
const fn tied(family: Family) -> Family {
    let names = Names {
        tied: Some(("model.embed_tokens", true)),
        ..family.names
    };
    Family { names, ..family }
}

/// The same where the experts of a layer are one tensor in files.
const fn stacked(family: Family) -> Family {
    let names = Names {
        stacked: STACKED,
        ..family.names
    };
    Family { names, ..family }
}

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

    /// The same for samples of this shape: a known family reads images of another size where its builder
    /// can, and sentences up to its longest. A graph as data says itself what it reads.
    ///
    /// # Errors
    /// As [`Graph::from_config`]; images of a size that the family does not read.
    pub fn for_samples(
        config: &Value,
        signature: &Signature,
        sample: &[usize],
    ) -> Result<Self, GraphError> {
        let mut graph = Self::build(Source {
            config,
            signature,
            sample: Some(sample),
        })?;
        // What is computed is counted for sentences as long as these.
        if let (Input::Tokens { shape }, &[length]) = (&mut graph.input, sample)
            && config["model_type"] != "graph"
        {
            shape[0] = shape[0].min(length);
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
        let Some(full) = config["architecture"].as_str() else {
            // diffusers writes the class.
            let class = config["_class_name"]
                .as_str()
                .or(config["architectures"][0].as_str());
            return source.by_names(class.unwrap_or("(none)"), known());
        };
        // timm appends the training recipe after a dot.
        let name = full.split('.').next().unwrap_or(full);
        if vit::is_timm(name) {
            return vit::timm(&source);
        }

        match FAMILIES.iter().find(|(known, _)| *known == name) {
            Some((_, build)) => build(&source),
            None => source.by_names(name, known()),
        }
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

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tensors::{DType, TensorInfo};

    /// Tensors by name and shape, batch norms as `name` and channels.
    pub(super) fn signature(weights: &[(&str, &[usize])], norms: &[(&str, usize)]) -> Signature {
        let info = |shape: &[usize]| TensorInfo {
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        let mut all: Signature = weights
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), info(shape)))
            .collect();
        for (name, channels) in norms {
            for suffix in ["weight", "bias", "running_mean", "running_var"] {
                all.insert(format!("{name}.{suffix}"), info(&[*channels]));
            }
        }
        all
    }

    #[test]
    fn a_configuration_of_no_known_network_is_one_by_names() {
        let name = |config: Value| {
            let graph = Graph::from_config(&config, &Signature::new()).expect("a network by names");
            graph.by_names().map(|network| network.name.clone())
        };
        assert_eq!(name(json!({})).as_deref(), Some("(none)"));
        assert_eq!(
            name(json!({"_class_name": "A", "model": 1})).as_deref(),
            Some("A")
        );
        assert_eq!(
            name(json!({"architecture": "resnext50"})).as_deref(),
            Some("resnext50")
        );
        let answers = json!({"model_type": "bert", "architectures": ["BertForQuestionAnswering"]});
        assert_eq!(name(answers).as_deref(), Some("BertForQuestionAnswering"));

        let code = |config: Value| {
            Graph::from_config(&config, &Signature::new())
                .expect_err("no such network")
                .code()
        };
        let packed =
            json!({"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}});
        assert_eq!(code(packed), "wrong_dtype");
        assert_eq!(code(json!({"architecture":"resnet18"})), "missing_tensor");
        assert_eq!(
            code(json!({"model_type": "bert", "new_key": 1})),
            "malformed_config"
        );
        let conv = signature(&[("conv1.weight", &[8, 3, 7, 7])], &[]);
        let config = json!({"architecture":"resnet18","input_size":[64]});
        assert_eq!(
            Graph::from_config(&config, &conv).unwrap_err().code(),
            "malformed_config"
        );
    }
}
