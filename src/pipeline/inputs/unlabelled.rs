//! Data without labels: what can be done with them, and what stands in the place of their labels.
//!
//! The old tuned model's own predictions do. Accuracy against them is *agreement*, the share of inputs (or
//! of tokens) on which a model says what the old tuned model says; of values their R². Whether a disagreement is a loss,
//! nobody can tell from such data.

use crate::{
    contract::{
        codes::FailureCode,
        spec::{Labels, Methods, Metric, Spec},
    },
    pipeline::failure::Failure,
};

/// Which splits came without labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlabelled {
    pub train: bool,
    pub validation: bool,
    pub test: bool,
}

impl Unlabelled {
    pub fn is_any(self) -> bool {
        self.train || self.validation || self.test
    }

    /// The splits' names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.train, "train"),
            (self.validation, "validation"),
            (self.test, "test"),
        ];
        all.into_iter()
            .filter_map(|(lacks, name)| lacks.then_some(name))
    }

    /// Refuses a job that asks for what such data cannot tell.
    ///
    /// # Errors
    /// `labels_missing` at `/methods`, `/fine_tune/labels` or `/gate/metric`.
    pub fn check(self, spec: &Spec) -> Result<(), Failure> {
        let named = match &spec.methods {
            Methods::Auto => None,
            Methods::Named(methods) => methods.iter().find(|method| method.needs_labels()),
        };
        if let Some(method) = named.filter(|_| self.train) {
            let detail = format!(
                "{} needs labels, and the training samples have none; give labels, or take methods that \
                 need none: functional, identity, weight_matching, theseus",
                method.name()
            );
            return Err(missing("/methods", detail));
        }
        let labels = spec.fine_tune.as_ref().map(|stage| stage.labels);
        if labels == Some(Labels::Given) && self.train {
            let detail = "the training samples have no labels to train on; give labels, or train on the old \
                          tuned model's probabilities (\"old_model\")";
            return Err(missing("/fine_tune/labels", detail.into()));
        }

        let metric = spec.gate.as_ref().map(|gate| gate.metric);
        if matches!(metric, Some(Metric::Accuracy | Metric::R2)) && self.test {
            let detail = "the samples that judge have no labels, so nobody knows what is right; give a test \
                          split with labels, or gate by \"agreement\"";
            return Err(missing("/gate/metric", detail.into()));
        }

        Ok(())
    }
}

fn missing(pointer: &str, detail: String) -> Failure {
    Failure::Input {
        code: FailureCode::LabelsMissing,
        pointer: Some(pointer.into()),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(change: Value, unlabelled: Unlabelled) -> Option<String> {
        let mut spec = json!({
            "source": {"base": "file:///m/a", "trajectory": "file:///m/t"},
            "target": {"base": "file:///m/b"}, "data": {"train": "file:///d/train"},
            "output": "file:///m/out"
        });
        for (name, value) in change.as_object().unwrap() {
            spec[name] = value.clone();
        }

        match unlabelled.check(&Spec::from_json(&spec).unwrap()) {
            Err(Failure::Input {
                code: FailureCode::LabelsMissing,
                pointer,
                ..
            }) => pointer,
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn what_needs_labels_is_refused_by_name() {
        let all = Unlabelled {
            train: true,
            validation: true,
            test: true,
        };
        let labelled = Unlabelled::default();
        for method in ["gmt", "fgmt", "gradfix", "bico", "oracle"] {
            let named = json!({"methods": ["identity", method]});
            assert_eq!(
                refused(named.clone(), all).as_deref(),
                Some("/methods"),
                "{method}"
            );
            assert_eq!(refused(named, labelled), None);
        }
        let without = json!({"methods": ["identity", "functional", "weight_matching", "theseus"]});
        assert_eq!(refused(without, all), None);
        assert_eq!(refused(json!({}), all), None);
        let stage = json!({"fine_tune": {}});
        assert_eq!(refused(stage, all).as_deref(), Some("/fine_tune/labels"));
        assert_eq!(
            refused(json!({"fine_tune": {"labels": "old_model"}}), all),
            None
        );

        let gate = |metric| json!({"gate": {"metric": metric, "min": 0.5}});
        assert_eq!(
            refused(gate("accuracy"), all).as_deref(),
            Some("/gate/metric")
        );
        assert_eq!(refused(gate("agreement"), all), None);
        let judged = Unlabelled { test: false, ..all };

        assert_eq!(refused(gate("accuracy"), judged), None);
    }
}
