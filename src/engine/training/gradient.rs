//! Loss and gradient on one batch.

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorData};

use super::{
    Batch, Learner,
    cross_entropy::{self, Scores, scores},
};
use crate::{
    execution::{
        BatchNormMode, Executor, Statistics, Weights,
        burn::{BurnActivation, forward as forward_by_burn},
        cpu::{self, CpuActivation, Stored},
        floats,
    },
    tensors::{Checkpoint, HostTensor},
};

/// The mean loss of a batch and its gradient, f32, under the names of the learned tensors.
#[derive(Clone, Debug)]
pub struct Gradient {
    pub loss: f64,
    pub parts: Checkpoint,
}

impl Learner<'_> {
    /// Mean cross-entropy over the batch (over the tokens that count) and its gradient; batch norm uses the batch's own
    /// statistics, there is no weight decay. A tied tensor's gradient is the sum over its readers.
    ///
    /// # Panics
    /// When [`Learner::check`] would have refused the batch.
    pub fn gradient(&self, params: &Checkpoint, batch: &Batch) -> Gradient {
        let weights = Weights::upload(&self.program, params, &self.executor);
        let (loss, gradients) = self.backward(&weights, batch, BatchNormMode::Batch);
        let part = |(name, values): (String, Tensor<1>)| {
            let shape = params[&name].shape().to_vec();
            (name, HostTensor::from_f32(shape, floats(values)))
        };
        Gradient { loss, parts: gradients.into_iter().map(part).collect() }
    }

    /// The mean loss and its flat gradients by name. A batch of long sequences is gone through in
    /// parts, for its logits are larger than the model; the parts' gradients add up to the batch's.
    pub(super) fn backward(
        &self,
        weights: &Weights,
        batch: &Batch,
        mode: BatchNormMode,
    ) -> (f64, HashMap<String, Tensor<1>>) {
        self.spent_gradients(batch.len());
        let share = cross_entropy::share(&batch.labels);
        let (mut all, mut sums) = (Scores::default(), HashMap::new());

        for part in batch.parts(self.micro_batch_size(batch)) {
            let (some, gradients) = match self.executor {
                Executor::Cpu => self.backward_on_cpu(weights, part, mode, share),
                Executor::Burn(_) => self.backward_by_burn(&weights.leaves(), part, mode, share),
            };
            all.losses.extend(some.losses);
            for (name, gradient) in gradients {
                let sum = match sums.remove(&name) {
                    Some(earlier) => earlier + gradient,
                    None => gradient,
                };
                sums.insert(name, sum);
            }
        }

        (all.mean_loss(), sums)
    }

    /// Scores of a part of a batch, and its gradients where every counted row has `share` of the mean.
    fn backward_on_cpu(
        &self,
        weights: &Weights,
        part: Batch,
        mode: BatchNormMode,
        share: f64,
    ) -> (Scores, HashMap<String, Tensor<1>>) {
        let input = CpuActivation::new(part.inputs, &part.sample_shape);
        let mut trace = cpu::forward(&self.program, weights, input, mode, Stored::ForBackward);
        let logits = std::mem::take(&mut trace.logits);

        let found = scores(&logits, &part.labels);
        let factor = cross_entropy::shared_gradient(logits, &part.labels, share);
        (found, trace.backward(factor).into_tensors())
    }

    /// The same on any device, by burn's own differentiation, for leaves.
    fn backward_by_burn(
        &self,
        leaves: &Weights,
        part: Batch,
        mode: BatchNormMode,
        share: f64,
    ) -> (Scores, HashMap<String, Tensor<1>>) {
        let device = self.executor.device().autodiff();
        let input = BurnActivation::upload(part.inputs, &part.sample_shape, &device);
        let mut unheard = |_| {};
        let statistics = match mode {
            BatchNormMode::Batch => Statistics::Batch(&mut unheard),
            BatchNormMode::Running => Statistics::Running,
        };

        let logits = forward_by_burn(&self.program, leaves, input, statistics);

        let values = floats(logits.clone().inner());
        let found = scores(&values, &part.labels);

        // d loss / d θ = Σ (d loss / d logits) · d logits / d θ, the first factor a constant.
        let factor = cross_entropy::shared_gradient(values, &part.labels, share);
        let factor = Tensor::from_data(TensorData::new(factor, logits.dims()), &device);
        let mut gradients = (logits * factor).sum().backward();
        let flat = |name: String| {
            let gradient = leaves.flat(&name)?.grad_remove(&mut gradients)?;
            Some((name, gradient))
        };
        (found, self.graph.learned().into_iter().filter_map(flat).collect())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::{Value, json};

    use super::*;
    use crate::network::{Graph, Task};
    use crate::training::{dataset::next_labels, testing};

    /// Every element's gradient against a central difference of the loss.
    fn check(sample_shape: &[usize], nodes: Value, shapes: &[(&str, &[usize])]) {
        let graph = testing::graph(sample_shape, nodes);
        let signature = testing::signature(shapes);
        let classes =
            graph.resolve(&signature).and_then(|program| program.classes()).unwrap() as i64;
        check_on(&graph, shapes, &testing::random_batch(sample_shape, 5, classes, 1));
    }

    fn check_on(graph: &Graph, shapes: &[(&str, &[usize])], batch: &Batch) {
        let signature = testing::signature(shapes);
        let learner = Learner::new(graph, &signature, Device::flex()).unwrap();
        let params = testing::random_params(&signature, 2);
        let gradient = learner.gradient(&params, batch);
        let weights = Weights::upload(&learner.program, &params, &Executor::Cpu);
        let share = cross_entropy::share(&batch.labels);
        let (scores, by_burn) =
            learner.backward_by_burn(&weights.leaves(), batch.clone(), BatchNormMode::Batch, share);
        assert!((gradient.loss - scores.mean_loss()).abs() < 1e-5);
        agree_with_running_statistics(&learner, &weights, batch);
        assert_eq!(by_burn.len(), gradient.parts.len());
        let scale = gradient.parts.iter().flat_map(|(_, t)| t.f32().into_owned());
        let scale = f64::from(scale.fold(0f32, |a, v| a.max(v.abs())));
        assert!(scale > 1e-3, "there is a gradient");
        for name in graph.learned() {
            let Some(tensor) = params.get(&name) else { continue };
            let burn = floats(by_burn[&name].clone());
            assert_eq!(burn.len(), tensor.len());
            for (i, &by_burn) in burn.iter().enumerate() {
                let slope = slope(&learner, &params, batch, (&name, i));
                let found = f64::from(gradient.parts[&name].f32()[i]);
                assert!((f64::from(by_burn) - found).abs() < 1e-5 * scale, "{name}[{i}]");
                let off = (slope - found).abs();
                assert!(off < 2e-3 * scale, "{name}[{i}]: {found} but the slope is {slope}");
            }
        }
    }

    fn agree_with_running_statistics(learner: &Learner, weights: &Weights, batch: &Batch) {
        let (loss, here) = learner.backward(weights, batch, BatchNormMode::Running);
        let share = cross_entropy::share(&batch.labels);
        let (by_burn, there) = learner.backward_by_burn(
            &weights.leaves(),
            batch.clone(),
            BatchNormMode::Running,
            share,
        );
        assert!((loss - by_burn.mean_loss()).abs() < 1e-5);
        for (name, tensor) in &there {
            let pairs = floats(here[name].clone()).into_iter().zip(floats(tensor.clone()));
            let scale = floats(tensor.clone()).iter().fold(1e-3f32, |a, v| a.max(v.abs()));
            for (i, (a, b)) in pairs.enumerate() {
                assert!((a - b).abs() < 1e-5 * scale.max(1.0), "{name}[{i}]: {a}, burn {b}");
            }
        }
    }

    fn slope(
        learner: &Learner<'_>,
        params: &Checkpoint,
        batch: &Batch,
        (name, i): (&str, usize),
    ) -> f64 {
        let step = 1f32 / 512.0;
        let loss = |by: f32| {
            let mut values = params[name].f32().into_owned();
            values[i] += by;
            let mut moved = params.clone();
            moved.insert(name, HostTensor::from_f32(params[name].shape().to_vec(), values));
            learner.gradient(&moved, batch).loss
        };
        (loss(step) - loss(-step)) / f64::from(2.0 * step)
    }

    #[test]
    fn linear_gelu_and_feature_batch_norm() {
        check(
            &[4],
            json!([{"op":"linear","param":"a"},{"op":"batch_norm","param":"n"},{"op":"gelu"},
                {"op":"dropout","p":0.5},{"op":"linear","param":"b"}]),
            &[
                ("a.weight", &[5, 4]),
                ("a.bias", &[5]),
                ("n.weight", &[5]),
                ("n.bias", &[5]),
                ("n.running_mean", &[5]),
                ("n.running_var", &[5]),
                ("b.weight", &[3, 5]),
            ],
        );
    }

    #[test]
    fn a_residual_block_with_strided_dilated_and_grouped_convolutions() {
        check(
            &[2, 7, 6],
            json!([{"op":"conv2d","param":"a","stride":[2,1],"padding":[1,2]},{"op":"gelu","id":"g"},
                {"op":"conv2d","param":"b","groups":2,"padding":2,"dilation":2},
                {"op":"batch_norm","param":"n"},{"op":"add","inputs":["n","g"]},{"op":"relu"},
                {"op":"global_avg_pool"},{"op":"linear","param":"fc"}]),
            &[
                ("a.weight", &[4, 2, 3, 3]),
                ("a.bias", &[4]),
                ("b.weight", &[4, 2, 3, 3]),
                ("n.weight", &[4]),
                ("n.bias", &[4]),
                ("n.running_mean", &[4]),
                ("n.running_var", &[4]),
                ("fc.weight", &[3, 4]),
                ("fc.bias", &[3]),
            ],
        );
    }

    /// `z` is computed once more from `a`, when `b`, the only one to read `a`, has been passed.
    #[test]
    fn a_sum_that_is_recomputed() {
        check(
            &[2, 4, 3],
            json!([{"op":"conv2d","param":"a","padding":1},{"op":"relu","id":"r"},
                {"op":"add","inputs":["a","r"]},{"op":"relu","id":"z"},
                {"op":"conv2d","param":"b","padding":1,"inputs":["a"]},
                {"op":"add","inputs":["b","z"]},{"op":"flatten"},{"op":"linear","param":"fc"}]),
            &[("a.weight", &[3, 2, 3, 3]), ("b.weight", &[3, 3, 3, 3]), ("fc.weight", &[3, 36])],
        );
    }

    #[test]
    fn every_pooling() {
        for pool in [
            json!({"op":"max_pool","kernel":3,"stride":2,"padding":1,"ceil_mode":true}),
            json!({"op":"avg_pool","kernel":3,"stride":2,"padding":1,"count_include_pad":false}),
            json!({"op":"avg_pool","kernel":[3,2],"stride":2,"padding":1,"ceil_mode":true}),
            json!({"op":"adaptive_avg_pool","output":[4,3]}),
        ] {
            let nodes = json!([{"op":"conv2d","param":"a","padding":1},pool,{"op":"gelu"},
                {"op":"flatten"},{"op":"linear","param":"fc"}]);
            let probe = testing::graph(&[2, 6, 5], nodes.clone());
            let a: (&str, &[usize]) = ("a.weight", &[3, 2, 3, 3]);
            // The flattened width differs; ask the shapes for it.
            let width = (1..100).find(|width| {
                probe.resolve(&testing::signature(&[a, ("fc.weight", &[2, *width])])).is_ok()
            });
            check(&[2, 6, 5], nodes, &[a, ("fc.weight", &[2, width.unwrap()])]);
        }
    }

    #[test]
    fn a_transformer_of_token_ids() {
        let nodes = json!([
            {"op":"embedding","param":"words"},
            {"op":"position_embedding","param":"places","offset":1,"inputs":["input"]},
            {"op":"position_embedding","param":"kinds","constant":true,"inputs":["words"]},
            {"op":"add","inputs":["words","places","kinds"],"id":"x"},
            {"op":"layer_norm","param":"n1"},
            {"op":"linear","param":"q","inputs":["n1"]},
            {"op":"linear","param":"k","inputs":["n1"],"transposed":true},
            {"op":"linear","param":"v","inputs":["n1"]},
            {"op":"attention","heads":2,"kv_heads":1,"causal":true,"mask":true,
             "rotary":{"theta":50.0},"inputs":["q","k","v","input"],"id":"a"},
            {"op":"layer_scale","param":"s"},
            {"op":"add","inputs":["s","x"],"id":"y"},
            {"op":"rms_norm","param":"n2"},
            {"op":"linear","param":"up"},
            {"op":"silu","id":"silu"},
            {"op":"linear","param":"side","inputs":["n2"]},
            {"op":"tanh","id":"tanh"},
            {"op":"gate","inputs":["silu","tanh"],"id":"g"},
            {"op":"linear","param":"fused"},
            {"op":"attention","heads":1,"mask":true,"inputs":["fused","input"],"id":"b"},
            {"op":"gelu_tanh","id":"t"},
            {"op":"mean_tokens","inputs":["t","input"],"id":"mean"},
            {"op":"select_token","position":"last","inputs":["t","input"],"id":"last"},
            {"op":"add","inputs":["mean","last"]},
            {"op":"linear","param":"head"}]);
        let shapes: [(&str, &[usize]); 19] = [
            ("words.weight", &[7, 4]),
            ("places.weight", &[8, 4]),
            ("kinds.weight", &[2, 4]),
            ("n1.weight", &[4]),
            ("n1.bias", &[4]),
            ("q.weight", &[4, 4]),
            ("q.bias", &[4]),
            ("k.weight", &[4, 2]),
            ("k.bias", &[2]),
            ("v.weight", &[2, 4]),
            ("s.gamma", &[4]),
            ("n2.weight", &[4]),
            ("up.weight", &[5, 4]),
            ("side.weight", &[5, 4]),
            ("side.bias", &[5]),
            ("fused.weight", &[12, 5]),
            ("fused.bias", &[12]),
            ("head.weight", &[3, 4]),
            ("head.bias", &[3]),
        ];
        let graph = testing::token_graph(6, nodes);
        // Shorter than the graph allows.
        let batch = testing::random_ids(5, 7, testing::random_batch(&[1], 6, 3, 1), 4);
        assert!(batch.inputs.contains(&-1.0));
        check_on(&graph, &shapes, &batch);
    }

    /// A causal language model whose output matrix is its embedding.
    fn language_model() -> (Graph, [(&'static str, &'static [usize]); 7]) {
        let nodes = json!([
            {"op":"embedding","param":"words"},
            {"op":"rms_norm","param":"n1"},
            {"op":"linear","param":"q","inputs":["n1"]},
            {"op":"linear","param":"k","inputs":["n1"]},
            {"op":"linear","param":"v","inputs":["n1"]},
            {"op":"attention","heads":2,"causal":true,"mask":true,
             "rotary":{"theta":50.0},"inputs":["q","k","v","input"],"id":"a"},
            {"op":"linear","param":"o"},
            {"op":"add","inputs":["o","words"],"id":"x"},
            {"op":"layer_norm","param":"n2"},
            {"op":"linear","param":"words","id":"head"}]);
        let mut graph = testing::token_graph(6, nodes);
        graph.task = Task::NextToken;
        let shapes: [(&str, &[usize]); 7] = [
            ("words.weight", &[7, 4]),
            ("n1.weight", &[4]),
            ("q.weight", &[4, 4]),
            ("k.weight", &[4, 4]),
            ("v.weight", &[4, 4]),
            ("o.weight", &[4, 4]),
            ("n2.weight", &[4]),
        ];
        (graph, shapes)
    }

    /// Sentences of which some are padded; each predicts itself.
    fn sentences(samples: usize, length: usize) -> Batch {
        let batch = testing::random_batch(&[1], samples, 3, 1);
        let mut batch = testing::random_ids(length, 7, batch, 4);
        let label = |&id: &f32| if id < 0.0 { -100 } else { id as i64 };
        let labels: Vec<i64> = batch.inputs.iter().map(label).collect();
        batch.labels = next_labels(&labels, length);
        batch
    }

    #[test]
    fn a_language_model_with_a_tied_output() {
        let (graph, shapes) = language_model();
        let batch = sentences(6, 5);
        assert!(batch.labels.iter().filter(|&&label| label == -100).count() > 6, "some are padded");
        check_on(&graph, &shapes, &batch);
    }

    #[test]
    fn a_batch_in_parts_is_the_batch() {
        let (graph, shapes) = language_model();
        let signature = testing::signature(&shapes);
        let params = testing::random_params(&signature, 2);
        let batch = sentences(7, 5);
        let mut learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let whole = learner.gradient(&params, &batch);
        // Two samples of five tokens over seven words.
        learner.max_logits = 75;
        assert_eq!(learner.logits_batch_size(&batch.sample_shape), 2);
        let parts = learner.gradient(&params, &batch);
        assert!((whole.loss - parts.loss).abs() < 1e-9);
        let norm = whole.parts.norm();
        for (name, tensor) in whole.parts.iter() {
            for (whole, parts) in tensor.f32().iter().zip(parts.parts[name].f32().iter()) {
                assert!(f64::from(whole - parts).abs() < 1e-6 * norm, "{name}");
            }
        }
        assert_eq!(learner.cost().sample_gradients, 14);
    }

    #[test]
    fn a_transformer_of_patches() {
        check(
            &[2, 4, 6],
            json!([{"op":"patch_embed","param":"p"},{"op":"class_token","param":"cls"},
                {"op":"position_embedding","param":"pos","bare":true,"id":"at"},
                {"op":"add","inputs":["at","cls"],"id":"x"},
                {"op":"linear","param":"qkv"},{"op":"attention","heads":2},
                {"op":"select_token","id":"first"},{"op":"mean_tokens","inputs":["x"],"id":"mean"},
                {"op":"add","inputs":["first","mean"]},{"op":"linear","param":"fc"}]),
            &[
                ("p.weight", &[4, 2, 2, 3]),
                ("p.bias", &[4]),
                ("cls", &[1, 1, 4]),
                ("pos", &[1, 5, 4]),
                ("qkv.weight", &[12, 4]),
                ("qkv.bias", &[12]),
                ("fc.weight", &[3, 4]),
            ],
        );
    }

    #[test]
    fn a_tied_tensor_sums_its_readers() {
        check(
            &[4],
            json!([{"op":"linear","param":"w","id":"one"},{"op":"gelu"},
                {"op":"linear","param":"w","id":"two"}]),
            &[("w.weight", &[4, 4]), ("w.bias", &[4])],
        );
    }

    #[test]
    fn the_same_twice_is_the_same_bytes() {
        let graph: Graph = testing::graph(
            &[3, 12, 12],
            json!([{"op":"conv2d","param":"a","padding":1},{"op":"batch_norm","param":"n"},
                {"op":"relu"},{"op":"flatten"},{"op":"linear","param":"fc"}]),
        );
        let signature = testing::signature(&[
            ("a.weight", &[16, 3, 3, 3]),
            ("n.weight", &[16]),
            ("n.bias", &[16]),
            ("n.running_mean", &[16]),
            ("n.running_var", &[16]),
            ("fc.weight", &[10, 2304]),
        ]);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let batch = testing::random_batch(&[3, 12, 12], 64, 10, 3);
        let params = testing::random_params(&signature, 4);
        let first = learner.gradient(&params, &batch);
        for _ in 0..5 {
            let again = learner.gradient(&params, &batch);
            assert_eq!(first.loss.to_bits(), again.loss.to_bits());
            for (name, tensor) in first.parts.iter() {
                assert_eq!(tensor.bytes(), again.parts[name].bytes(), "{name}");
            }
        }
        assert_eq!(learner.cost().sample_gradients, 6 * 64);
    }
}
