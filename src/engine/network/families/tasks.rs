//! What a configuration of Hugging Face is for: its head, by the class that it names.

use super::{
    Source,
    suffixes::{CLASSIFIER, MASKED_MODEL, SPANS, TOKEN_CLASSIFIER},
};
use crate::network::{error::GraphError, graph::Task};

/// `problem_type` of classifiers, as the library has them.
const SINGLE: &str = "single_label_classification";
const MULTIPLE: &str = "multi_label_classification";
const VALUES: &str = "regression";

impl Source<'_> {
    /// The head must be this one, of one label a sample or a token.
    ///
    /// # Errors
    /// [`GraphError::UnknownArchitecture`] for another, a regression's or a reward's, or one of several labels.
    pub(super) fn head(&self, suffix: &str) -> Result<(), GraphError> {
        let what = self.no_classifier(suffix);
        what.map_or(Ok(()), |what| {
            Err(self.unknown(&what, format!("…{suffix} of two classes or more")))
        })
    }

    /// What the head of this name tells of a whole sample: a class, several labels, or values. One label is a
    /// regression, unless the configuration says otherwise.
    ///
    /// # Errors
    /// [`GraphError::UnknownArchitecture`] for another head, another `problem_type`, or a choice of one class.
    pub(super) fn sample_task(&self, suffix: &str) -> Result<Task, GraphError> {
        let class = self.config["architectures"][0].as_str();
        if class.is_some_and(|name| !name.ends_with(suffix)) {
            return Err(self.unknown("", format!("…{suffix}")));
        }

        match &self.config["problem_type"] {
            value if value == VALUES || (value.is_null() && self.has_one_label()) => {
                Ok(Task::Regression)
            }
            value if value == MULTIPLE => Ok(Task::MultiLabelClassification),
            _ => self.head(suffix).map(|()| Task::Classification),
        }
    }

    fn has_one_label(&self) -> bool {
        let named = self.config["id2label"]
            .as_object()
            .map(serde_json::Map::len);
        self.config["num_labels"].as_u64() == Some(1) || named == Some(1)
    }

    /// What keeps a configuration from being that of a classifier of one label, behind its name.
    fn no_classifier(&self, suffix: &str) -> Option<String> {
        if self.only("problem_type", &[SINGLE.into()]).is_err() {
            return Some(format!(" of problem_type {}", self.config["problem_type"]));
        }
        if self.has_one_label() {
            return Some(" of one label, a regression or a reward".to_owned());
        }
        let class = self.config["architectures"][0].as_str();
        class
            .is_some_and(|name| !name.ends_with(suffix))
            .then(String::new)
    }

    fn unknown(&self, what: &str, known: String) -> GraphError {
        let class = self.config["architectures"][0].as_str();
        GraphError::UnknownArchitecture {
            name: format!("{}{what}", class.unwrap_or("a classifier")),
            known,
        }
    }

    /// The task of an encoder, by the class that its configuration names; a body's is none.
    ///
    /// # Errors
    /// As [`Source::head`] and [`Source::sample_task`].
    pub(super) fn encoder_task(&self) -> Result<Task, GraphError> {
        if self.is_body() {
            return Ok(Task::Representation);
        }
        if self.is_of(TOKEN_CLASSIFIER) {
            return self
                .head(TOKEN_CLASSIFIER)
                .map(|()| Task::TokenClassification);
        }
        if self.is_of(SPANS) {
            return Ok(Task::QuestionAnswering);
        }
        if self.is_of(MASKED_MODEL) {
            return Ok(Task::MaskedToken);
        }

        self.sample_task(CLASSIFIER).map_err(|error| match error {
            GraphError::UnknownArchitecture { name, .. } => {
                let known =
                    format!("…{CLASSIFIER}, …{TOKEN_CLASSIFIER}, …{SPANS} and …{MASKED_MODEL}");
                GraphError::UnknownArchitecture { name, known }
            }
            other => other,
        })
    }

    /// Whether the configuration is of a body alone, as sentence embedders are.
    pub(super) fn is_body(&self) -> bool {
        let class = self.config["architectures"][0]
            .as_str()
            .and_then(|name| name.strip_suffix("Model"));
        class.is_some_and(|stem| !stem.ends_with("Head") && !stem.ends_with("Heads"))
    }

    fn is_of(&self, suffix: &str) -> bool {
        let class = self.config["architectures"][0].as_str();
        class.is_some_and(|name| name.ends_with(suffix))
    }

    /// The task of a causal model: `language` names the head that predicts the next token.
    pub(super) fn causal_task(&self, language: &str) -> Result<Task, GraphError> {
        match self.config["architectures"][0].as_str() {
            Some(name) if name.ends_with(language) => Ok(Task::NextToken),
            Some(_) if self.is_body() => Ok(Task::Representation),
            Some(_) if self.is_of(TOKEN_CLASSIFIER) && language == "ForCausalLM" => self
                .head(TOKEN_CLASSIFIER)
                .map(|()| Task::TokenClassification),
            Some(name) if !name.ends_with(CLASSIFIER) => {
                let known = format!("…{CLASSIFIER} and …{language}");
                Err(GraphError::UnknownArchitecture {
                    name: name.to_owned(),
                    known,
                })
            }
            _ => self.sample_task(CLASSIFIER),
        }
    }
}
