//! Loss and accuracy of a checkpoint on a data set, with its running statistics.

use super::{Batch, Dataset, Learner, cross_entropy::Scores};
use crate::{
    execution::{BatchNormMode, Executor, Weights, cpu::forward_streamed},
    tensors::Checkpoint,
};

/// How well a checkpoint does.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean loss ([`Loss`](super::Loss)), over the samples or the tokens that count.
    pub loss: f64,
    /// Share of right predictions, in [0, 1]; of values R², which is at most 1
    /// ([`Judged`](super::dataset::Judged)).
    pub accuracy: f64,
    /// What is predicted for every label that counts, in order: a class, a token, a position, a label of 0 or 1,
    /// or a value ([`Value`](super::Value)).
    pub predictions: Vec<u32>,
}

impl Learner<'_> {
    /// Runs forward over the data in batches of bounded size.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the data.
    pub fn evaluate(&self, params: &Checkpoint, data: &Dataset) -> Evaluation {
        if self.is_streamed(params) {
            return self.evaluate_by(data, |batch| self.streamed_logits(params, batch));
        }
        let weights = Weights::upload(&self.program, params, &self.executor);
        self.evaluate_weights(&weights, data)
    }

    pub(super) fn evaluate_weights(&self, weights: &Weights, data: &Dataset) -> Evaluation {
        self.evaluate_by(data, |batch| {
            self.logits(weights, batch, BatchNormMode::Running).0
        })
    }

    fn evaluate_by(&self, data: &Dataset, logits: impl Fn(Batch) -> Vec<f32>) -> Evaluation {
        let mut all = Scores::default();
        for batch in batches(data, self.evaluation_batch_size(data.size())) {
            let labels = batch.labels.clone();
            let some = self.loss().scores(&logits(batch), &labels);
            all.losses.extend(some.losses);
            all.predictions.extend(some.predictions);
        }

        Evaluation {
            loss: all.mean_loss(),
            accuracy: data.right_share(&all.predictions),
            predictions: all.predictions,
        }
    }

    /// Row-major logits `[B, classes]` with the running statistics.
    pub fn predict(&self, params: &Checkpoint, batch: &Batch) -> Vec<f32> {
        if self.is_streamed(params) {
            return self.streamed_logits(params, batch.clone());
        }
        let weights = Weights::upload(&self.program, params, &self.executor);
        self.logits(&weights, batch.clone(), BatchNormMode::Running)
            .0
    }

    /// Whether a model's weights are read as they are needed: as f32 they would take much of the memory,
    /// and they are the CPU's.
    fn is_streamed(&self, params: &Checkpoint) -> bool {
        let values: usize = params.iter().map(|(_, tensor)| tensor.len()).sum();
        matches!(self.executor, Executor::Cpu) && values > self.max_weights
    }

    fn streamed_logits(&self, params: &Checkpoint, batch: Batch) -> Vec<f32> {
        self.spent_forwards(batch.len());
        forward_streamed(&self.program, params, batch.on_cpu(&self.program))
    }
}

/// The samples in order, so many at a time.
pub(super) fn batches(data: &Dataset, size: usize) -> impl Iterator<Item = Batch> + '_ {
    (0..data.len()).step_by(size).map(move |start| {
        let end = (start + size).min(data.len());
        data.batch(&(start..end).collect::<Vec<_>>())
    })
}

#[cfg(test)]
mod tests {
    use std::{
        ops::Range,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use burn::tensor::Device;
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::{
        network::{Task, token::ABSENT},
        tensors::{DType, Elements, HostTensor},
        training::{DataFault, EVALUATION_BATCH_SAMPLES, cross_entropy::scores, testing},
    };

    #[test]
    fn batches_do_not_change_the_result_and_faults_are_found_first() {
        let graph = testing::graph(&[3], json!([{"op":"linear","param":"fc"}]));
        let signature = testing::signature(&[("fc.weight", &[4, 3])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let params = testing::random_params(&signature, 1);
        let batch = testing::random_batch(&[3], EVALUATION_BATCH_SAMPLES + 7, 4, 2);
        let data = testing::dataset(&batch);
        learner.check(&data).unwrap();
        let found = learner.evaluate(&params, &data);
        let expected = scores(&learner.predict(&params, &batch), &batch.labels);
        assert_eq!(found.predictions, expected.predictions);
        assert!((found.loss - expected.mean_loss()).abs() < 1e-9);
        assert!((found.accuracy - expected.accuracy(&batch.labels)).abs() < 1e-12);

        // Of a model too large to be held the weights are read as they are needed.
        let mut streaming = Learner::new(&graph, &signature, Device::flex()).unwrap();
        streaming.max_weights = 3;
        assert_eq!(streaming.evaluate(&params, &data), found);
        assert_eq!(
            streaming.predict(&params, &batch),
            learner.predict(&params, &batch)
        );
        assert_eq!(streaming.cost().sample_forwards, 2 * batch.len() as u64);

        let wrong = |batch: &Batch| learner.check(&testing::dataset(batch)).unwrap_err();
        let mut labels = batch.clone();
        labels.labels[9] = 4;
        assert_eq!(
            wrong(&labels),
            DataFault::Label {
                position: 9,
                label: 4,
                classes: 4
            }
        );
        assert_eq!(
            wrong(&testing::random_batch(&[2], 3, 4, 2)).code(),
            "wrong_input_shape"
        );

        assert_eq!(
            wrong(&testing::random_batch(&[3], 0, 4, 2)),
            DataFault::Empty
        );
    }

    /// An expert's tensor that counts how often it is read.
    #[derive(Debug)]
    struct Counted(HostTensor, Arc<AtomicUsize>);

    impl Elements for Counted {
        fn floats(&self, range: Range<usize>) -> Vec<f32> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.floats(range).into_owned()
        }

        fn bytes(&self, range: Range<usize>) -> Bytes {
            self.0.bytes_of(range)
        }
    }

    /// Of experts that lie in a file those are read that some token goes through, when their turn comes.
    #[test]
    fn experts_of_a_large_model_are_read_as_they_are_run() {
        let nodes = json!([{"op":"embedding","param":"words"},{"op":"linear","param":"router"},
            {"op":"experts","param":"e","count":3,"top_k":1,"inputs":["words","router"]},
            {"op":"select_token"},{"op":"linear","param":"head"}]);
        let graph = testing::token_graph(2, nodes);
        let mut shapes: Vec<(String, [usize; 2])> = vec![
            ("words.weight".into(), [5, 4]),
            ("router.weight".into(), [3, 4]),
        ];
        shapes.push(("head.weight".into(), [3, 4]));
        for expert in 0..3 {
            for (layer, shape) in [
                ("gate_proj", [6, 4]),
                ("up_proj", [6, 4]),
                ("down_proj", [4, 6]),
            ] {
                shapes.push((format!("e.{expert}.{layer}.weight"), shape));
            }
        }
        let shapes: Vec<(&str, &[usize])> = shapes
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()))
            .collect();
        let signature = testing::signature(&shapes);
        let params = testing::random_params(&signature, 1);
        let reads = Arc::new(AtomicUsize::new(0));
        let lazy: Checkpoint = params
            .iter()
            .map(|(name, tensor)| {
                let counted = Arc::new(Counted(tensor.clone(), Arc::clone(&reads)));
                let lazy = HostTensor::lazy(DType::F32, tensor.shape().to_vec(), counted);
                (
                    name.to_owned(),
                    if name.starts_with("e.") {
                        lazy
                    } else {
                        tensor.clone()
                    },
                )
            })
            .collect();

        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let mut streaming = Learner::new(&graph, &signature, Device::flex()).unwrap();
        streaming.max_weights = 3;
        // Two times the same word: one expert.
        let batch = Batch {
            inputs: vec![2.0, 2.0],
            sample_shape: vec![2],
            labels: vec![0],
        };
        let expected = learner.predict(&params, &batch);
        assert_eq!(streaming.predict(&lazy, &batch), expected);
        assert_eq!(reads.load(Ordering::Relaxed), 3);
        // Of a model that is held all are read.
        assert_eq!(learner.predict(&lazy, &batch), expected);

        assert_eq!(reads.load(Ordering::Relaxed), 3 + 9);
    }

    #[test]
    fn a_language_models_data_are_checked() {
        let nodes = json!([{"op":"embedding","param":"e"},{"op":"linear","param":"e","id":"out"}]);
        let mut graph = testing::token_graph(3, nodes);
        graph.task = Task::NextToken;
        let signature = testing::signature(&[("e.weight", &[4, 2])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let data = |ids: &[f32], labels: &[i64]| {
            let ids = HostTensor::from_f32(vec![ids.len() / 3, 3], ids.to_vec());
            Dataset::of_tokens(ids, labels)
        };
        let code = |ids: &[f32], labels: &[i64]| {
            learner
                .check(&data(ids, labels))
                .map_err(|fault| fault.code())
        };
        let ids = [0.0, 3.0, -1.0];
        assert_eq!(code(&ids, &[0, 3, -100]), Ok(()));
        assert_eq!(
            code(&ids, &[0, 3, 2]),
            Ok(()),
            "the last token says what follows it"
        );
        assert_eq!(code(&ids, &[0, 4, -100]), Err("label_out_of_range"));
        assert_eq!(code(&ids, &[0, -1, -100]), Err("label_out_of_range"));
        assert_eq!(code(&ids, &[0, -100, -100]), Err("empty_dataset"));
        assert_eq!(code(&[-1.0, 1.0, 2.0], &[-100, 1, 2]), Err("invalid_mask"));
        assert_eq!(code(&[-1.0, 1.0, 2.0], &[-100, -100, 2]), Ok(()));
        let one = Dataset::from_floats(HostTensor::from_f32(vec![1, 3], ids.to_vec()), vec![0]);
        assert_eq!(learner.check(&one).unwrap_err().code(), "wrong_shape");
        // Logits of both positions that count: e of the token times e of every word.
        let table = HostTensor::from_f32(vec![4, 2], vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0]);
        let params: Checkpoint = [("e.weight".to_owned(), table)].into_iter().collect();
        let found = learner.evaluate(&params, &data(&ids, &[0, 3, 0]));
        assert_eq!(found.predictions, [3, 3]);
        assert!((found.accuracy - 0.5).abs() < 1e-12);
        let total = |at: [f64; 4]| at.iter().map(|v| v.exp()).sum::<f64>().ln();
        let expected =
            (total([1.0, 0.0, 0.0, 2.0]) - 2.0 + total([2.0, 0.0, 0.0, 4.0]) - 2.0) / 2.0;

        assert!((found.loss - expected).abs() < 1e-6);
    }

    /// Two tokens that count, each by its own label, and one that is padding.
    #[test]
    fn every_token_has_a_class_of_its_own() {
        let nodes = json!([{"op":"embedding","param":"e"}]);
        let mut graph = testing::token_graph(3, nodes);
        graph.task = Task::TokenClassification;
        let signature = testing::signature(&[("e.weight", &[4, 2])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let data = |ids: &[f32], labels: &[i64]| {
            let ids = HostTensor::from_f32(vec![ids.len() / 3, 3], ids.to_vec());
            Dataset::unlabelled(ids).labelled(labels.to_vec())
        };
        let ids = [0.0, 3.0, -1.0];
        assert_eq!(learner.check(&data(&ids, &[0, 1, -100])), Ok(()));
        let code = |labels: &[i64]| learner.check(&data(&ids, labels)).unwrap_err().code();
        assert_eq!(code(&[0, 2, -100]), "label_out_of_range");
        assert_eq!(code(&[0, 1, 1]), "invalid_mask");

        let table = HostTensor::from_f32(vec![4, 2], vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]);
        let params: Checkpoint = [("e.weight".to_owned(), table)].into_iter().collect();
        let found = learner.evaluate(&params, &data(&ids, &[1, 1, -100]));
        assert_eq!(found.predictions, [0, 1]);
        assert!((found.accuracy - 0.5).abs() < 1e-12);
        let expected = f64::midpoint(1f64.exp().ln_1p(), (-3f64).exp().ln_1p());

        assert!((found.loss - expected).abs() < 1e-6);
    }

    /// A class that is told at the end of a sentence: without an end the library gives no number.
    #[test]
    fn every_sentence_has_its_end() {
        let nodes = json!([{"op":"embedding","param":"e"},
            {"op":"select_token","position":"end","token":3,"inputs":["e","input"]}]);
        let graph = testing::token_graph(3, nodes);
        let signature = testing::signature(&[("e.weight", &[4, 2])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let check = |ids: &[f32]| {
            learner.check(&testing::dataset(&Batch {
                inputs: ids.to_vec(),
                sample_shape: vec![3],
                labels: vec![0; ids.len() / 3],
            }))
        };
        // A masked end (−4) counts, as in the library; where no token is, there is none.
        check(&[1.0, 3.0, -1.0, 2.0, 2.0, 3.0, -4.0, 1.0, ABSENT]).unwrap();
        check(&[1.0, 3.0, 3.0, 3.0, 2.0, 3.0]).unwrap();
        let found = check(&[1.0, 2.0, 3.0, 1.0, 2.0, 2.0]).unwrap_err();
        let (position, token) = (1, 3);
        assert_eq!(found, DataFault::NoEnd { position, token });
        assert_eq!(found.code(), "missing_token");

        let found = check(&[1.0, 2.0, 3.0, 1.0, 3.0, 3.0]).unwrap_err();
        assert_eq!(
            found,
            DataFault::OtherEnds {
                position,
                token,
                expected: 1,
                found: 2
            }
        );
    }

    #[test]
    fn token_ids_may_be_fewer_than_the_longest_and_are_checked() {
        let nodes = json!([{"op":"embedding","param":"e"},
            {"op":"mean_tokens","inputs":["e","input"]},{"op":"linear","param":"fc"}]);
        let graph = testing::token_graph(3, nodes);
        let signature = testing::signature(&[("e.weight", &[4, 2]), ("fc.weight", &[2, 2])]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let check = |sample_shape: &[usize], inputs: &[f32]| {
            let (inputs, sample_shape) = (inputs.to_vec(), sample_shape.to_vec());
            let labels = vec![0; inputs.len() / sample_shape[0]];
            learner.check(&testing::dataset(&Batch {
                inputs,
                sample_shape,
                labels,
            }))
        };
        check(&[2], &[0.0, 3.0, 1.0, -1.0]).unwrap();
        assert_eq!(
            check(&[4], &[0.0; 4]).unwrap_err().code(),
            "wrong_input_shape"
        );
        // Set in a row, fewer tokens would be of another width.
        let nodes =
            json!([{"op":"embedding","param":"e"},{"op":"flatten"},{"op":"linear","param":"fc"}]);
        let graph = testing::token_graph(3, nodes);
        let signature = testing::signature(&[("e.weight", &[4, 2]), ("fc.weight", &[2, 6])]);
        let in_a_row = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let data = |length: usize| {
            let inputs = vec![0.0; 2 * length];
            testing::dataset(&Batch {
                inputs,
                sample_shape: vec![length],
                labels: vec![0; 2],
            })
        };
        in_a_row.check(&data(3)).unwrap();
        assert_eq!(
            in_a_row.check(&data(2)).unwrap_err().code(),
            "wrong_input_shape"
        );

        // Also where it is masked: its row is read there too.
        for (packed, id) in [(4.0, "4"), (-5.0, "4"), (0.5, "0.5")] {
            let found = check(&[2], &[0.0, 3.0, 1.0, packed]).unwrap_err();
            let expected = DataFault::TokenId {
                position: 1,
                id: id.into(),
                vocabulary: 4,
            };
            assert_eq!(found, expected);
        }
    }
}
