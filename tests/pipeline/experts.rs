//! Networks with experts: a new base with experts, units, heads and stream in another order.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{network::Naming, symmetry::Permutation, testing};
use serde_json::{Value, json};

use super::case::{Case, read_json, read_tensors};
use crate::engine::networks::Network;

const WIDTH: usize = 16;
const HIDDEN: usize = 6;
const EXPERTS: usize = 5;
const VOCABULARY: usize = 20;

/// A language model of one layer, with what its family's files hold.
struct Family {
    config: Value,
    shapes: Vec<(String, Vec<usize>)>,
}

impl Family {
    fn of(model_type: &str, class: &str, more: &Value) -> Self {
        let mut config = json!({"model_type": model_type, "architectures": [class], "num_attention_heads": 4,
            "num_key_value_heads": 2, "num_hidden_layers": 1, "head_dim": 4, "max_position_embeddings": 12,
            "num_local_experts": EXPERTS, "num_experts_per_tok": 2});
        for (key, value) in more.as_object().expect("an object") {
            config[key] = value.clone();
        }
        let layer = "model.layers.0";
        let shapes = [
            (
                "model.embed_tokens.weight".to_owned(),
                vec![VOCABULARY, WIDTH],
            ),
            ("lm_head.weight".into(), vec![VOCABULARY, WIDTH]),
            ("model.norm.weight".into(), vec![WIDTH]),
            (format!("{layer}.input_layernorm.weight"), vec![WIDTH]),
            (
                format!("{layer}.post_attention_layernorm.weight"),
                vec![WIDTH],
            ),
            (format!("{layer}.self_attn.q_proj.weight"), vec![16, WIDTH]),
            (format!("{layer}.self_attn.k_proj.weight"), vec![8, WIDTH]),
            (format!("{layer}.self_attn.v_proj.weight"), vec![8, WIDTH]),
            (format!("{layer}.self_attn.o_proj.weight"), vec![WIDTH, 16]),
        ];
        Self {
            config,
            shapes: shapes.into(),
        }
    }

    fn add(&mut self, name: &str, shape: &[usize]) {
        self.shapes
            .push((format!("model.layers.0.{name}"), shape.to_vec()));
    }

    fn mixtral() -> Self {
        let mut family = Self::of("mixtral", "MixtralForCausalLM", &json!({}));
        family.add("block_sparse_moe.gate.weight", &[EXPERTS, WIDTH]);
        for expert in 0..EXPERTS {
            let name = |layer: &str| format!("block_sparse_moe.experts.{expert}.{layer}.weight");
            family.add(&name("w1"), &[HIDDEN, WIDTH]);
            family.add(&name("w3"), &[HIDDEN, WIDTH]);
            family.add(&name("w2"), &[WIDTH, HIDDEN]);
        }
        family
    }

    /// All experts in one tensor, biases, and a sink for each head.
    fn gpt_oss() -> Self {
        let rope = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}});
        let mut family = Self::of("gpt_oss", "GptOssForCausalLM", &rope);
        for (layer, rows) in [
            ("q_proj", 16),
            ("k_proj", 8),
            ("v_proj", 8),
            ("o_proj", WIDTH),
        ] {
            family.add(&format!("self_attn.{layer}.bias"), &[rows]);
        }
        family.add("self_attn.sinks", &[4]);
        family.add("mlp.router.weight", &[EXPERTS, WIDTH]);
        family.add("mlp.router.bias", &[EXPERTS]);
        family.add("mlp.experts.gate_up_proj", &[EXPERTS, WIDTH, 2 * HIDDEN]);
        family.add("mlp.experts.gate_up_proj_bias", &[EXPERTS, 2 * HIDDEN]);
        family.add("mlp.experts.down_proj", &[EXPERTS, HIDDEN, WIDTH]);
        family.add("mlp.experts.down_proj_bias", &[EXPERTS, WIDTH]);
        family
    }
}

#[test]
fn the_order_of_experts_is_found_and_published() {
    for Family { config, shapes } in [Family::mixtral(), Family::gpt_oss()] {
        let file = testing::signature(shapes);
        let naming = Naming::of(&config, &file);
        let inside = naming.read_signature(file.clone());
        let network = Network::of(
            &config,
            inside
                .iter()
                .map(|(name, info)| (name.clone(), info.shape.clone())),
        );
        let case = Case::empty(network);
        let symmetry = case.network.symmetry();
        assert_eq!(symmetry.experts.len(), 1);

        let old = case.network.parameters(1);
        let tuned = old.shifted(
            &case.network.parameters(2),
            &case.network.parameters(3),
            0.1,
        );
        let order = Permutation::random(&symmetry, &mut ChaCha8Rng::seed_from_u64(4));
        assert!(
            order
                .sigma(symmetry.experts[0].order)
                .iter()
                .enumerate()
                .any(|(j, i)| j != *i as usize)
        );
        let new = order.apply(&symmetry, &old);
        for (name, model) in [("old", &old), ("tuned", &tuned), ("new", &new)] {
            case.write(&format!("{name}/config.json"), config.to_string());
            case.put_weights(name, &naming.written(model));
        }
        let spec = json!({
            "source": {"base": case.uri("old/"), "trajectory": case.uri("tuned/")},
            "target": {"base": case.uri("new/")},
            "methods": ["weight_matching"],
            "output": case.uri("out/"),
        });

        case.plan(&spec).expect("headers are enough");
        let (_, folder) = case.done(&spec);
        let found = read_tensors(&folder.join("model.safetensors"));
        let expected = naming.written(&order.apply(&symmetry, &tuned));
        assert_eq!(found.signature(), file);
        for (name, tensor) in expected.iter() {
            assert_eq!(found[name].bytes(), tensor.bytes(), "{name}");
        }
        assert_eq!(read_json(&folder.join("report.json"))["network"], "graph");
    }
}
