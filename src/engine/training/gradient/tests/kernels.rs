//! The CPU's kernels beside burn's own differentiation, on sizes that are gone through in several blocks.

use serde_json::{Value, json};

use super::*;
use crate::{
    execution::burn::BurnActivation, network::Task, tensors::Signature, testing::with_threads,
    training::dataset::next_labels,
};

/// A part of a graph that stands between an embedding of 12 channels and a head of 12.
struct Case<'a> {
    nodes: Value,
    shapes: &'a [(&'a str, &'a [usize])],
    length: usize,
}

const WIDTH: usize = 12;
const VOCABULARY: usize = 29;

impl Case<'_> {
    fn graph(&self) -> Graph {
        let mut nodes = vec![json!({"op":"embedding","param":"words"})];
        nodes.extend(self.nodes.as_array().cloned().unwrap_or_default());
        nodes.push(json!({"op":"linear","param":"head"}));
        let mut graph = testing::token_graph(self.length, nodes.into());
        graph.task = Task::NextToken;
        graph
    }

    fn signature(&self) -> Signature {
        let around: [(&str, &[usize]); 2] = [
            ("words.weight", &[VOCABULARY, WIDTH]),
            ("head.weight", &[VOCABULARY, WIDTH]),
        ];
        testing::signature(&[&around[..], self.shapes].concat())
    }

    /// Sentences that predict themselves; some are padded, at the end or at the beginning, one wholly.
    fn batch(&self) -> Batch {
        let batch = testing::random_batch(&[1], 4, 3, 1);
        let mut batch = testing::random_ids(self.length, VOCABULARY, batch, 4);
        let sentences = batch.inputs.chunks_mut(self.length);
        for (number, sentence) in sentences.enumerate() {
            match number {
                1 => sentence.reverse(),
                2 => sentence.fill(-3.0),
                _ => {}
            }
        }
        let labels: Vec<i64> = batch
            .inputs
            .iter()
            .map(|&id| if id < 0.0 { -1.0 - id } else { id } as i64)
            .collect();
        batch.labels = next_labels(&labels, self.length);
        batch
    }

    /// Logits and gradients are within 1e-5 of the largest of theirs, and do not depend on the threads.
    fn agrees(&self) {
        let (graph, signature, batch) = (self.graph(), self.signature(), self.batch());
        let params = testing::random_params(&signature, 2);
        let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
        let weights = Weights::upload(&learner.program, &params, &Executor::Cpu);

        let input = BurnActivation::upload(batch.inputs.clone(), &[self.length], &Device::flex());
        let logits = forward_by_burn(&learner.program, &weights, input, Statistics::Running);
        close("logits", &learner.predict(&params, &batch), &floats(logits));

        let found = learner.gradient(&params, &batch).parts;
        let goal = Goal {
            loss: learner.loss(),
            share: cross_entropy::share(&batch.labels),
            soft: None,
        };
        let (_, by_burn) =
            learner.backward_by_burn(&weights.leaves(), batch.clone(), BatchNormMode::Batch, goal);
        assert_eq!(by_burn.len(), found.len());
        for (name, by_burn) in by_burn {
            close(&name, &found[&name].f32(), &floats(by_burn));
        }
        for threads in [1, 3] {
            let again = with_threads(threads, || learner.gradient(&params, &batch).parts);
            for (name, tensor) in found.iter() {
                assert_eq!(tensor.bytes(), again[name].bytes(), "{name}");
            }
        }
    }
}

fn close(name: &str, found: &[f32], by_burn: &[f32]) {
    assert_eq!(found.len(), by_burn.len(), "{name}");
    let scale = by_burn.iter().fold(1e-6f32, |a, v| a.max(v.abs()));
    for (i, (found, burn)) in found.iter().zip(by_burn).enumerate() {
        let off = (found - burn).abs();
        assert!(
            off < 1e-5 * scale,
            "{name}[{i}]: {found}, burn {burn}, of {scale}"
        );
    }
}

/// Attention of two query heads of four channels and one of keys and values, with other options.
fn agrees_with(options: Value, length: usize) {
    let mut attention =
        json!({"op":"attention","heads":2,"kv_heads":1,"inputs":["qkv","input"],"mask":true});
    for (name, option) in options.as_object().unwrap() {
        attention[name] = option.clone();
    }
    let nodes = json!([{"op":"linear","param":"qkv"}, attention, {"op":"linear","param":"o"}]);
    let around: [(&str, &[usize]); 3] = [
        ("qkv.weight", &[16, WIDTH]),
        ("qkv.bias", &[16]),
        ("o.weight", &[WIDTH, 8]),
    ];
    let mut shapes = around.to_vec();
    if options.get("sinks").is_some() {
        shapes.push(("s", &[2]));
    }
    if options.get("head_norms").is_some() {
        shapes.push(("qn.weight", &[4]));
        shapes.push(("kn.weight", &[4]));
    }
    let case = Case {
        nodes,
        shapes: &shapes,
        length,
    };
    case.agrees();
}

#[test]
fn attention_over_several_blocks() {
    // Blocks are of 64 queries and 256 keys.
    for length in [3, 64, 300] {
        agrees_with(json!({}), length);
        agrees_with(json!({"causal":true}), length);
        agrees_with(json!({"causal":true,"mask":false,"inputs":["qkv"]}), length);
    }
    for window in [1, 70, 290] {
        agrees_with(json!({"causal":true,"window":window}), 300);
        agrees_with(json!({"window":window,"fully_masked":"mean"}), 300);
    }
}

#[test]
fn attention_with_every_option() {
    let norms = json!({"queries":"qn","keys":"kn","unit_offset":true});
    let rotary = json!({"theta":50.0,"dims":2,"interleaved":true,"attention_factor":1.2});
    for causal in [true, false] {
        agrees_with(json!({"causal":causal,"scale":3.0,"soft_cap":0.8}), 70);
        agrees_with(json!({"causal":causal,"sinks":"s"}), 70);
        agrees_with(
            json!({"causal":causal,"sinks":"s","window":5,"fully_masked":"mean"}),
            70,
        );
        agrees_with(json!({"causal":causal,"rotary":{"theta":100.0}}), 70);
        agrees_with(
            json!({"causal":causal,"rotary":rotary,"head_norms":norms,"soft_cap":2.0,"sinks":"s"}),
            270,
        );
    }
}

#[test]
fn attention_of_three_inputs_and_of_fused_heads() {
    let separate = json!([
        {"op":"linear","param":"q","inputs":["words"]},{"op":"linear","param":"k","inputs":["words"]},
        {"op":"linear","param":"v","inputs":["words"]},
        {"op":"attention","heads":4,"kv_heads":2,"mask":true,
         "rotary":{"theta":50.0,"dims":2},"inputs":["q","k","v","input"]}]);
    let shapes: [(&str, &[usize]); 3] = [
        ("q.weight", &[12, WIDTH]),
        ("k.weight", &[6, WIDTH]),
        ("v.weight", &[6, WIDTH]),
    ];
    Case {
        nodes: separate,
        shapes: &shapes,
        length: 90,
    }
    .agrees();
    let fused = json!([{"op":"linear","param":"qkv"},
        {"op":"attention","heads":3,"fused":"heads","causal":true,"inputs":["qkv"]}]);
    Case {
        nodes: fused,
        shapes: &[("qkv.weight", &[36, WIDTH])],
        length: 90,
    }
    .agrees();
}

#[test]
fn norms_functions_and_channels() {
    for function in ["gelu", "gelu_tanh", "silu", "tanh", "relu"] {
        let nodes = json!([
            {"op":"layer_norm","param":"n"},{"op":"linear","param":"both"},
            {"op":"split","parts":2,"part":0,"inputs":["both"],"id":"first"},{"op":function,"id":"act"},
            {"op":"split","parts":2,"part":1,"inputs":["both"],"id":"second"},
            {"op":"gate","inputs":["act","second"],"id":"gated"},
            {"op":"linear","param":"down"},{"op":"layer_scale","param":"s"},{"op":"scale","factor":1.7,"id":"scaled"},
            {"op":"add","inputs":["scaled","words"],"id":"sum"},{"op":"rms_norm","param":"m","unit_offset":true},
            {"op":"soft_cap","cap":1.5}]);
        let shapes: [(&str, &[usize]); 6] = [
            ("n.weight", &[WIDTH]),
            ("n.bias", &[WIDTH]),
            ("both.weight", &[74, WIDTH]),
            ("down.weight", &[WIDTH, 37]),
            ("s.gamma", &[WIDTH]),
            ("m.weight", &[WIDTH]),
        ];
        Case {
            nodes,
            shapes: &shapes,
            length: 33,
        }
        .agrees();
    }
}

#[test]
fn tables_of_positions_and_types() {
    let nodes = json!([
        {"op":"position_embedding","param":"places","offset":2,"inputs":["input"]},
        {"op":"position_embedding","param":"counted","padding":1,"inputs":["input"]},
        {"op":"position_embedding","param":"kinds","constant":true,"inputs":["words"]},
        {"op":"token_type_embedding","param":"types","inputs":["input"]},
        {"op":"add","inputs":["words","places","counted","kinds","types"]}]);
    Case {
        nodes,
        shapes: &[
            ("places.weight", &[45, WIDTH]),
            ("counted.weight", &[43, WIDTH]),
            ("kinds.weight", &[3, WIDTH]),
            ("types.weight", &[2, WIDTH]),
        ],
        length: 40,
    }
    .agrees();
}
