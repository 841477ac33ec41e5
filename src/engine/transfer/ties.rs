//! Output matrices that are the embedding in one model and their own in another.

use serde_json::Value;

use crate::{
    network::{Graph, OUTPUT, RowsOf, tied_embedding},
    tensors::{Checkpoint, Signature},
    transfer::compatibility::{Configured, modules},
};

/// An output matrix of its own, where another of the three models has its embedding in its place.
///
/// All are given one then, which starts as a copy of the embedding, so that the result's is the new base's
/// embedding and what the tuning added to its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untied {
    embedding: String,
}

impl Untied {
    /// Whether some of these have an output matrix and the others its embedding; `tuned` is among them and
    /// predicts tokens. What a network by names predicts nobody knows: all three must be of one class.
    pub fn find(models: [Configured; 3], tuned: Configured) -> Option<Self> {
        let graph = Graph::from_config(tuned.config, tuned.signature).ok();
        let may_predict = graph.is_some_and(|graph| match graph.by_names() {
            Some(_) => models
                .iter()
                .all(|model| !modules::may_differ(tuned.config, model.config)),
            None => graph.task.predicts_words(),
        });
        if !may_predict {
            return None;
        }

        let own = models.map(|model| model.signature.contains_key(OUTPUT));
        let embeddings = models.map(|model| {
            tied_embedding(model.config)
                .or_else(|| only_table(model.config, model.signature))
                .filter(|name| model.signature.contains_key(name))
        });
        let all = own
            .iter()
            .zip(&embeddings)
            .all(|(own, embedding)| *own || embedding.is_some());
        if !all || !own.contains(&true) {
            return None;
        }

        let tied = own.into_iter().zip(embeddings).find(|(own, _)| !own)?;

        Some(Self { embedding: tied.1? })
    }

    #[must_use]
    pub fn on_config(&self, config: &Value) -> Value {
        let mut config = config.clone();
        if let Some(fields) = config.as_object_mut() {
            fields.insert("tie_word_embeddings".into(), Value::Bool(false));
        }
        config
    }

    #[must_use]
    pub fn on_signature(&self, mut of: Signature) -> Signature {
        if let Some(info) = of.get(&self.embedding).cloned() {
            of.entry(OUTPUT.to_owned()).or_insert(info);
        }
        of
    }

    #[must_use]
    pub fn on(&self, of: &Checkpoint) -> Checkpoint {
        let mut with = of.clone();
        if let (None, Some(embedding)) = (of.get(OUTPUT), of.get(&self.embedding)) {
            with.insert(OUTPUT, embedding.clone());
        }
        with
    }
}

/// The embedding of a network by names: its only table of tokens beside an output matrix, unless its
/// configuration says that the two are not one.
fn only_table(config: &Value, signature: &Signature) -> Option<String> {
    let graph = Graph::from_config(config, signature).ok()?;
    if config["tie_word_embeddings"] == Value::Bool(false) {
        return None;
    }

    let tables = graph.by_names()?.tensors_of(RowsOf::Tokens);
    let tables: Vec<&str> = tables.filter(|name| *name != OUTPUT).collect();

    match tables.as_slice() {
        [table] => Some((*table).to_owned()),
        _ => None,
    }
}
