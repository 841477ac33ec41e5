//! Known architectures: builders from the `config.json` that users already have to a [`Graph`].
//!
//! A builder knows names and wiring, nothing else; every size is read from the tensors. What may be
//! permuted follows from the graph alone.

mod albert;
mod aliases;
mod bart;
mod bert;
mod builder;
mod classifier;
mod configured;
mod convnext;
mod deberta;
mod densenet;
mod dinov2;
mod efficientnet;
mod electra;
mod encoder_decoder;
mod encoders;
mod gpt2;
mod gpt_neox;
mod hugging_face_efficientnet;
mod hugging_face_resnet;
mod inverted_residual;
mod listing;
mod llama;
mod mobilenet_v2;
mod mobilenet_v3;
mod modernbert;
mod naming;
mod pictures;
mod post_norm;
mod resnet;
mod rope;
mod sequences;
mod settings;
mod source;
mod suffixes;
mod swin;
mod t5;
mod tasks;
mod timm_vit;
mod towers;
mod transformer;
mod vgg;
mod vit;
mod whisper;
mod writers;

pub use classifier::{ClassOf, as_classifier, missing_classifier};
pub use listing::{Entry, entries};
pub use naming::{
    Naming, OUTPUT, body_prefix, copies_of, is_bare_below_its_head, is_copy_of, is_of_a_task,
    is_transposed, module_of_tensor, tensor_of_module, tied_embedding, vocabulary_of, wrapper_of,
};

use builder::{Builder, PoolWindow};
use naming::Names;
use settings::Settings;
use source::Source;

use super::{error::GraphError, graph::Graph};

type Build = fn(&Source<'_>) -> Result<Graph, GraphError>;

/// Networks of timm that one builder reads.
struct Timm {
    /// What `architecture` calls them.
    names: &'static [&'static str],
    /// The arguments of their constructor.
    settings: &'static Settings,
    /// How the constructor pools; the only way that is read.
    pool: &'static str,
    build: Build,
}

const TIMM: [Timm; 7] = [
    resnet::TIMM,
    vgg::TIMM,
    convnext::TIMM,
    efficientnet::TIMM,
    mobilenet_v3::TIMM,
    densenet::TIMM,
    swin::TIMM,
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
const MODEL_TYPES: [Family; 45] = [
    encoders::ALBERT,
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
    encoders::DEBERTA,
    encoders::ELECTRA,
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
        "seed_oss",
        "SeedOssForSequenceClassification",
        &settings::SEED_OSS,
    ),
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
    encoders::MPNET,
    writers::BART,
    writers::MARIAN,
    writers::PEGASUS,
    writers::T5,
    writers::WHISPER,
    pictures::VIT,
    pictures::RESNET,
    pictures::CONVNEXT,
    pictures::CONVNEXT_V2,
    pictures::EFFICIENTNET,
    pictures::MOBILENET_V2,
    pictures::DINOV2,
    pictures::DINOV2_WITH_REGISTERS,
    pictures::CLIP,
    pictures::CLIP_VISION,
    pictures::SIGLIP,
    pictures::SWIN,
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

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
