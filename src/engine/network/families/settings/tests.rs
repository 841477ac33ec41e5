//! The tables against the libraries themselves: `tests/fixtures/configurations/make.py` writes what their
//! configurations and sources say.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{FAMILIES, Family, MODEL_TYPES, aliases::ALIASES, vit},
    *,
};

/// What the libraries' sources read, and what is neutral all the same.
const READ_AND_NEUTRAL: [&str; 55] = [
    // Training noise and first values.
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
    "classifier_dropout",
    "classifier_dropout_prob",
    "cls_dropout",
    "pooler_dropout",
    "dropout_rate",
    "attention_dropout",
    "dropout",
    "activation_dropout",
    "encoder_layerdrop",
    "decoder_layerdrop",
    "init_std",
    "seq_classif_dropout",
    "apply_spec_augment",
    "mask_time_prob",
    "mask_time_length",
    "mask_time_min_masks",
    "mask_feature_prob",
    "mask_feature_length",
    "mask_feature_min_masks",
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "hidden_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "initializer_range",
    "initializer_cutoff_factor",
    "initializer_factor",
    // Of the training of routers: noise, and a loss of their own.
    "router_jitter_noise",
    "router_aux_loss_coef",
    "output_router_logits",
    // Of the head that predicts words, and of kernels that compute the same.
    "decoder_bias",
    "sparse_prediction",
    "sparse_pred_ignore_index",
    "deterministic_flash_attn",
    // What comes out beside the logits.
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "use_cache",
    // The same sums by another way.
    "chunk_size_feed_forward",
    "reorder_and_upcast_attn",
    "gradient_checkpointing",
    // Held against the number of heads alone.
    "embedding_size",
    // The file has the table.
    "sinusoidal_pos_embds",
    // Of a convolution that is refused.
    "conv_act",
    "conv_groups",
    // Of a class that tells what is heard.
    "classifier_proj_size",
    "use_weighted_layer_sum",
    // Of a pooler that no head here reads.
    "pooler_act",
    // Methods and switches of the code, no keys of a file.
    "get_text_config",
    "standardize_rope_params",
    "per_layer_config",
    "tie_last_hidden_states",
];

/// Of the models that read pictures with Gemma 3's decoder, which have another `model_type`.
const OF_PICTURES: [&str; 3] = ["mm_tokens_per_image", "text_config", "vision_config"];

fn fixture() -> Value {
    read("defaults.json")
}

fn read(name: &str) -> Value {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/configurations"
    );
    let file = std::path::Path::new(folder).join(name);
    serde_json::from_slice(&std::fs::read(file).expect("the fixture")).expect("JSON")
}

fn values(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().expect("an object").iter()
}

#[test]
fn the_libraries_own_configurations_pass() {
    let fixture = fixture();
    let mut seen = 0;
    for (model_type, family) in model_types() {
        let library = &fixture["transformers"][model_type];
        check(&library["defaults"], family.settings).expect(model_type);
        for (head, saved) in values(&library["saved"]) {
            check(saved, family.settings).expect(head);
            seen += 1;
        }
    }
    assert_eq!(
        seen, 67,
        "a classifier of all but five, nineteen language models, six of tokens, three bodies, seven that write"
    );

    for (name, saved) in values(&fixture["timm"]["saved"]) {
        let [arguments, pool] = arguments_of(name);
        // `reg4` is refused for its tensors: no argument tells it.
        check_timm(saved, arguments.0, pool.1).expect(name);
    }
}

/// After the configurations of well-known checkpoints, written down by hand: keys of old versions among them.
#[test]
fn published_encoders_pass() {
    for (name, config) in values(&read("published_encoders.json")) {
        let family = Family::of(config).expect(name);
        check(config, family.settings).expect(name);
    }
}

/// Every `model_type` that a builder knows, aliases too.
fn model_types() -> impl Iterator<Item = (&'static str, &'static Family)> {
    let own = MODEL_TYPES.iter().map(|family| (family.model_type, family));
    own.chain(ALIASES.iter().map(|alias| {
        let family = MODEL_TYPES
            .iter()
            .find(|family| family.model_type == alias.family);
        (alias.model_type, family.expect("an alias of a family"))
    }))
}

/// Whatever a builder takes by its name is in the fixture, and is built by the class whose arguments are known.
#[test]
fn every_architecture_of_timm_that_is_read_is_looked_at() {
    let architectures = &fixture()["timm"]["architectures"];
    for (name, _) in FAMILIES {
        let class = if name.starts_with("vgg") {
            "VGG"
        } else {
            "ResNet"
        };
        assert_eq!(architectures[name]["constructor"], class, "{name}");
    }
    for prefix in vit::prefixes() {
        let mut own = values(architectures).filter(|(name, _)| name.starts_with(prefix));
        assert!(
            own.any(|(_, found)| found["constructor"] == "VisionTransformer"),
            "{prefix}"
        );
    }
}

type Arguments = (&'static Settings, &'static str);

fn arguments_of(name: &str) -> [Arguments; 2] {
    let found = match name.split('_').next() {
        Some("vit" | "deit") => (&TIMM_VIT, "token"),
        Some(name) if name.starts_with("vgg") => (&TIMM_VGG, "avg"),
        _ => (&TIMM_RESNET, "avg"),
    };
    [found, found]
}

#[test]
fn what_the_libraries_read_is_read_or_refused() {
    let fixture = fixture();
    for (model_type, family) in model_types() {
        for (_, reads) in values(&fixture["transformers"][model_type]["reads"]) {
            for (key, _) in values(reads) {
                let known = if let Some((_, inner)) = key.split_once('.') {
                    ROPE.knows(inner) || ROPE.values(inner).is_some()
                } else {
                    let tables = [family.settings, &COMMON];
                    // What is neutral to most may be read by one.
                    let neutral = !family.settings.read.contains(&key.as_str())
                        && tables
                            .iter()
                            .any(|table| table.neutral.contains(&key.as_str()));
                    let told = tables
                        .iter()
                        .any(|t| t.knows(key) || t.values(key).is_some());
                    let excepted = READ_AND_NEUTRAL.contains(&key.as_str())
                        || OF_PICTURES.contains(&key.as_str());
                    key.starts_with('_') || excepted || (told && !neutral)
                };
                assert!(known, "{model_type}: {key} is read by the library");
            }
        }
    }
}

#[test]
fn every_argument_of_timms_constructors_is_known_and_its_default_passes() {
    let fixture = fixture();
    for (class, arguments) in [
        ("ResNet", &TIMM_RESNET),
        ("VGG", &TIMM_VGG),
        ("VisionTransformer", &TIMM_VIT),
    ] {
        check_object("", &fixture["timm"]["constructors"][class], &[arguments]).expect(class);
    }
}

/// Arguments that an architecture's name alone implies, and that change the file's tensors: the builder
/// finds one that it does not know, or misses one.
const SHOWN_BY_TENSORS: [&str; 22] = [
    "class_token",
    "reg_tokens",
    "num_reg_tokens",
    "pre_norm",
    "use_pre_transformer_norm",
    "no_embed_class",
    "fc_norm",
    "use_fc_norm",
    "final_norm",
    "block_fn",
    "embed_layer",
    "mlp_layer",
    "swiglu_mlp",
    "qk_norm",
    "attn_type",
    "rope_type",
    "use_abs_pos_emb",
    "use_rot_pos_emb",
    "attn_pool_mlp_ratio",
    "attn_pool_num_heads",
    "rel_pos_dim",
    "shared_rel_pos",
];

#[test]
fn no_architecture_of_timm_computes_otherwise_under_tensors_that_look_the_same() {
    let fixture = fixture();
    let harmless: BTreeSet<&str> = TIMM_VIT
        .tensors
        .iter()
        .chain(TIMM_VIT.read)
        .copied()
        .collect();
    let mut looked_at = 0;
    for (name, architecture) in values(&fixture["timm"]["architectures"]) {
        if !vit::is_timm(name) || architecture["constructor"] != "VisionTransformer" {
            continue;
        }
        looked_at += 1;
        let mut odd =
            values(&architecture["model_args"]).filter(|(key, _)| !harmless.contains(key.as_str()));
        let shown = values(&architecture["model_args"])
            .any(|(key, _)| SHOWN_BY_TENSORS.contains(&key.as_str()));
        assert!(
            shown || odd.next().is_none(),
            "{name}: {}",
            architecture["model_args"]
        );
    }
    assert!(looked_at > 100, "{looked_at}");
}

/// A name tells nothing, or rightly, whatever else the architecture has.
#[test]
fn no_architecture_has_other_heads_than_its_name_tells() {
    let fixture = fixture();
    let mut told = 0;
    for (name, architecture) in values(&fixture["timm"]["architectures"]) {
        let given = architecture["model_args"]["num_heads"].as_u64();
        if let (true, Some(given), Some(heads)) = (vit::is_timm(name), given, vit::heads_of(name))
            && architecture["constructor"] == "VisionTransformer"
        {
            assert_eq!(heads as u64, given, "{name}");
            told += 1;
        }
    }
    assert!(told > 80, "{told}");
}

#[test]
fn what_is_not_known_to_be_neutral_is_refused_by_its_name() {
    let refused = |family: &Settings, config: Value| match check(&config, family) {
        Err(GraphError::Malformed { detail }) => detail,
        other => panic!("{other:?}"),
    };
    for (key, value) in [
        ("position_embedding_type", json!("relative_key")),
        ("is_decoder", json!(true)),
        ("adapters", json!({"adapters": {}})),
        ("quantization_config", json!({"bits": 4})),
        ("auto_map", json!({"AutoModel": "mine.Model"})),
        ("is_causal", json!(true)),
    ] {
        let detail = refused(&BERT, json!({ key: value }));
        assert!(detail.starts_with(&format!("{key}: ")), "{detail}");
    }
    for (key, value) in [
        ("output_stride", json!(8)),
        ("act_layer", json!("silu")),
        ("stem_type", json!("deep")),
        ("some_new_argument", json!(1)),
    ] {
        let config = json!({"architecture": "resnet18", "model_args": { key: value }});
        let error = check_timm(&config, &TIMM_RESNET, "avg")
            .expect_err(key)
            .to_string();
        assert!(error.contains(&format!("model_args.{key}: ")), "{error}");
    }
    for config in [
        json!({"global_pool": "max"}),
        json!({"model_args": {"global_pool": "avgmax"}}),
        json!({"pretrained_cfg": {"global_pool": "max"}}),
    ] {
        let error = check_timm(&config, &TIMM_RESNET, "avg")
            .unwrap_err()
            .to_string();
        assert!(error.contains("global_pool"), "{error}");
    }
    let notes = json!({"_name_or_path": "x", "_anything": 1, "auto_map": null});
    check(&notes, &BERT).unwrap();
}
