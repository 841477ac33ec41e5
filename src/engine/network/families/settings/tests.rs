//! The tables against the libraries themselves: `tests/fixtures/configurations/make.py` writes what their
//! configurations and sources say.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{
        Family, MODEL_TYPES, TIMM,
        aliases::ALIASES,
        timm_vit::{self, Implied},
    },
    *,
};

/// What the libraries' sources read, and what is neutral all the same.
const READ_AND_NEUTRAL: [&str; 60] = [
    // Training noise and first values.
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
    "classifier_dropout",
    "classifier_dropout_prob",
    "cls_dropout",
    "pooler_dropout",
    "dropout_rate",
    "drop_path_rate",
    "drop_connect_rate",
    "residual_dropout",
    "batch_norm_momentum",
    "layerscale_value",
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

/// Of the other tower of a pair, and of what compares both.
const OF_TEXTS: [&str; 6] = [
    "text_config",
    "eos_token_id",
    "max_position_embeddings",
    "projection_dim",
    "projection_size",
    "logit_scale_init_value",
];

/// The settings of a part of a family's configuration.
const PARTS: [(&str, &Settings); 3] = [
    ("clip", &CLIP_VISION),
    ("clip_vision_model", &CLIP),
    ("siglip", &SIGLIP_VISION),
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
        seen, 83,
        "classifiers, twenty language models, six of tokens, seven bodies, seven that write"
    );

    for (name, saved) in values(&fixture["timm"]["saved"]) {
        let Arguments { settings, pool } = arguments_of(name);
        check_timm(saved, settings, pool).expect(name);
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

/// The same of networks of images.
#[test]
fn published_networks_of_images_pass() {
    let published = read("published_pictures.json");
    for (name, config) in values(&published) {
        let family = Family::of(config).expect(name);
        check(config, family.settings).expect(name);
        let part = PARTS
            .iter()
            .find(|(family, _)| config["model_type"] == *family);
        if let Some((_, settings)) = part {
            check_part("vision_config.", &config["vision_config"], settings).expect(name);
        }
    }
    assert_eq!(values(&published).count(), 10);
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

/// Whatever a builder takes by its name is in the fixture, and is built by a class whose arguments are known.
#[test]
fn every_architecture_of_timm_that_is_read_is_looked_at() {
    let architectures = &fixture()["timm"]["architectures"];
    for name in TIMM.iter().flat_map(|timm| timm.names) {
        let class = architectures[name]["constructor"].as_str().expect(name);
        let known = CONSTRUCTORS.iter().find(|(known, _)| *known == class);
        assert!(known.is_some(), "{name} is a {class}");
        let (_, settings) = known.expect("it was found");
        assert!(
            std::ptr::eq(*settings, arguments_of(name).settings),
            "{name}"
        );
    }
    for prefix in timm_vit::prefixes() {
        let mut own = values(architectures).filter(|(name, _)| name.starts_with(prefix));
        assert!(
            own.any(|(_, found)| found["constructor"] == "VisionTransformer"),
            "{prefix}"
        );
    }
}

/// The classes of timm whose arguments are known.
const CONSTRUCTORS: [(&str, &Settings); 8] = [
    ("ResNet", &TIMM_RESNET),
    ("VGG", &TIMM_VGG),
    ("VisionTransformer", &TIMM_VIT),
    ("ConvNeXt", &TIMM_CONVNEXT),
    ("DenseNet", &TIMM_DENSENET),
    ("EfficientNet", &TIMM_EFFICIENTNET),
    ("MobileNetV3", &TIMM_EFFICIENTNET),
    ("SwinTransformer", &TIMM_SWIN),
];

struct Arguments {
    settings: &'static Settings,
    pool: &'static str,
}

fn arguments_of(name: &str) -> Arguments {
    let found = TIMM.iter().find(|timm| timm.names.contains(&name));
    found.map_or(
        Arguments {
            settings: &TIMM_VIT,
            pool: "token",
        },
        |timm| Arguments {
            settings: timm.settings,
            pool: timm.pool,
        },
    )
}

#[test]
fn what_the_libraries_read_is_read_or_refused() {
    let fixture = fixture();
    for (model_type, family) in model_types() {
        for (_, reads) in values(&fixture["transformers"][model_type]["reads"]) {
            for (key, _) in values(reads) {
                let known = if let Some((_, inner)) = key.split_once('.') {
                    let is_index = inner.bytes().all(|byte| byte.is_ascii_digit());
                    is_index || ROPE.knows(inner) || ROPE.values(inner).is_some()
                } else {
                    let part = PARTS.iter().find(|(family, _)| *family == model_type);
                    let part = part.map_or(&COMMON, |(_, settings)| settings);
                    let tables = [family.settings, &COMMON, part];
                    // What is neutral to most may be read by one.
                    let neutral = !family.settings.read.contains(&key.as_str())
                        && tables
                            .iter()
                            .any(|table| table.neutral.contains(&key.as_str()));
                    let told = tables
                        .iter()
                        .any(|t| t.knows(key) || t.values(key).is_some());
                    let excepted = READ_AND_NEUTRAL.contains(&key.as_str())
                        || OF_PICTURES.contains(&key.as_str())
                        || (PARTS.iter().any(|(family, _)| *family == model_type)
                            && OF_TEXTS.contains(&key.as_str()));
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
    for (class, arguments) in CONSTRUCTORS {
        check_object("", &fixture["timm"]["constructors"][class], &[arguments]).expect(class);
    }
}

/// Arguments that an architecture's name alone implies, and that change the file's tensors: the builder
/// finds one that it does not know, or misses one.
const SHOWN_BY_TENSORS: [&str; 8] = [
    "embed_layer",
    "mlp_layer",
    "attn_layer",
    "qk_norm",
    "attn_pool_mlp_ratio",
    "attn_pool_num_heads",
    "swiglu_mlp",
    "shared_rel_pos",
];

#[test]
fn no_architecture_of_timm_computes_otherwise_under_tensors_that_look_the_same() {
    let fixture = fixture();
    let harmless: BTreeSet<&str> = TIMM_VIT
        .tensors
        .iter()
        .chain(TIMM_VIT.neutral)
        .chain(TIMM_VIT.read)
        .copied()
        .collect();
    let mut looked_at = 0;
    for (name, architecture) in values(&fixture["timm"]["architectures"]) {
        if !timm_vit::is_timm(name) {
            continue;
        }
        let arguments = &architecture["model_args"];
        let Some(implied) = Implied::of(name) else {
            continue;
        };
        assert_eq!(architecture["constructor"], "VisionTransformer", "{name}");
        looked_at += 1;
        if values(arguments).any(|(key, _)| SHOWN_BY_TENSORS.contains(&key.as_str())) {
            continue;
        }
        // Blocks of other tensors.
        let block = arguments["block_fn"].as_str();
        let is_in_parallel = block.is_none_or(|name| name.contains("Parallel"));
        let odd = values(arguments).filter(|(key, _)| {
            // Images of another size than the positions' are refused.
            let told = ["norm_layer", "block_fn", "dynamic_img_size"];
            let is_told = told.contains(&key.as_str());
            !is_told && !harmless.contains(key.as_str())
        });
        assert_eq!(odd.count(), 0, "{name}: {arguments}");
        assert!(is_in_parallel, "{name}");

        let eps = arguments["norm_layer"]["eps"].as_f64().unwrap_or(1e-6);
        assert_eq!(implied.eps, eps, "{name}");
        let activation = arguments["act_layer"].as_str().unwrap_or("gelu");
        assert_eq!(implied.activation, activation, "{name}");
        let pool = arguments["global_pool"].as_str().unwrap_or("token");
        assert_eq!(implied.pool, pool, "{name}");
    }
    assert!(looked_at > 100, "{looked_at}");
}

/// What a name implies and no tensor shows: arguments of its constructor.
#[test]
fn names_of_convolutional_networks_imply_what_is_built() {
    let fixture = fixture();
    for name in TIMM.iter().flat_map(|timm| timm.names) {
        let settings = arguments_of(name).settings;
        for (key, value) in values(&fixture["timm"]["architectures"][name]["model_args"]) {
            let allowed = settings.values(key).into_iter().flatten();
            let is_known = settings.tensors.contains(&key.as_str())
                || allowed
                    .filter_map(|text| text.parse::<Value>().ok())
                    .any(|known| known == *value);
            assert!(
                is_known || is_told(name, key, value),
                "{name}: {key} {value}"
            );
        }
    }
}

/// Whether a builder takes an argument from the name.
fn is_told(name: &str, key: &str, value: &Value) -> bool {
    let is_of_tensorflow = name.starts_with("tf_");
    match key {
        "block" | "layers" | "model_cfg" | "kwargs_filter" | "features_only" => true,
        "block_args" => value.is_array(),
        "norm_eps" => *value == 1e-5 && name == "convnext_xxlarge",
        "pad_type" => value == "same" && is_of_tensorflow,
        "norm_layer" => {
            value["partial"] == "BatchNorm2d"
                && value["eps"].as_f64() == is_of_tensorflow.then_some(1e-3)
        }
        "se_layer" => value["gate_layer"] == "hard_sigmoid" && value["force_act_layer"] == "ReLU",
        "act_layer" => {
            let has_relu6 = name.starts_with("mobilenetv2") || name.contains("_lite");
            let is_third = name.contains("mobilenetv3");
            let wanted = match (has_relu6, is_third, name.contains("_minimal")) {
                (true, ..) => "ReLU6",
                (_, true, true) => "ReLU",
                (_, true, false) => "Hardswish",
                _ => "SiLU",
            };
            value == wanted
        }
        _ => false,
    }
}

/// The same of the blocks: strides, activations and sums with their inputs.
#[test]
fn names_of_mobile_networks_imply_their_stages() {
    let fixture = fixture();
    let mut looked_at = 0;
    for name in TIMM.iter().flat_map(|timm| timm.names) {
        let arguments = &fixture["timm"]["architectures"][name]["model_args"];
        let stages = arguments["block_args"].as_array().into_iter().flatten();
        let strides: &[u64] = if name.contains("mobilenetv3_small") {
            &[2, 2, 2, 1, 2, 1]
        } else {
            &[1, 2, 2, 2, 1, 2, 1]
        };
        let with_relu = if name.contains("_minimal") || !name.contains("mobilenetv3") {
            0
        } else {
            strides.len() - 4
        };
        for (stage, found) in stages.enumerate() {
            let wanted = if stage < with_relu { "ReLU" } else { "None" };
            assert_eq!(found["stride"], strides[stage], "{name}: stage {stage}");
            assert_eq!(found["act_layer"], json!([wanted]), "{name}: stage {stage}");
            for key in ["noskip", "pw_act", "s2d"] {
                let is_false = found[key] == json!(["False"]) || found[key] == json!(["None"]);
                assert!(is_false, "{name}: stage {stage}: {key}");
            }
            let is_single = found["block_type"] == json!(["cn"]);
            let skips = json!([if name.contains("v3") { "False" } else { "True" }]);
            assert!(
                !is_single || found["skip"] == skips,
                "{name}: stage {stage}"
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 350, "{looked_at}");
}

/// A name tells nothing, or rightly, whatever else the architecture has.
#[test]
fn no_architecture_has_other_heads_than_its_name_tells() {
    let fixture = fixture();
    let mut told = 0;
    for (name, architecture) in values(&fixture["timm"]["architectures"]) {
        let given = architecture["model_args"]["num_heads"].as_u64();
        if let (true, Some(given), Some(heads)) =
            (timm_vit::is_timm(name), given, timm_vit::heads_of(name))
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
        ("aa_layer", json!("blurpool")),
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
