//! A network that no builder knows: what may be asked of it, and what is said of it.
//!
//! The same for a body without a head, of which nothing can be judged either, but whose symmetry is known.
//!
//! Its tensors are known by their names. Adding the tuning's update to the new base needs no more; whatever
//! computes something is refused before any data are read. Between strangers such an update is noise, and
//! nothing but the bases' cosine can tell: see `diagnose`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Configured, TRAJECTORY};
use crate::{
    contract::{
        codes::FailureCode,
        report::Network,
        spec::{Method, Methods, Spec},
    },
    engine::{
        network::{Graph, GraphError},
        tensors::Checkpoint,
    },
    pipeline::failure::{self, Failure},
};

/// Whether of a model's network only the tensors are known.
pub fn is(model: Configured<'_>) -> bool {
    let graph = Graph::from_config(model.config, model.signature);
    graph.is_ok_and(|graph| graph.by_names().is_some())
}

/// What is known of a network, in the report's words.
pub fn network(graph: &Graph) -> Network {
    if graph.by_names().is_some() {
        Network::ByNames
    } else {
        Network::Graph
    }
}

/// Refuses a job that asks for what the new base's network is needed for, or its head.
///
/// # Errors
/// `unknown_architecture` or `no_head`, at `/methods`.
pub fn check(spec: &Spec, graph: &Graph) -> Result<(), Failure> {
    let (fault, carried): (GraphError, &[Method]) = match graph.check_wired() {
        Err(unknown) => (unknown, &[Method::Identity]),
        Ok(()) if !graph.has_loss() => (
            GraphError::Body,
            &[Method::Identity, Method::WeightMatching],
        ),
        Ok(()) => return Ok(()),
    };
    let Some(asked) = asked(spec, carried) else {
        return Ok(());
    };

    let place = format!("{}: {asked}", spec.target.base);
    Err(failure::graph("/methods", &place)(fault))
}

/// The first part of a job that needs more than can be had.
fn asked(spec: &Spec, carried: &[Method]) -> Option<String> {
    if let Methods::Named(methods) = &spec.methods
        && let Some(method) = methods.iter().find(|method| !carried.contains(method))
    {
        return Some(format!("the method {} needs the network", method.name()));
    }

    let has_layers = carried.contains(&Method::WeightMatching);
    let parts = [
        (
            spec.data.is_some(),
            "data are read by the network: leave data out",
        ),
        (
            spec.gate.is_some(),
            "a gate is judged by the network: leave gate out",
        ),
        (
            spec.fine_tune.is_some(),
            "training needs the network: leave fine_tune out",
        ),
        (
            spec.options.update.is_some() && !has_layers,
            "which layers an adapter may change is told by the network: leave options.update out",
        ),
    ];

    parts
        .into_iter()
        .find(|(is_asked, _)| *is_asked)
        .map(|(_, what)| what.to_owned())
}

/// Refuses a tuning that changed whole numbers: nobody knows what they mean, and the result has the new
/// base's. What a norm counts is no part of a tuning.
///
/// # Errors
/// `incompatible_models` at `/source/trajectory`.
pub fn check_whole_numbers(base: &Checkpoint, tuned: &Checkpoint) -> Result<(), Failure> {
    let changed = base.iter().find(|(name, tensor)| {
        let other = tuned
            .get(name)
            .filter(|other| other.shape() == tensor.shape());
        !tensor.dtype().is_float()
            && !name.ends_with("num_batches_tracked")
            && other.is_some_and(|other| other.bytes() != tensor.bytes())
    });
    let Some((name, tensor)) = changed else {
        return Ok(());
    };

    Err(Failure::Input {
        code: FailureCode::IncompatibleModels,
        pointer: Some(TRAJECTORY.into()),
        detail: format!(
            "the tensor {name:?} holds whole numbers ({}), and the tuned model has others than the old base: what \
             they mean is told by the network alone, which is not known; packed weights must be given in f32, f16 \
             or bf16",
            tensor.dtype().name()
        ),
    })
}

/// What is said of every such transfer.
pub fn notes(tuned: &Value, target: &Value) -> Vec<String> {
    let mut notes = vec![
        "no builder knows this architecture: the tuning was carried by the tensors' names, and nothing could be \
         computed with the models"
            .to_owned(),
    ];
    let different = differences(tuned, target);
    if !different.is_empty() {
        notes.push(format!(
            "the tuned model's config.json and the new base's differ in {}: what that changes is not known here, and \
             the result has the new base's",
            different.join(", ")
        ));
    }
    notes
}

/// Keys that say nothing of how a model computes, or that belong to its task.
const IGNORED_KEYS: [&str; 15] = [
    "architectures",
    "id2label",
    "label2id",
    "num_labels",
    "num_classes",
    "label_names",
    "problem_type",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "use_cache",
    "vocab_size",
    "tie_word_embeddings",
    "finetuning_task",
    "task_specific_params",
];
/// Differences that are named.
const MAX_NAMED_KEYS: usize = 6;

fn is_heard(key: &str) -> bool {
    !key.starts_with('_') && !key.ends_with("_token_id") && !IGNORED_KEYS.contains(&key)
}

fn differences(tuned: &Value, target: &Value) -> Vec<String> {
    let keys = [tuned, target]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|map| map.keys());
    let keys: BTreeSet<&String> = keys.collect();
    let differ = keys
        .into_iter()
        .filter(|key| is_heard(key) && tuned[key.as_str()] != target[key.as_str()]);
    let mut named: Vec<String> = differ.cloned().collect();
    let more = named.len().saturating_sub(MAX_NAMED_KEYS);
    named.truncate(MAX_NAMED_KEYS);
    if more > 0 {
        named.push(format!("and {more} more keys"));
    }
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::tensors::{DType, HostTensor, Signature, TensorInfo};

    fn spec(change: &Value) -> Spec {
        let mut spec = json!({
            "source": {"base": "file:///m/a", "trajectory": "file:///m/t"},
            "target": {"base": "file:///m/b"}, "output": "file:///m/out"
        });
        for (name, value) in change.as_object().unwrap() {
            spec[name] = value.clone();
        }
        Spec::from_json(&spec).unwrap()
    }

    #[test]
    fn what_needs_the_network_is_refused_at_the_methods() {
        let info = TensorInfo {
            dtype: DType::F32,
            shape: vec![2, 2],
        };
        let signature = Signature::from([("a.weight".to_owned(), info)]);
        let graph = Graph::from_config(&json!({"model_type": "new"}), &signature).unwrap();
        let data = json!({"train": "file:///m/d"});
        for (change, word) in [
            (
                json!({"methods": ["identity", "weight_matching"]}),
                "weight_matching",
            ),
            (
                json!({"methods": ["identity"], "data": data}),
                "leave data out",
            ),
            (json!({"data": data}), "leave data out"),
            (
                json!({"options": {"update": {"format": "lora", "rank": 2}}}),
                "options.update",
            ),
        ] {
            let Err(Failure::Input {
                code,
                pointer,
                detail,
            }) = check(&spec(&change), &graph)
            else {
                panic!("{change} is let through")
            };
            assert_eq!(
                (code, pointer.as_deref()),
                (FailureCode::UnknownArchitecture, Some("/methods"))
            );
            assert!(detail.contains(word) && detail.contains("only `identity` can be carried"));
            assert!(detail.contains("\"model_type\": \"graph\"") && detail.contains("graph_of.py"));
        }
        for change in [
            json!({}),
            json!({"methods": "auto"}),
            json!({"methods": ["identity"]}),
        ] {
            assert!(check(&spec(&change), &graph).is_ok(), "{change}");
        }
    }

    #[test]
    fn whole_numbers_that_the_tuning_changed_are_refused() {
        let model = |position: i64, batches: i64| -> Checkpoint {
            let of = |name: &str, value| (name.to_owned(), HostTensor::from_i64(vec![1], &[value]));
            [
                of("position_ids", position),
                of("bn.num_batches_tracked", batches),
            ]
            .into_iter()
            .collect()
        };
        assert!(check_whole_numbers(&model(3, 1), &model(3, 2)).is_ok());
        let refused = check_whole_numbers(&model(3, 1), &model(4, 1)).unwrap_err();
        assert!(refused.to_string().contains("position_ids"), "{refused}");
    }

    #[test]
    fn keys_of_a_configuration_that_differ_are_named() {
        let tuned = json!({"model_type": "new", "rope_theta": 1e4, "id2label": {"0": "a"}});
        let target = json!({"model_type": "new", "rope_theta": 1e6, "_name": "x"});
        assert_eq!(differences(&tuned, &target), ["rope_theta"]);
        assert_eq!(notes(&tuned, &tuned).len(), 1);
    }
}
