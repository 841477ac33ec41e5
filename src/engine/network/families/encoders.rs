//! The encoders in BERT's wake, as they are registered.

use super::{Family, albert, bert, deberta, electra, naming::Names, settings};

pub(super) const ALBERT: Family = Family {
    model_type: "albert",
    build: albert::build,
    settings: &settings::ALBERT,
    classifier: ["AlbertForSequenceClassification", "classifier"],
    names: Names {
        body: "albert",
        heads: &[
            "classifier",
            "predictions",
            "sop_classifier",
            "qa_outputs",
            "albert.pooler",
        ],
        buffers: &[
            "albert.embeddings.position_ids",
            "albert.embeddings.token_type_ids",
        ],
        tied: None,
        stacked: &[],
    },
};

pub(super) const DEBERTA: Family = Family {
    model_type: "deberta-v2",
    build: deberta::build,
    settings: &settings::DEBERTA,
    classifier: ["DebertaV2ForSequenceClassification", "classifier"],
    names: Names {
        body: "deberta",
        heads: &[
            "classifier",
            "pooler",
            "cls",
            "lm_predictions",
            "mask_predictions",
            "qa_outputs",
        ],
        buffers: &["deberta.embeddings.position_ids"],
        tied: None,
        stacked: &[],
    },
};

pub(super) const ELECTRA: Family = Family {
    model_type: "electra",
    build: electra::build,
    settings: &settings::ELECTRA,
    classifier: ["ElectraForSequenceClassification", "classifier.out_proj"],
    names: Names {
        body: "electra",
        heads: &[
            "classifier",
            "discriminator_predictions",
            "generator_predictions",
            "generator_lm_head",
            "sequence_summary",
            "qa_outputs",
        ],
        buffers: &[
            "electra.embeddings.position_ids",
            "electra.embeddings.token_type_ids",
        ],
        tied: None,
        stacked: &[],
    },
};

pub(super) const MPNET: Family = Family {
    model_type: "mpnet",
    build: bert::mpnet,
    settings: &settings::MPNET,
    classifier: ["MPNetForSequenceClassification", "classifier.out_proj"],
    names: Names {
        body: "mpnet",
        heads: &["classifier", "lm_head", "qa_outputs", "mpnet.pooler"],
        buffers: &["mpnet.embeddings.position_ids"],
        tied: None,
        stacked: &[],
    },
};
