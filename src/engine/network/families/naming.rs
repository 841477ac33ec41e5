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

pub(super) use modules::Decoder;
pub use modules::{
    body_prefix, copies_of, is_bare_below_its_head, is_copy_of, is_transposed, module_of_tensor,
    tensor_of_module, tied_embedding, vocabulary_of, wrapper_of,
};
use modules::{file_of_module, flat_of, original_of, output_of};

use super::{
    Family,
    suffixes::{SPANS, TOKEN_CLASSIFIER},
};
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
    /// The file's copies of tied tensors, and what they are copies of, by their names in the graph.
    copies: Vec<(String, String)>,
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
        let decoder = Decoder::of(config);
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
            let shape = &signature[name].shape;
            let flat = flat_of(config, &inside, shape).map(|flat| vec![flat.to_owned()]);
            if let Some(parts) = flat.or_else(|| names.parts_of(&inside, shape)) {
                naming.stacks.insert(name.clone(), Stack { inside, parts });
            } else if let Some(original) = tied
                .filter(|_| inside == OUTPUT)
                .map(|embedding| format!("{embedding}.weight"))
                .or_else(|| original_of(config, &inside).map(str::to_owned))
                .or_else(|| decoder.as_ref()?.original(&inside, signature))
            {
                naming.copies.push((name.clone(), original));
                naming.dropped.insert(name.clone());
            } else if names.is_buffer(&inside)
                || unread.iter().any(|module| inside.starts_with(module))
                || decoder
                    .as_ref()
                    .is_some_and(|decoder| decoder.leaves(&inside, signature))
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
        let (copy, _) = self.copies.iter().find(|(copy, original)| {
            let original = self.outside.get(original).unwrap_or(original);
            file.get(original)
                .is_some_and(|tensor| tensor.bytes() != file[copy].bytes())
        })?;
        Some(copy)
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

    /// What a class of the library does not read, where files have it: the pooler, below a head of tokens or of
    /// answers; `DeBERTa`'s positions, where a configuration says that its embeddings have none; an encoder's decoder;
    /// what makes one vector of a picture, below a classifier of its patches' mean.
    fn unread_by(&self, config: &Value) -> Vec<String> {
        let class = config["architectures"][0].as_str().unwrap_or_default();
        let pooler = [TOKEN_CLASSIFIER, SPANS]
            .iter()
            .any(|suffix| class.ends_with(suffix))
            .then(|| format!("{}.pooler.", self.body));
        let positions = (config["position_biased_input"] == false)
            .then(|| format!("{}.embeddings.position_embeddings.", self.body));
        let decoder = class
            .ends_with("EncoderModel")
            .then(|| format!("{}.decoder.", self.body));
        let of_pictures = match config["model_type"].as_str() {
            Some("clip") => Some("post_layernorm"),
            Some("siglip") => Some("head"),
            _ => None,
        };
        let of_pictures = of_pictures
            .filter(|_| class.is_empty() || class.ends_with("ForImageClassification"))
            .map(|module| format!("{}.{module}.", self.body));
        let all = pooler.into_iter().chain(positions).chain(decoder);

        all.chain(of_pictures).collect()
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
mod tests;
