//! The head that a tuned model has and a base lacks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Configured, modules};
use crate::{
    network::{Graph, Task, is_of_a_task},
    tensors::{Checkpoint, HostTensor, Signature},
    transfer::shared_vocabulary::{Axis, named_tensors},
};

/// Whether the tuned model's classes are others than a base's, by their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherClasses {
    pub than_old: bool,
    pub than_new: bool,
}

/// The head of the tuned model, where a base has none, or one of other classes: the
/// commonest case, a body that was tuned below a new head. The bases are given the tuned model's
/// tensors, the new base its task. Where that is a body alone, the bases
/// lose their heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedHead {
    /// What a base lacks.
    pub tensors: BTreeSet<String>,
    /// Of these, what has the same shape in a base and tells other classes there.
    pub of_other_classes: BTreeSet<String>,
    pub other: OtherClasses,
    /// What the bases have of other tasks, and the result does not.
    pub left_out: BTreeSet<String>,
    /// The new base's configuration, with the tuned model's task.
    pub config: Value,
}

/// What a configuration says of the task rather than of the body.
const TASK: [&str; 14] = [
    "architectures",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "classifier_dropout",
    "seq_classif_dropout",
    "tie_word_embeddings",
    // timm's
    "num_classes",
    "label_names",
    "label_descriptions",
    // a graph as data
    "nodes",
    "task",
    "input",
];

/// The layer that a tensor belongs to, by its name.
fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

/// A body's configuration with the task of another.
fn with_task_of(task: &Value, body: &Value) -> Value {
    let mut config = body.clone();
    let Some(fields) = config.as_object_mut() else {
        return config;
    };
    for key in TASK {
        match task.get(key) {
            Some(value) => fields.insert(key.into(), value.clone()),
            None => fields.remove(key),
        };
    }

    // Which token pads is the body's, if it says so.
    if fields.get("pad_token_id").is_none_or(Value::is_null)
        && let Some(padding) = task.get("pad_token_id")
    {
        fields.insert("pad_token_id".into(), padding.clone());
    }

    config
}

/// Which tensors belong to the task of a tuned model rather than to its body.
struct TaskTensors<'t> {
    config: &'t Value,
    /// Of the graph.
    output: Option<&'t str>,
    /// Of a network by names.
    modules: BTreeSet<String>,
    classes: BTreeSet<String>,
}

impl<'t> TaskTensors<'t> {
    /// Of a network by names nobody knows the head: the modules that only some of the models have are it.
    fn of(
        tuned: Configured<'t>,
        bases: [&Signature; 2],
        target_config: &Value,
        graph: Option<&'t Graph>,
    ) -> Self {
        let by_names = graph.filter(|graph| graph.by_names().is_some());
        let modules = if by_names.is_some() && modules::may_differ(tuned.config, target_config) {
            modules::not_of_all([tuned.signature, bases[0], bases[1]])
        } else {
            BTreeSet::new()
        };
        let classes = by_names.map_or_else(BTreeSet::new, |graph| {
            named_tensors(graph, tuned.signature, Axis::Classes)
        });

        Self {
            config: tuned.config,
            output: graph.and_then(Graph::head),
            modules,
            classes,
        }
    }

    fn contains(&self, name: &str) -> bool {
        is_of_a_task(self.config, self.output, name)
            || self.modules.contains(name)
            || self.classes.contains(name)
    }
}

/// Which tensors of a tuned model a base lacks. A layer is lacked whole; a part of one is a fault.
struct Lacking<'l> {
    tuned: &'l Signature,
    old: &'l Signature,
    /// Of each base.
    layers: [BTreeSet<&'l str>; 2],
}

impl Lacking<'_> {
    fn contains(&self, name: &str) -> bool {
        let layer = layer_of(name);
        let is_other_shape = self
            .old
            .get(name)
            .is_some_and(|own| own.shape != self.tuned[name].shape);
        is_other_shape || self.layers.iter().any(|layers| !layers.contains(layer))
    }
}

fn layers_of(model: &Signature) -> BTreeSet<&str> {
    model.keys().map(|name| layer_of(name)).collect()
}

impl AdoptedHead {
    /// The head that a base lacks; `None` where neither lacks one, and both have the tuned model's classes.
    /// A tensor that belongs to no head is left to [`super::compare`].
    pub fn find(
        tuned: Configured,
        bases: [&Signature; 2],
        target_config: &Value,
        other: OtherClasses,
    ) -> Option<Self> {
        let graph = Graph::from_config(tuned.config, tuned.signature).ok();
        let of_task = TaskTensors::of(tuned, bases, target_config, graph.as_ref());
        let lacking = Lacking {
            tuned: tuned.signature,
            old: bases[0],
            layers: bases.map(layers_of),
        };

        let mut tensors: BTreeSet<String> = tuned
            .signature
            .keys()
            .filter(|name| of_task.contains(name) && lacking.contains(name))
            .cloned()
            .collect();
        let of_other_classes = match &graph {
            Some(graph) if other != OtherClasses::default() => {
                named_tensors(graph, tuned.signature, Axis::Classes)
            }
            _ => BTreeSet::new(),
        };
        tensors.extend(of_other_classes.iter().cloned());
        let left_out: BTreeSet<String> = bases
            .into_iter()
            .flat_map(Signature::keys)
            .filter(|name| !tuned.signature.contains_key(*name))
            .filter(|name| of_task.contains(name))
            .cloned()
            .collect();

        // A body that was tuned alone is what the result is to be, and so is a language model whose bases have
        // the heads of the rest of their pre-training.
        let is_whole = graph
            .as_ref()
            .is_some_and(|graph| !graph.has_loss() || graph.task == Task::MaskedToken);
        if tensors.is_empty() && (left_out.is_empty() || !is_whole) {
            return None;
        }

        let config = with_task_of(tuned.config, target_config);

        Some(Self {
            tensors,
            of_other_classes,
            other,
            left_out,
            config,
        })
    }

    /// A base's headers with the head in the place of other tasks' tensors.
    #[must_use]
    pub fn on_signature(&self, mut base: Signature, tuned: &Signature) -> Signature {
        base.retain(|name, _| !self.left_out.contains(name));
        for name in &self.tensors {
            if let Some(info) = tuned.get(name) {
                let own = base.entry(name.clone()).or_insert_with(|| info.clone());
                own.shape.clone_from(&info.shape);
            }
        }
        base
    }

    /// The old base with the head in the place of other tasks' tensors, in its dtype.
    #[must_use]
    pub fn on_old(&self, base: &Checkpoint, tuned: &Checkpoint) -> Checkpoint {
        self.on(base, tuned, self.other.than_old)
    }

    /// The same of the new base.
    #[must_use]
    pub fn on_new(&self, base: &Checkpoint, tuned: &Checkpoint) -> Checkpoint {
        self.on(base, tuned, true)
    }

    fn on(&self, base: &Checkpoint, tuned: &Checkpoint, has_other_classes: bool) -> Checkpoint {
        let kept = base
            .iter()
            .filter(|(name, _)| !self.left_out.contains(*name));
        let mut with: Checkpoint = kept.map(|(name, t)| (name.to_owned(), t.clone())).collect();
        let dtype = with
            .iter()
            .map(|(_, t)| t.dtype())
            .find(|dtype| dtype.is_float());

        for name in &self.tensors {
            let Some(tensor) = tuned.get(name) else {
                continue;
            };
            let replaced = has_other_classes && self.of_other_classes.contains(name);
            if !replaced
                && base
                    .get(name)
                    .is_some_and(|own| own.shape() == tensor.shape())
            {
                continue;
            }
            let tensor = match dtype.filter(|_| tensor.dtype().is_float()) {
                Some(dtype) if dtype != tensor.dtype() => {
                    let values = tensor.f32().into_owned();
                    HostTensor::from_f32_as(dtype, tensor.shape().to_vec(), values)
                }
                _ => tensor.clone(),
            };
            with.insert(name.clone(), tensor);
        }

        with
    }
}
