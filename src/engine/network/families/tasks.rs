//! What a configuration of Hugging Face is for: its head, by the class that it names.

use super::{
    Source,
    transformer::{CLASSIFIER, TOKEN_CLASSIFIER},
};
use crate::network::{error::GraphError, graph::Task};

impl Source<'_> {
    /// The head must be this one.
    ///
    /// # Errors
    /// [`GraphError::UnknownArchitecture`] for another, a regression's or a reward's, or one of several labels.
    pub(super) fn head(&self, suffix: &str) -> Result<(), GraphError> {
        let class = self.config["architectures"][0].as_str();
        let what = self.no_classifier(suffix);
        what.map_or(Ok(()), |what| {
            Err(GraphError::UnknownArchitecture {
                name: format!("{}{what}", class.unwrap_or("a classifier")),
                known: format!("…{suffix} of two classes or more"),
            })
        })
    }

    /// What keeps a configuration from being that of such a classifier, behind its name.
    fn no_classifier(&self, suffix: &str) -> Option<String> {
        if self
            .only("problem_type", &["single_label_classification".into()])
            .is_err()
        {
            return Some(format!(" of problem_type {}", self.config["problem_type"]));
        }
        let labels = self.config["num_labels"].as_u64();
        let named = self.config["id2label"]
            .as_object()
            .map(serde_json::Map::len);
        if labels == Some(1) || named == Some(1) {
            return Some(" of one label, a regression or a reward".to_owned());
        }
        let class = self.config["architectures"][0].as_str();
        class
            .is_some_and(|name| !name.ends_with(suffix))
            .then(String::new)
    }

    /// The task of an encoder: a class of the whole, or of every token, or none.
    ///
    /// # Errors
    /// As [`Source::head`].
    pub(super) fn encoder_task(&self) -> Result<Task, GraphError> {
        if self.is_body() {
            return Ok(Task::Representation);
        }
        if self.classifies_tokens() {
            return self
                .head(TOKEN_CLASSIFIER)
                .map(|()| Task::TokenClassification);
        }
        match self.head(CLASSIFIER) {
            Err(GraphError::UnknownArchitecture { name, .. }) => {
                let known = format!("…{CLASSIFIER} and …{TOKEN_CLASSIFIER} of two classes or more");
                Err(GraphError::UnknownArchitecture { name, known })
            }
            found => found.map(|()| Task::Classification),
        }
    }

    /// Whether the configuration is of a body alone, as sentence embedders are.
    pub(super) fn is_body(&self) -> bool {
        let class = self.config["architectures"][0]
            .as_str()
            .and_then(|name| name.strip_suffix("Model"));
        class.is_some_and(|stem| !stem.ends_with("Head") && !stem.ends_with("Heads"))
    }

    fn classifies_tokens(&self) -> bool {
        let class = self.config["architectures"][0].as_str();
        class.is_some_and(|name| name.ends_with(TOKEN_CLASSIFIER))
    }

    /// The task of a causal model: `language` names the head that predicts the next token.
    pub(super) fn causal_task(&self, language: &str) -> Result<Task, GraphError> {
        match self.config["architectures"][0].as_str() {
            Some(name) if name.ends_with(language) => Ok(Task::NextToken),
            Some(_) if self.is_body() => Ok(Task::Representation),
            Some(_) if self.classifies_tokens() && language == "ForCausalLM" => self
                .head(TOKEN_CLASSIFIER)
                .map(|()| Task::TokenClassification),
            Some(name) if !name.ends_with(CLASSIFIER) => {
                let known = format!("…{CLASSIFIER} and …{language}");
                Err(GraphError::UnknownArchitecture {
                    name: name.to_owned(),
                    known,
                })
            }
            _ => self.head(CLASSIFIER).map(|()| Task::Classification),
        }
    }
}
