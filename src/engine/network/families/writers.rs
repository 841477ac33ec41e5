//! Families with an encoder and a decoder, as they are registered.

use super::{Family, NO_CLASSIFIER, bart, naming::Names, settings, t5, whisper};

pub(super) const BART: Family = Family {
    model_type: "bart",
    build: bart::bart,
    settings: &settings::BART,
    classifier: [
        "BartForSequenceClassification",
        "classification_head.out_proj",
    ],
    names: BART_NAMES,
};

pub(super) const MARIAN: Family = Family {
    model_type: "marian",
    build: bart::marian,
    settings: &settings::MARIAN,
    classifier: [NO_CLASSIFIER, "classification_head.out_proj"],
    names: Names {
        buffers: COMPUTED_POSITIONS,
        ..BART_NAMES
    },
};

pub(super) const PEGASUS: Family = Family {
    model_type: "pegasus",
    build: bart::pegasus,
    settings: &settings::PEGASUS,
    classifier: [NO_CLASSIFIER, "classification_head.out_proj"],
    names: BART_NAMES,
};

pub(super) const T5: Family = Family {
    model_type: "t5",
    build: t5::build,
    settings: &settings::T5,
    classifier: [
        "T5ForSequenceClassification",
        "classification_head.out_proj",
    ],
    names: Names {
        body: "transformer",
        heads: &["classifier", "classification_head", "lm_head", "qa_outputs"],
        buffers: &[
            "transformer.decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
        ],
        tied: None,
        stacked: &[],
    },
};

pub(super) const WHISPER: Family = Family {
    model_type: "whisper",
    build: whisper::build,
    settings: &settings::WHISPER,
    classifier: [NO_CLASSIFIER, "classifier"],
    names: Names {
        body: "model",
        heads: &["lm_head", "proj_out", "projector", "classifier"],
        buffers: &[],
        tied: Some(("model.decoder.embed_tokens", true)),
        stacked: &[],
    },
};

const BART_NAMES: Names = Names {
    body: "model",
    heads: &[
        "classification_head",
        "lm_head",
        "final_logits_bias",
        "qa_outputs",
    ],
    buffers: &["model.encoder.version", "model.decoder.version"],
    tied: Some(("model.shared", true)),
    stacked: &[],
};
const COMPUTED_POSITIONS: &[&str] = &[
    "model.encoder.embed_positions.weight",
    "model.decoder.embed_positions.weight",
];
