//! What a family's tensors are called in files, beside the names that its graph reads.
//!
//! The same model is met under several sets of names. A body saved alone (`BertModel`) lacks the
//! prefix that it has under a head (`bert.`); the oldest files call a norm's weight `gamma`; and old
//! files carry buffers, tensors that the library computes and no longer saves. A [`Naming`] maps the
//! names of a file onto those of the graph and back; buffers and the copy of a tied tensor are not
//! read at all, nor are they written into a result.

mod modules;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use modules::{
    body_prefix, is_transposed, module_of_tensor, tensor_of_module, tied_embedding, vocabulary_of,
    wrapper_of,
};
use modules::{file_of_module, output_of};

use super::Family;
use crate::{
    network::op::MAX_EXPERTS,
    tensors::{Checkpoint, HostTensor, Signature},
};

/// What a family declares of its names.
pub(super) struct Names {
    /// The prefix of the body in a model with a head.
    pub body: &'static str,
    /// Layers that belong to a task: `classifier`, `lm_head`, a pooler …
    pub heads: &'static [&'static str],
    /// Tensors that are computed, never learned; `#` stands for a number.
    pub buffers: &'static [&'static str],
    /// The embedding that `lm_head.weight` may be tied to, and whether it is where the
    /// configuration says nothing.
    pub tied: Option<(&'static str, bool)>,
    /// Tensors of all experts of a layer, the first axis theirs, and the end of each expert's name; `#` stands for
    /// a number.
    pub stacked: &'static [(&'static str, &'static str)],
}

/// The output matrix of the language models.
pub const OUTPUT: &str = "lm_head.weight";
/// How the oldest files end the names of norms, and how all others do.
const OLD_SUFFIXES: [(&str, &str); 2] = [
    (".LayerNorm.gamma", ".LayerNorm.weight"),
    (".LayerNorm.beta", ".LayerNorm.bias"),
];

/// Whether a tensor belongs to a task, by the names of the configuration's family; without a family,
/// whether it is one of `output`, the layer that computes the network's output.
pub fn is_of_a_task(config: &Value, output: Option<&str>, name: &str) -> bool {
    match (Names::of(config), output) {
        (Some(names), _) => names.is_head(name),
        (None, Some(head)) => name
            .strip_prefix(head)
            .is_some_and(|rest| rest.starts_with('.')),
        (None, None) => false,
    }
}

/// The names of one file's tensors, by those of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// Where they differ.
    outside: BTreeMap<String, String>,
    dropped: BTreeSet<String>,
    /// The file's copy of a tied tensor, and what it is a copy of, by its name in the graph.
    copy: Option<(String, String)>,
    /// What files call the output matrix, where it is not [`OUTPUT`].
    output: Option<String>,
    /// Tensors of the file that are several in the graph.
    stacks: BTreeMap<String, Stack>,
}

/// A tensor that is several in the graph, by index of the first axis.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stack {
    /// What it is called in a file that has the graph's other names.
    inside: String,
    parts: Vec<String>,
}

impl Naming {
    /// The naming of a file with these tensors. Of a configuration of no known family only a wrapper's
    /// prefix is taken away.
    pub fn of(config: &Value, signature: &Signature) -> Self {
        let mut naming = Self::default();
        let wrapper = wrapper_of(
            config,
            &signature.keys().map(String::as_str).collect::<Vec<_>>(),
        );
        let Some(names) = Names::of(config) else {
            if !wrapper.is_empty() {
                let inside = signature
                    .keys()
                    .map(|name| unwrapped(name, &wrapper).to_owned());
                naming.outside = inside.zip(signature.keys().cloned()).collect();
            }
            return naming;
        };

        let prefix = format!("{}.", names.body);
        let is_bare = !signature
            .keys()
            .any(|name| unwrapped(name, &wrapper).starts_with(&prefix));
        let tied = names.tied_to(config);
        let unread = names.unread_by(config);
        naming.output = output_of(config).map(|module| format!("{module}.weight"));
        for name in signature.keys() {
            let mut inside = unwrapped(name, &wrapper).to_owned();
            if is_bare && !names.is_head(&inside) {
                inside = format!("{prefix}{inside}");
            }
            inside = file_of_module(&inside);
            if naming.output.as_deref() == Some(&*inside) {
                OUTPUT.clone_into(&mut inside);
            }
            for (old, new) in OLD_SUFFIXES {
                if let Some(stem) = inside.strip_suffix(old) {
                    inside = format!("{stem}{new}");
                }
            }
            if let Some(parts) = names.parts_of(&inside, &signature[name].shape) {
                naming.stacks.insert(name.clone(), Stack { inside, parts });
            } else if let Some(embedding) = tied.filter(|_| inside == OUTPUT) {
                naming.copy = Some((name.clone(), format!("{embedding}.weight")));
                naming.dropped.insert(name.clone());
            } else if names.is_buffer(&inside)
                || unread
                    .as_ref()
                    .is_some_and(|module| inside.starts_with(module))
            {
                naming.dropped.insert(name.clone());
            } else if inside != *name && !signature.contains_key(&inside) {
                naming.outside.insert(inside, name.clone());
            }
        }
        naming
    }

    /// The headers under the graph's names.
    #[must_use]
    pub fn read_signature(&self, signature: Signature) -> Signature {
        self.renamed(signature.into_iter(), |info, _| info.row())
            .collect()
    }

    /// The tensors under the graph's names.
    #[must_use]
    pub fn read(&self, checkpoint: &Checkpoint) -> Checkpoint {
        let tensors = checkpoint
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.clone()));
        self.renamed(tensors, HostTensor::row).collect()
    }

    /// The tensors under the file's names.
    #[must_use]
    pub fn written(&self, checkpoint: &Checkpoint) -> Checkpoint {
        let parts = self.stacks.values().flat_map(|stack| &stack.parts);
        let parts: BTreeSet<&str> = parts.map(String::as_str).collect();
        let single = checkpoint.iter().filter(|(name, _)| !parts.contains(name));
        let single = single.map(|(name, tensor)| {
            let output = self.output.as_deref().filter(|_| name == OUTPUT);
            let own = self.outside.get(name).map(String::as_str).or(output);
            (own.unwrap_or(name).to_owned(), tensor.clone())
        });
        let stacked = self
            .stacks
            .iter()
            .filter_map(|(name, Stack { parts, .. })| {
                let rows: Option<Vec<HostTensor>> = parts
                    .iter()
                    .map(|part| checkpoint.get(part).cloned())
                    .collect();
                Some((name.clone(), HostTensor::stacked(rows?)?))
            });
        single.chain(stacked).collect()
    }

    /// The naming of a file with the same tensors under the graph's names, as a model with another head is
    /// written. What is one tensor in files stays one.
    #[must_use]
    pub fn under_own_names(&self) -> Self {
        let stacks = self
            .stacks
            .values()
            .map(|stack| (stack.inside.clone(), stack.clone()));
        Self {
            stacks: stacks.collect(),
            output: self.output.clone(),
            ..Self::default()
        }
    }

    /// The naming of the same file where its tensors are called otherwise inside: `inside` has their names so far,
    /// `rename` gives the new ones.
    #[must_use]
    pub fn renamed_inside(&self, inside: &Signature, rename: impl Fn(&str) -> String) -> Self {
        let outside = inside.keys().filter_map(|name| {
            let file = self.outside.get(name).unwrap_or(name);
            let inside = rename(name);
            (inside != *file).then(|| (inside, file.clone()))
        });
        Self {
            outside: outside.collect(),
            ..self.clone()
        }
    }

    /// The copy of a tied tensor that is none: the file and its configuration contradict each other.
    pub fn untied(&self, file: &Checkpoint) -> Option<&str> {
        let (copy, original) = self.copy.as_ref()?;
        let original = self.outside.get(original).unwrap_or(original);
        let same = file
            .get(original)
            .is_none_or(|tensor| tensor.bytes() == file[copy].bytes());
        (!same).then_some(copy)
    }

    /// Under the graph's names; `row` takes one index of the first axis.
    fn renamed<T: 'static>(
        &self,
        tensors: impl Iterator<Item = (String, T)>,
        row: fn(&T, usize) -> T,
    ) -> impl Iterator<Item = (String, T)> {
        let inside: BTreeMap<&str, &str> = self
            .outside
            .iter()
            .map(|(inside, own)| (own.as_str(), inside.as_str()))
            .collect();
        tensors
            .filter(|(name, _)| !self.dropped.contains(name))
            .flat_map(move |(name, tensor)| {
                if let Some(stack) = self.stacks.get(&name) {
                    let rows = stack.parts.iter().enumerate();
                    return rows
                        .map(|(at, part)| (part.clone(), row(&tensor, at)))
                        .collect();
                }
                let name = inside
                    .get(name.as_str())
                    .map_or(name.clone(), |&inside| inside.to_owned());
                vec![(name, tensor)]
            })
    }
}

impl Names {
    /// Those of the configuration's family.
    pub(super) fn of(config: &Value) -> Option<&'static Self> {
        Family::of(config).map(|family| &family.names)
    }

    /// Whether a tensor belongs to a task, not to the body.
    fn is_head(&self, name: &str) -> bool {
        self.heads.iter().any(|head| {
            name.strip_prefix(*head)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// What a class of the library does not read, where old files have it: the pooler, below a head of tokens.
    fn unread_by(&self, config: &Value) -> Option<String> {
        let class = config["architectures"][0].as_str()?;
        class
            .ends_with("ForTokenClassification")
            .then(|| format!("{}.pooler.", self.body))
    }

    fn is_buffer(&self, name: &str) -> bool {
        self.buffers
            .iter()
            .any(|pattern| is_of_pattern(pattern, name))
    }

    /// What the parts of a tensor of all experts are called; `None` of any other.
    fn parts_of(&self, name: &str, shape: &[usize]) -> Option<Vec<String>> {
        let (_, end) = self
            .stacked
            .iter()
            .find(|(pattern, _)| is_of_pattern(pattern, name))?;
        let (module, _) = name.rsplit_once('.')?;
        let experts = shape
            .first()
            .filter(|&&experts| shape.len() > 1 && experts <= MAX_EXPERTS)?;
        Some(
            (0..*experts)
                .map(|expert| format!("{module}.{expert}.{end}"))
                .collect(),
        )
    }

    /// The embedding, where it is the output matrix too.
    pub(super) fn tied_to(&self, config: &Value) -> Option<&'static str> {
        let (embedding, unless_told) = self.tied?;
        let told = config["tie_word_embeddings"].as_bool();
        told.unwrap_or(unless_told).then_some(embedding)
    }
}

/// Whether a name fits a pattern, in which `#` stands for a number.
fn is_of_pattern(pattern: &str, name: &str) -> bool {
    pattern.split('.').count() == name.split('.').count()
        && pattern
            .split('.')
            .zip(name.split('.'))
            .all(|(part, found)| fits(part, found))
}

/// Whether a part of a name fits that of a pattern, in which `#` stands for a number.
fn fits(part: &str, found: &str) -> bool {
    match part {
        "#" => !found.is_empty() && found.bytes().all(|b| b.is_ascii_digit()),
        part => part == found,
    }
}

/// A name without the wrapper's prefix.
fn unwrapped<'a>(name: &'a str, wrapper: &str) -> &'a str {
    name.strip_prefix(wrapper).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tensors::{DType, TensorInfo};

    fn signature(names: &[&str]) -> Signature {
        let info = TensorInfo {
            dtype: DType::F32,
            shape: vec![1],
        };
        names
            .iter()
            .map(|name| ((*name).to_owned(), info.clone()))
            .collect()
    }

    fn read(model_type: &str, names: &[&str]) -> Vec<String> {
        let signature = signature(names);
        let naming = Naming::of(&json!({"model_type": model_type}), &signature);
        naming.read_signature(signature).into_keys().collect()
    }

    #[test]
    fn exactly_the_declared_buffers_are_dropped() {
        let bert = [
            "bert.embeddings.position_ids",
            "bert.embeddings.x",
            "classifier.bias",
        ];
        assert_eq!(read("bert", &bert), bert[1..]);
        let gpt2 = [
            "transformer.h.0.attn.bias",
            "transformer.h.0.attn.c_attn.bias",
            "transformer.h.11.attn.masked_bias",
            "transformer.h.x.attn.bias",
        ];
        assert_eq!(read("gpt2", &gpt2), [gpt2[1], gpt2[3]]);
        let llama = [
            "model.layers.3.self_attn.rotary_emb.inv_freq",
            "model.norm.weight",
        ];
        assert_eq!(read("llama", &llama), llama[1..]);
        assert_eq!(
            read("gpt2", &llama[..1]),
            ["transformer.".to_owned() + llama[0]]
        );
        assert_eq!(read("graph", &bert), bert);
    }

    #[test]
    fn a_tensor_of_all_experts_is_taken_apart_and_put_together() {
        let name = "model.layers.0.mlp.experts.down_proj";
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let file: Checkpoint = [(name.to_owned(), HostTensor::from_f32(vec![3, 2, 2], values))]
            .into_iter()
            .collect();
        let naming = Naming::of(&json!({"model_type": "gpt_oss"}), &file.signature());
        let read = naming.read(&file);
        let second = "model.layers.0.mlp.experts.1.down_proj.weight";
        assert_eq!((read.len(), read[second].shape()), (3, &[2, 2][..]));
        assert_eq!(read[second].f32().as_ref(), [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(naming.read_signature(file.signature()), read.signature());
        let back = naming.written(&read);
        assert_eq!((back.len(), back[name].bytes()), (1, file[name].bytes()));
        assert_eq!(back.signature(), file.signature());
        // A body saved alone lacks the prefix that it has below a head.
        let bare: Checkpoint = [(name["model.".len()..].to_owned(), file[name].clone())]
            .into_iter()
            .collect();
        let naming = Naming::of(&json!({"model_type": "gpt_oss"}), &bare.signature());
        assert_eq!(naming.read(&bare).signature(), read.signature());
        assert_eq!(naming.written(&read).signature(), bare.signature());
        assert_eq!(
            naming.under_own_names().written(&read).signature(),
            file.signature()
        );
        // Of no other family.
        let other = Naming::of(&json!({"model_type": "llama"}), &file.signature());
        assert_eq!(other.read(&file).signature(), file.signature());
    }

    #[test]
    fn a_pooler_is_no_part_of_a_classifier_of_tokens() {
        let names = signature(&[
            "bert.x.weight",
            "bert.pooler.dense.weight",
            "classifier.bias",
        ]);
        let read = |class: &str| {
            let config = json!({"model_type": "bert", "architectures": [class]});
            Naming::of(&config, &names)
                .read_signature(names.clone())
                .len()
        };
        assert_eq!(read("BertForTokenClassification"), 2);
        assert_eq!(read("BertForSequenceClassification"), 3);
    }

    #[test]
    fn a_body_saved_alone_gets_its_prefix_and_gives_it_back() {
        let names = [
            "embeddings.LayerNorm.gamma",
            "embeddings.position_ids",
            "cls.bias",
        ];
        assert_eq!(
            read("bert", &names),
            ["bert.embeddings.LayerNorm.weight", "cls.bias"]
        );
        let naming = Naming::of(&json!({"model_type": "bert"}), &signature(&names));
        let one = HostTensor::from_f32(vec![1], vec![1.0]);
        let file: Checkpoint = names
            .iter()
            .map(|n| ((*n).to_owned(), one.clone()))
            .collect();
        let back = naming.written(&naming.read(&file));
        let back: Vec<&str> = back.iter().map(|(name, _)| name).collect();
        assert_eq!(back, ["cls.bias", "embeddings.LayerNorm.gamma"]);
    }

    #[test]
    fn a_wrappers_prefix_is_taken_away_and_given_back() {
        for wrapper in ["_orig_mod.", "module.", "module._orig_mod."] {
            let wrapped = |name: &str| format!("{wrapper}{name}");
            let names = [wrapped("embeddings.x"), wrapped("classifier.bias")];
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(
                read("bert", &names),
                ["bert.embeddings.x", "classifier.bias"]
            );
            assert_eq!(read("of timm", &names), ["classifier.bias", "embeddings.x"]);
            let naming = Naming::of(&json!({"model_type": "bert"}), &signature(&names));
            let one = HostTensor::from_f32(vec![1], vec![1.0]);
            let file: Checkpoint = names
                .iter()
                .map(|n| ((*n).to_owned(), one.clone()))
                .collect();
            let back = naming.written(&naming.read(&file));
            assert_eq!(back.signature(), file.signature());
        }
        // One name without it, or a graph's own name: nothing is taken away.
        assert_eq!(read("of timm", &["_orig_mod.a", "b"]), ["_orig_mod.a", "b"]);
        let graph =
            json!({"model_type": "graph", "nodes": [{"op": "linear", "param": "module.a"}]});
        let names = signature(&["module.a.weight"]);
        assert_eq!(Naming::of(&graph, &names), Naming::default());
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_twice() {
        let names = ["bert.x.LayerNorm.gamma", "bert.x.LayerNorm.weight"];
        assert_eq!(read("bert", &names), names);
    }

    #[test]
    fn a_tied_output_is_read_once() {
        let names = ["lm_head.weight", "transformer.wte.weight"];
        assert_eq!(read("gpt2", &names), names[1..]);
        let signature = signature(&["lm_head.weight", "model.embed_tokens.weight"]);
        for (tie, read) in [(json!(true), 1), (json!(false), 2), (json!(null), 2)] {
            let config = json!({"model_type": "llama", "tie_word_embeddings": tie});
            let naming = Naming::of(&config, &signature);
            assert_eq!(naming.read_signature(signature.clone()).len(), read);
        }
    }

    #[test]
    fn a_copy_that_differs_is_noticed() {
        let tensor = |value: f32| HostTensor::from_f32(vec![1], vec![value]);
        let untied = |copy: f32| {
            let file: Checkpoint = [("lm_head.weight", copy), ("wte.weight", 1.0)]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), tensor(value)))
                .collect();
            let naming = Naming::of(&json!({"model_type": "gpt2"}), &file.signature());
            naming.untied(&file).map(str::to_owned)
        };
        assert_eq!(untied(1.0), None);
        assert_eq!(untied(2.0), Some("lm_head.weight".into()));
    }
}
