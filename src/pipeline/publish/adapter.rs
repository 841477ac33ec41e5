//! The transferred update alone, as a PEFT LoRA adapter on the new base.
//!
//! Linear layers' updates are truncated to the wanted rank, `W + B A` with the singular values shared by
//! both; their biases are saved as they are (`bias: "lora_only"`). What is no linear layer and has changed
//! (norms, embeddings, the head) is saved whole, under `modules_to_save`.
//!
//! peft takes a module for one of `modules_to_save` where its name ends with an entry's letters, and with it all
//! that is below; under `SEQ_CLS` it adds `classifier` and `score`. A tensor of such a module that is not in the
//! file is an error there, so that all of them are written. Names are those of the library's modules.

mod task;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    contract::{
        report::{TruncatedTensor, UpdateSummary},
        spec,
    },
    engine::{
        network::{
            Axis, Graph, Op, Operand, Task, body_prefix, copies_of, is_bare_below_its_head,
            module_of_tensor,
        },
        tensors::{Checkpoint, HostTensor, low_rank::Matrix},
    },
    pipeline::{comparison::Comparison, context::Context},
};
use task::{SAVED_BY_TASK, task_type};

/// An adapter, and what it leaves out.
pub struct Adapter {
    pub config: Value,
    pub tensors: Checkpoint,
    pub report: UpdateSummary,
}

/// A linear layer, by the prefix of its tensors.
struct Layer<'a> {
    module: &'a str,
    /// The weight is `[in, out]`.
    transposed: bool,
}

/// The new base beside the model that would be published.
struct Update<'a> {
    base: &'a Checkpoint,
    model: &'a Checkpoint,
    /// Tensors that the new base lacked.
    adopted: &'a BTreeSet<String>,
    /// Layers that an adapter may change.
    layers: Vec<Layer<'a>>,
}

impl<'a> Update<'a> {
    fn layer(&self, module: &str) -> Option<&Layer<'a>> {
        self.layers.iter().find(|layer| layer.module == module)
    }

    fn changes(&self, tensor: &str) -> bool {
        let new = &self.model[tensor];
        self.base
            .get(tensor)
            .is_none_or(|old| old.bytes() != new.bytes())
    }

    fn changes_any(&self, tensors: &[&str]) -> bool {
        tensors
            .iter()
            .any(|name| self.adopted.contains(*name) || self.changes(name))
    }
}

/// Truncates the update of the model that would be published.
pub fn of(context: &Context, comparison: &Comparison, wanted: spec::Update) -> Adapter {
    let inputs = context.inputs;
    let update = Update {
        base: &inputs.target.checkpoint,
        model: comparison.model(),
        adopted: inputs.trajectory.head(),
        layers: linear_layers(context),
    };
    let config = &inputs.target.folder.config;
    let is_bare = inputs.graph.task == Task::Representation || is_bare_below_its_head(config);
    let lacks = is_bare.then(|| body_prefix(config)).flatten();

    let mut adapter = Building {
        lacks,
        ..Building::default()
    };

    let modules = adapter.modules_of(&update, &tensors_in_no_module(&inputs.graph));
    adapter.choose_saved(&update, &modules);
    let task = task_type(&inputs.target.folder.config);
    if matches!(task, Some("SEQ_CLS" | "TOKEN_CLS")) {
        adapter.saved.extend(SAVED_BY_TASK.map(str::to_owned));
    }

    adapter.save(update.model);
    adapter.save_copies(config, update.model);
    for (module, names) in &modules {
        if let Some(layer) = update.layer(module).filter(|_| update.changes_any(names))
            && !adapter.holds(module)
        {
            adapter.layer(layer, update.base, update.model, wanted.rank);
        }
    }

    adapter.tied_output(context, update.model);
    let transposed = update.layers.first().is_some_and(|layer| layer.transposed);
    let base_name = &context.job.spec.target.base;

    adapter.finish(
        wanted.rank,
        json!({
            "peft_type": "LORA",
            "base_model_name_or_path": base_name,
            "task_type": task,
            "inference_mode": true,
            "r": wanted.rank,
            "lora_alpha": wanted.rank,
            "lora_dropout": 0.0,
            "fan_in_fan_out": transposed,
        }),
    )
}

/// What peft puts no adapter on and saves with no module: experts, which the library holds as one parameter
/// for all, their routers, and sinks.
fn tensors_in_no_module(graph: &Graph) -> BTreeSet<String> {
    let routers = graph
        .nodes
        .iter()
        .filter_map(|node| match (&node.op, node.inputs.get(1)) {
            (Op::Experts { .. }, Some(Operand::Node(router))) => Some(*router),
            _ => None,
        });
    let routers: BTreeSet<usize> = routers.collect();
    let params = graph.params().filter(|(node, param)| {
        routers.contains(node) || param.expert.is_some() || param.axes == [Axis::Heads]
    });

    params.map(|(_, param)| param.name).collect()
}

/// Layers that an adapter may change: no head, nothing that another layer reads, all stored one way.
fn linear_layers<'a>(context: &Context<'a>) -> Vec<Layer<'a>> {
    let graph = &context.inputs.graph;
    let mut layers: Vec<Layer> = Vec::new();
    for node in &graph.nodes {
        let Op::Linear {
            param, transposed, ..
        } = &node.op
        else {
            continue;
        };
        let readers = graph
            .nodes
            .iter()
            .filter(|node| node.op.param() == Some(param));
        if readers.count() == 1 && graph.head() != Some(param) {
            layers.push(Layer {
                module: param,
                transposed: *transposed,
            });
        }
    }

    let adopted = context.inputs.trajectory.head();
    layers.retain(|layer| !adopted.contains(&format!("{}.weight", layer.module)));
    let first = layers.first().is_some_and(|layer| layer.transposed);
    layers.retain(|layer| layer.transposed == first);

    layers
}

#[derive(Default)]
struct Building {
    /// What names of the library's modules do not begin with, though those of tensors do here.
    lacks: Option<String>,
    tensors: Checkpoint,
    targets: BTreeSet<String>,
    saved: BTreeSet<String>,
    left_out: Vec<String>,
    has_bias: bool,
    errors: Vec<TruncatedTensor>,
}

impl Building {
    /// The model's tensors by their modules; of those in no module the changed ones are left out.
    fn modules_of<'m>(
        &mut self,
        update: &Update<'m>,
        in_no_module: &BTreeSet<String>,
    ) -> BTreeMap<&'m str, Vec<&'m str>> {
        let mut modules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, _) in update.model.iter() {
            if in_no_module.contains(name) {
                let is_changed = update.changes(name);
                self.left_out.extend(is_changed.then(|| name.to_owned()));
                continue;
            }
            let module = name.rsplit_once('.').map_or("", |(module, _)| module);
            modules.entry(module).or_default().push(name);
        }

        modules
    }

    /// Names the changed modules that are no layers, which are saved whole.
    fn choose_saved(&mut self, update: &Update, modules: &BTreeMap<&str, Vec<&str>>) {
        for (module, names) in modules {
            let is_saved = update.layer(module).is_none() && update.changes_any(names);
            if is_saved && module.is_empty() {
                self.left_out.extend(names.iter().map(ToString::to_string));
            } else if is_saved {
                self.saved.insert((*module).to_owned());
            }
        }
    }

    fn layer(&mut self, layer: &Layer, base: &Checkpoint, model: &Checkpoint, rank: usize) {
        let Layer { module, transposed } = layer;
        let weight = format!("{module}.weight");
        let update = difference(&base[&weight], &model[&weight], *transposed);
        let factors = update.truncated(rank);
        let error = update.relative_error(&factors.left, &factors.right);
        self.errors.push(TruncatedTensor {
            tensor: weight,
            relative_error: error,
        });

        let prefix = format!("base_model.model.{}", self.module(module));

        // A is [r, in]; B is [out, r], whose columns are the left vectors.
        let a: Vec<f32> = factors.right.iter().flatten().map(|&v| v as f32).collect();
        let b = (0..update.rows).flat_map(|row| factors.left.iter().map(move |l| l[row] as f32));
        let b: Vec<f32> = b.collect();
        let (a, b) = (
            HostTensor::from_f32(vec![rank, update.columns], a),
            HostTensor::from_f32(vec![update.rows, rank], b),
        );
        self.tensors.insert(format!("{prefix}.lora_A.weight"), a);
        self.tensors.insert(format!("{prefix}.lora_B.weight"), b);
        let bias = format!("{module}.bias");

        if let (Some(from), Some(to)) = (base.get(&bias), model.get(&bias))
            && from.bytes() != to.bytes()
        {
            self.tensors
                .insert(format!("{prefix}.base_layer.bias"), to.clone());
            self.has_bias = true;
        }

        self.targets.insert((*module).to_owned());
    }

    /// Writes all tensors of the modules that are to be saved, and keeps the names of the outermost.
    fn save(&mut self, model: &Checkpoint) {
        let mut found = BTreeSet::new();
        for (name, tensor) in model.iter() {
            let saved: Vec<&str> = modules_above(name)
                .filter(|module| self.is_to_be_saved(module))
                .collect();
            if let Some(outermost) = saved.last() {
                let key = format!("base_model.model.{}", self.module(name));
                self.tensors.insert(key, tensor.clone());
                found.insert((*outermost).to_owned());
            }
        }

        self.saved = found;
    }

    /// Modules that have a tensor in common are several to peft: a table of words that both sides read is saved once
    /// for each of them.
    fn save_copies(&mut self, config: &Value, model: &Checkpoint) {
        let tensors = model.signature();
        for module in self.saved.clone() {
            let name = format!("{module}.weight");
            for copy in copies_of(config, &name, &tensors) {
                let key = format!("base_model.model.{}.weight", self.module(copy));
                self.tensors.insert(key, model[&name].clone());
                self.saved.insert(copy.to_owned());
            }
        }
    }

    /// As peft decides it.
    fn is_to_be_saved(&self, module: &str) -> bool {
        self.saved
            .iter()
            .any(|entry| module.ends_with(entry.as_str()))
    }

    /// Whether a module, or one that it is part of, is saved whole.
    fn holds(&self, module: &str) -> bool {
        self.saved.contains(module) || modules_above(module).any(|above| self.saved.contains(above))
    }

    /// Libraries untie what they save whole: an embedding that is the output matrix too is saved once
    /// more under the output's name.
    fn tied_output(&mut self, context: &Context, model: &Checkpoint) {
        let graph = &context.inputs.graph;
        let Some(module) = graph.head().filter(|_| graph.head_is_tied()) else {
            return;
        };

        let output = graph
            .nodes
            .iter()
            .rfind(|node| node.op.param() == Some(module));
        let weight = model.get(&format!("{module}.weight"));

        if let (Some(output), Some(weight), true) = (output, weight, self.saved.contains(module)) {
            self.tensors.insert(
                format!("base_model.model.{}.weight", self.module(&output.id)),
                weight.clone(),
            );
            self.saved.insert(output.id.clone());
        }
    }

    /// What the library calls a module or tensor.
    fn module(&self, name: &str) -> String {
        let module = module_of_tensor(name);
        let bare = self
            .lacks
            .as_deref()
            .and_then(|prefix| module.strip_prefix(prefix));
        bare.map_or(module.clone(), str::to_owned)
    }

    fn modules(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        names.iter().map(|name| self.module(name)).collect()
    }

    fn finish(self, rank: usize, mut config: Value) -> Adapter {
        config["target_modules"] = json!(self.modules(&self.targets));
        config["modules_to_save"] = json!(self.modules(&self.saved));
        config["bias"] = json!(if self.has_bias { "lora_only" } else { "none" });
        let report = UpdateSummary {
            format: "lora".to_owned(),
            rank,
            parameters: self.tensors.iter().map(|(_, tensor)| tensor.len()).sum(),
            tensors: self.errors,
            whole: self.saved.into_iter().collect(),
            left_out: self.left_out,
        };

        Adapter {
            config,
            tensors: self.tensors,
            report,
        }
    }
}

/// The modules that a name is part of, the innermost first.
fn modules_above(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('.').map(|(at, _)| &name[..at])
}

/// `to − from` as `[out, in]`, in f64.
fn difference(from: &HostTensor, to: &HostTensor, transposed: bool) -> Matrix {
    let (a, b) = (from.f32(), to.f32());
    let shape = from.shape();
    let (rows, columns) = if transposed {
        (shape[1], shape[0])
    } else {
        (shape[0], shape[1])
    };

    let values = (0..rows * columns).map(|i| {
        let (row, column) = (i / columns, i % columns);
        let i = if transposed { column * rows + row } else { i };
        f64::from(b[i]) - f64::from(a[i])
    });

    Matrix {
        rows,
        columns,
        values: values.collect(),
    }
}
