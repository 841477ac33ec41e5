//! A network that no builder knows: what its tensors' names and its configuration tell.
//!
//! Adding a tuning's update to a new base needs the tensors alone. All axes are fixed, so that such a network has
//! no symmetry, and nothing can be computed with it. What a tensor is for is told by its name: running
//! statistics of a norm, the rows of a vocabulary, the rows of a classifier. Whatever is no float is the new
//! base's own.

use std::sync::Arc;

use serde_json::Value;

use super::{
    error::GraphError,
    graph::{Graph, Input, Node, Operand, Task},
    op::{ByNames, Named, Op, Role, RowsOf},
};
use crate::tensors::{DType, Signature, TensorInfo};

/// What libraries call a network's last layer, whose rows are classes.
const CLASSIFIERS: [&str; 8] = [
    "classifier",
    "classifier.out_proj",
    "score",
    "head",
    "head.fc",
    "fc",
    "heads.head",
    "classification_head.out_proj",
];
/// What libraries call a module whose rows are tokens.
const TOKEN_TABLES: [&str; 9] = [
    "embed_tokens",
    "word_embeddings",
    "tok_embeddings",
    "wte",
    "embed_in",
    "shared",
    "lm_head",
    "embed_out",
    "decoder",
];
/// How the names of what a norm estimates from data end.
const STATISTICS: [&str; 2] = ["running_mean", "running_var"];
/// What a library writes where it has packed the weights.
const QUANTISED: [&str; 2] = ["quantization_config", "quantization"];

impl GraphError {
    /// Why nothing can be computed with a network by names.
    pub(super) fn unknown(network: &ByNames) -> Self {
        Self::UnknownArchitecture {
            name: network.name.clone(),
            known: network.known.clone(),
        }
    }
}

impl Graph {
    /// The network where only its tensors are known: nothing can be computed with it.
    pub fn by_names(&self) -> Option<&ByNames> {
        match self.nodes.as_slice() {
            [
                Node {
                    op: Op::Opaque { network },
                    ..
                },
            ] => Some(network),
            _ => None,
        }
    }

    /// Refuses a network of which only the tensors are known.
    ///
    /// # Errors
    /// [`GraphError::UnknownArchitecture`].
    pub fn check_wired(&self) -> Result<(), GraphError> {
        self.by_names()
            .map_or(Ok(()), |network| Err(GraphError::unknown(network)))
    }

    /// Whether what it computes can be judged and trained: its wiring is known, and it has a head.
    pub fn has_loss(&self) -> bool {
        self.by_names().is_none() && self.task != Task::Representation
    }

    /// A network by its tensors' names: one opaque node.
    ///
    /// # Errors
    /// [`GraphError::Packed`]: a difference of packed weights is no difference of weights.
    pub(super) fn of_names(
        name: &str,
        known: String,
        config: &Value,
        signature: &Signature,
    ) -> Result<Self, GraphError> {
        if let Some(key) = QUANTISED.into_iter().find(|key| !config[*key].is_null()) {
            return Err(GraphError::Packed {
                what: format!("config.json has {key}"),
            });
        }
        if let Some((name, info)) = signature.iter().find(|(name, info)| is_packed(name, info)) {
            let what = format!("the tensor {name:?} is {}", info.dtype.name());
            return Err(GraphError::Packed { what });
        }

        let rows = Rows::of(config);
        let tensors = signature.iter().map(|(name, info)| Named {
            name: name.clone(),
            role: role(name, info.dtype),
            rank: info.shape.len(),
            rows: rows.of_tensor(name, info),
        });
        let network = ByNames {
            name: name.to_owned(),
            known,
            tensors: tensors.collect(),
        };
        let op = Op::Opaque {
            network: Arc::new(network),
        };
        let node = Node {
            id: "network".to_owned(),
            op,
            inputs: vec![Operand::Input],
        };
        // What it reads nobody knows: no sample fits.
        let input = Input::Features { shape: [0] };

        Ok(Self {
            input,
            target: None,
            task: Task::Classification,
            nodes: vec![node],
        })
    }
}

fn role(name: &str, dtype: DType) -> Role {
    let is_statistic = STATISTICS.iter().any(|end| last_part(name) == *end);
    match (dtype.is_float(), is_statistic) {
        (false, _) => Role::Counter,
        (true, true) => Role::Statistic,
        (true, false) => Role::Learned,
    }
}

/// Whether a tensor of whole numbers is a matrix of weights, under the names that libraries give packed ones.
fn is_packed(name: &str, info: &TensorInfo) -> bool {
    let is_whole = !info.dtype.is_float() && info.dtype != DType::Bool;
    let part = last_part(name);
    let is_of_weights =
        part.contains("weight") || part.ends_with("_blocks") || part.starts_with("qzeros");
    is_whole && is_of_weights && info.shape.len() > 1
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}

/// How many classes and tokens a configuration tells of.
struct Rows {
    classes: Option<usize>,
    tokens: Option<usize>,
}

impl Rows {
    fn of(config: &Value) -> Self {
        let named = config["id2label"].as_object().map(serde_json::Map::len);
        let tokens = [&config["vocab_size"], &config["text_config"]["vocab_size"]];
        Self {
            classes: named
                .or_else(|| number(&config["num_labels"]))
                .or_else(|| number(&config["num_classes"])),
            tokens: tokens.into_iter().find_map(number),
        }
    }

    fn of_tensor(&self, name: &str, info: &TensorInfo) -> Option<RowsOf> {
        let (module, part) = name.rsplit_once('.')?;
        let count = info
            .shape
            .first()
            .copied()
            .filter(|_| info.dtype.is_float());
        count?;
        let is_classifier = CLASSIFIERS.contains(&module) && matches!(part, "weight" | "bias");
        if is_classifier && count == self.classes {
            return Some(RowsOf::Classes);
        }
        let is_table = part == "weight" && info.shape.len() == 2;
        let is_of_tokens = is_table && TOKEN_TABLES.contains(&last_part(module));

        (is_of_tokens && count == self.tokens).then_some(RowsOf::Tokens)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{symmetry::Symmetry, tensors::testing::headers as signature};

    #[test]
    fn a_network_that_no_builder_knows_is_its_tensors() {
        let signature = signature(&[
            ("bn.num_batches_tracked", DType::I64, &[]),
            ("bn.running_var", DType::F32, &[4]),
            ("fc.weight", DType::BF16, &[3, 4]),
            ("model.embed_tokens.weight", DType::BF16, &[9, 4]),
            ("model.position_ids", DType::I64, &[1, 9]),
            ("model.q_proj.weight", DType::BF16, &[9, 4]),
        ]);
        let config = json!({"model_type": "of_next_year", "vocab_size": 9,
            "id2label": {"0": "a", "1": "b", "2": "c"}});
        let graph = Graph::from_config(&config, &signature).unwrap();
        let network = graph.by_names().unwrap();
        assert_eq!(network.name, "of_next_year");
        assert_eq!(
            graph.learned(),
            [
                "fc.weight",
                "model.embed_tokens.weight",
                "model.q_proj.weight"
            ]
        );
        let statistics = graph
            .params()
            .filter(|(_, param)| param.role == Role::Statistic);
        assert_eq!(
            statistics.map(|(_, p)| p.name).collect::<Vec<_>>(),
            ["bn.running_var"]
        );
        assert_eq!(
            network.tensors_of(RowsOf::Classes).collect::<Vec<_>>(),
            ["fc.weight"]
        );
        let tables = network.tensors_of(RowsOf::Tokens).collect::<Vec<_>>();
        assert_eq!(tables, ["model.embed_tokens.weight"]);

        assert!(
            Symmetry::derive(&graph, &signature)
                .unwrap()
                .groups
                .is_empty()
        );
        assert_eq!(
            graph.check_wired().unwrap_err().code(),
            "unknown_architecture"
        );

        assert_eq!((graph.head(), graph.has_batch_norm()), (None, false));
    }

    #[test]
    fn packed_weights_are_refused() {
        let float = ("a.weight", DType::F16, &[4, 4][..]);
        let refused = |config: Value, tensors: &[(&str, DType, &[usize])]| {
            Graph::from_config(&config, &signature(tensors))
                .err()
                .map(|error| error.code())
        };
        assert_eq!(refused(json!({"model_type": "new"}), &[float]), None);
        let quantised = json!({"model_type": "new", "quantization_config": {"bits": 4}});
        assert_eq!(refused(quantised, &[float]), Some("wrong_dtype"));
        for (name, dtype) in [
            ("a.qweight", DType::I32),
            ("a.weight", DType::U8),
            ("a.gate_up_proj_blocks", DType::U8),
            ("a.qzeros", DType::I32),
        ] {
            let tensors = [float, (name, dtype, &[2, 4][..])];
            assert_eq!(
                refused(json!({"model_type": "new"}), &tensors),
                Some("wrong_dtype"),
                "{name}"
            );
        }
        // A mask is none of weights, whatever it is called.
        let mask = ("a.weight_mask", DType::Bool, &[4, 4][..]);

        assert_eq!(refused(json!({}), &[float, mask]), None);
    }

    #[test]
    fn two_networks_of_another_name_differ() {
        let graph = |name: &str| {
            let signature = signature(&[("a.weight", DType::F32, &[2, 2])]);
            Graph::from_config(&json!({"model_type": name}), &signature).unwrap()
        };
        assert_eq!(graph("one").difference(&graph("one")), None);
        let difference = graph("one").difference(&graph("two")).unwrap();
        assert!(!difference.is_an_update && difference.detail.contains("\"two\" there"));
    }
}
