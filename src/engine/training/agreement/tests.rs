//! What agrees, by hand.

use burn::tensor::Device;
use serde_json::json;

use super::*;
use crate::{
    tensors::HostTensor,
    training::{Value, testing},
};

fn predictions(logits: &[f32], counted: &[bool]) -> Predictions {
    Predictions {
        loss: Loss::Classes,
        logits: logits.to_vec(),
        width: 2,
        together: 1,
        counted: counted.to_vec(),
    }
}

fn rows_of(loss: Loss, logits: &[f32], width: usize, together: usize) -> Predictions {
    Predictions {
        loss,
        logits: logits.to_vec(),
        width,
        together,
        counted: vec![true; logits.len() / width],
    }
}

#[test]
fn several_labels_and_both_ends_agree_together() {
    let ln3 = 3f32.ln();
    // Yes and no beside yes and yes; probabilities 3/4, 1/2 and 3/4, 3/4.
    let own = rows_of(Loss::Labels, &[ln3, 0.0, ln3, ln3], 2, 1);
    let reference = rows_of(Loss::Labels, &[ln3, ln3, ln3, ln3], 2, 1);
    let found = own.beside(&reference);
    assert!((found.agreement - 0.5).abs() < 1e-12);
    let apart = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
    assert!((found.divergence - apart / 4.0).abs() < 1e-6, "{found:?}");
    assert_eq!(own.labels(), [1, 0, 1, 1]);

    // Of two answers among two positions, one has another end.
    let own = rows_of(Loss::Ends, &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0], 2, 2);
    let reference = rows_of(Loss::Ends, &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], 2, 2);
    assert!((own.beside(&reference).agreement - 0.5).abs() < 1e-12);
    assert_eq!(own.labels(), [0, 1, 0, 0]);
}

/// The reference's values 1, 2, 3 vary by 2/3; the others are off by 0, 1, 0.
#[test]
fn values_agree_as_far_as_they_explain_the_others() {
    let reference = rows_of(Loss::Values, &[1.0, 2.0, 3.0], 1, 1);
    let found = rows_of(Loss::Values, &[1.0, 3.0, 3.0], 1, 1).beside(&reference);
    assert!((found.divergence - 1.0 / 3.0).abs() < 1e-12);
    assert!((found.agreement - 0.5).abs() < 1e-12);
    let values = reference.labels().into_iter();
    let values: Vec<f32> = values.map(|label| Value::of_label(label).0).collect();
    assert_eq!(values, [1.0, 2.0, 3.0]);
}

#[test]
fn a_model_labels_what_has_no_labels_and_agrees_with_itself() {
    let graph = testing::graph(&[3], json!([{"op":"linear","param":"fc"}]));
    let signature = testing::signature(&[("fc.weight", &[4, 3])]);
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let params = testing::random_params(&signature, 1);
    let other = testing::random_params(&signature, 2);
    let batch = testing::random_batch(&[3], 300, 4, 2);
    let inputs = HostTensor::from_f32(vec![300, 3], batch.inputs.clone());
    let data = Dataset::unlabelled(inputs);
    learner.check(&data).unwrap();
    let [old, new] = [&params, &other].map(|params| Runnable {
        learner: &learner,
        params,
    });

    let labels = old.labels(&data, &|| ControlFlow::Continue(())).unwrap();
    assert!(old.labels(&data, &|| ControlFlow::Break(())).is_none());
    let labelled = data.clone().labelled(labels);
    assert!((learner.evaluate(&params, &labelled).accuracy - 1.0).abs() < 1e-12);

    // Over two batches as over one, and by the labels as by the logits.
    let found = new.beside(old, &data);
    let whole = learner
        .predictions(&other, &batch)
        .beside(&learner.predictions(&params, &batch));
    assert!((found.agreement - whole.agreement).abs() < 1e-12);
    assert!((found.divergence - whole.divergence).abs() < 1e-9 && found.divergence > 0.0);
    assert!((learner.evaluate(&other, &labelled).accuracy - found.agreement).abs() < 1e-12);
}

#[test]
fn padded_tokens_are_not_labelled() {
    let nodes = json!([{"op":"embedding","param":"e"},{"op":"linear","param":"e","id":"out"}]);
    let mut graph = testing::token_graph(3, nodes);
    graph.task = crate::network::Task::NextToken;
    let signature = testing::signature(&[("e.weight", &[4, 2])]);
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let table = HostTensor::from_f32(vec![4, 2], vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0]);
    let params: Checkpoint = [("e.weight".to_owned(), table)].into_iter().collect();
    let ids = HostTensor::from_f32(vec![1, 3], vec![0.0, 1.0, -1.0]);
    let model = Runnable {
        learner: &learner,
        params: &params,
    };
    let labels = model.labels(&Dataset::unlabelled(ids), &|| ControlFlow::Continue(()));
    assert_eq!(labels.unwrap(), [3, 1, IGNORED]);
}

#[test]
fn what_agrees_and_how_far_the_rest_is() {
    let ln3 = 3f32.ln();
    // Probabilities 3/4, 1/4 and 1/2, 1/2; the third row is padding.
    let reference = predictions(&[ln3, 0.0, 0.0, 0.0, 9.0, 0.0], &[true, true, false]);
    let own = predictions(&[0.0, 0.0, 0.0, ln3, 0.0, 9.0], &[true, true, false]);
    let found = own.beside(&reference);
    // A tie is the first class.
    assert!((found.agreement - 0.5).abs() < 1e-12);
    let first = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
    let second = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
    assert!(
        (2.0 * found.divergence - first - second).abs() < 1e-6,
        "{found:?}"
    );

    let same = reference.beside(&reference);
    assert_eq!(
        same,
        Agreement {
            agreement: 1.0,
            divergence: 0.0
        }
    );
}
