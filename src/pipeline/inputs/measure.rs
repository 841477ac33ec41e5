//! What a network's task can be measured by, and whether the job asks for that.

use crate::{
    contract::{
        codes::FailureCode,
        spec::{Metric, Spec},
    },
    engine::network::{Graph, Task},
    pipeline::failure::Failure,
};

/// Refuses a gate by a figure that the task has not, and an adapter that nobody could load.
///
/// # Errors
/// `wrong_measure` at `/gate/metric` or `/gate/max_negative_flips`; `not_implemented` at `/options/update`.
pub fn check(spec: &Spec, graph: &Graph) -> Result<(), Failure> {
    if graph.task == Task::MaskedToken && spec.options.update.is_some() {
        let detail = "the update of a masked language model is not written as an adapter: the bias of its output \
                      layer is no module's; leave options.update out, or tune a body (…Model)";
        return Err(refused(
            FailureCode::NotImplemented,
            "/options/update",
            detail,
        ));
    }

    let Some(gate) = &spec.gate else {
        return Ok(());
    };
    let is_of_values = graph.task == Task::Regression;
    let is_bounded = gate.min.is_some() || gate.max_drop_from_source.is_some();

    match gate.metric {
        Metric::Accuracy if is_of_values && is_bounded => {
            let detail = "the network tells values, which are not right or wrong: gate by \"r2\", the share of \
                          their variance that a model explains";
            Err(wrong("/gate/metric", detail))
        }
        Metric::R2 if !is_of_values => {
            let detail = "R² is of values, and the network tells none: gate by \"accuracy\"";
            Err(wrong("/gate/metric", detail))
        }
        _ if is_of_values && gate.max_negative_flips.is_some() => {
            let detail = "the network tells values, which are not right or wrong, so that none flips: bound \
                          \"r2\" by max_drop_from_source";
            Err(wrong("/gate/max_negative_flips", detail))
        }
        _ => Ok(()),
    }
}

fn wrong(pointer: &str, detail: &str) -> Failure {
    refused(FailureCode::WrongMeasure, pointer, detail)
}

fn refused(code: FailureCode, pointer: &str, detail: &str) -> Failure {
    Failure::Input {
        code,
        pointer: Some(pointer.to_owned()),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pointer(task: &str, change: Value) -> Option<String> {
        let mut spec = json!({
            "source": {"base": "file:///m/a", "trajectory": "file:///m/t"},
            "target": {"base": "file:///m/b"}, "data": {"train": "file:///d/train"},
            "output": "file:///m/out"
        });
        for (name, value) in change.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let graph = json!({"input": {"kind": "features", "shape": [3]}, "task": task,
            "nodes": [{"op": "linear", "param": "head"}]});
        let graph = Graph::from_document(&graph).unwrap();

        match check(&Spec::from_json(&spec).unwrap(), &graph) {
            Ok(()) => None,
            Err(Failure::Input { pointer, .. }) => pointer,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_gate_is_by_what_the_task_has() {
        let gate = |gate: Value| json!({ "gate": gate });
        let metric = Some("/gate/metric".to_owned());
        assert_eq!(pointer("regression", gate(json!({"min": 0.5}))), metric);
        let r2 = gate(json!({"metric": "r2", "max_drop_from_source": 0.05}));
        assert_eq!(pointer("regression", r2.clone()), None);
        assert_eq!(pointer("classification", r2), metric);
        let agreement = gate(json!({"metric": "agreement", "min": 0.5}));
        assert_eq!(pointer("regression", agreement), None);
        let flips = gate(json!({"metric": "r2", "min": 0.5, "max_negative_flips": 0.1}));
        assert_eq!(
            pointer("regression", flips).as_deref(),
            Some("/gate/max_negative_flips")
        );
        let several = gate(json!({"min": 0.5, "max_negative_flips": 0.1}));

        assert_eq!(pointer("multi_label_classification", several), None);
    }

    #[test]
    fn no_adapter_is_written_of_a_masked_language_model() {
        let update = json!({"options": {"update": {"format": "lora", "rank": 2}}});
        assert_eq!(
            pointer("masked_token", update.clone()).as_deref(),
            Some("/options/update")
        );
        assert_eq!(pointer("classification", update), None);
    }
}
