use serde_json::json;

use super::*;
use crate::{network::Task, training::dataset::next_labels};

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

/// Options of attention, parts of fused layers, constants and caps.
#[test]
fn a_decoder_of_today() {
    let nodes = json!([
        {"op":"embedding","param":"words"},
        {"op":"scale","factor":1.5,"id":"x"},
        {"op":"rms_norm","param":"n1","unit_offset":true},
        {"op":"linear","param":"qkv"},
        {"op":"attention","heads":2,"kv_heads":1,"causal":true,"mask":true,"window":2,
         "rotary":{"theta":50.0,"dims":2,"interleaved":true,"attention_factor":1.2},
         "head_norms":{"queries":"qn","keys":"kn","unit_offset":true},
         "scale":0.7,"soft_cap":0.8,"fully_masked":"mean","inputs":["qkv","input"],"id":"a"},
        {"op":"linear","param":"o"},
        {"op":"add","inputs":["o","x"],"id":"y"},
        {"op":"linear","param":"both"},
        {"op":"split","parts":2,"part":0,"inputs":["both"],"id":"gate"},
        {"op":"silu","id":"act"},
        {"op":"split","parts":2,"part":1,"inputs":["both"],"id":"up"},
        {"op":"gate","inputs":["act","up"],"id":"g"},
        {"op":"linear","param":"fused"},
        {"op":"attention","heads":2,"fused":"heads","mask":true,"window":3,"inputs":["fused","input"],"id":"b"},
        {"op":"mean_tokens","inputs":["b","input"]},
        {"op":"linear","param":"head"},
        {"op":"soft_cap","cap":0.9}]);
    let shapes: [(&str, &[usize]); 11] = [
        ("words.weight", &[7, 4]),
        ("n1.weight", &[4]),
        ("qkv.weight", &[12, 4]),
        ("qkv.bias", &[12]),
        ("qn.weight", &[3]),
        ("kn.weight", &[3]),
        ("o.weight", &[4, 6]),
        ("both.weight", &[10, 4]),
        ("fused.weight", &[12, 5]),
        ("head.weight", &[3, 4]),
        ("head.bias", &[3]),
    ];
    let graph = testing::token_graph(6, nodes);
    let batch = testing::random_ids(5, 7, testing::random_batch(&[1], 6, 3, 1), 4);
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
    assert!(
        batch.labels.iter().filter(|&&label| label == -100).count() > 6,
        "some are padded"
    );
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
    assert_eq!(learner.logits_batch_size(batch.size()), 2);
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

fn check_experts(nodes: Value, shapes: &[(String, Vec<usize>)]) {
    let shapes: Vec<(&str, &[usize])> = shapes
        .iter()
        .map(|(name, shape)| (name.as_str(), shape.as_slice()))
        .collect();
    let graph = testing::token_graph(6, nodes);
    let batch = testing::random_ids(5, 7, testing::random_batch(&[1], 6, 3, 1), 4);
    check_on(&graph, &shapes, &batch);
}

/// One of the experts has no token; shares that sum to one, and shares of a softmax over all.
#[test]
fn experts_and_their_router() {
    for (normalised, activation, biases) in [(true, "silu", false), (false, "gelu", true)] {
        let nodes = json!([
            {"op":"embedding","param":"words","id":"x"},
            {"op":"linear","param":"router"},
            {"op":"experts","param":"e","count":3,"top_k":2,"normalised":normalised,
             "activation":activation,"inputs":["x","router"]},
            {"op":"add","inputs":["e","x"]},
            {"op":"select_token","position":"last"},
            {"op":"linear","param":"head"}]);
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("words.weight".into(), vec![7, 4]),
            ("router.weight".into(), vec![3, 4]),
            ("router.bias".into(), vec![3]),
            ("head.weight".into(), vec![3, 4]),
        ];
        for expert in 0..3 {
            for (layer, shape) in [
                ("gate_proj", [5, 4]),
                ("up_proj", [5, 4]),
                ("down_proj", [4, 5]),
            ] {
                shapes.push((format!("e.{expert}.{layer}.weight"), shape.to_vec()));
                if biases {
                    shapes.push((format!("e.{expert}.{layer}.bias"), vec![shape[0]]));
                }
            }
        }
        check_experts(nodes, &shapes);
    }
}

/// gpt-oss's: gate and up in turns, clamped, and a sink for each head.
#[test]
fn clamped_experts_behind_an_attention_with_sinks() {
    let nodes = json!([
        {"op":"embedding","param":"words","id":"x"},
        {"op":"linear","param":"qkv"},
        {"op":"attention","heads":2,"causal":true,"mask":true,"sinks":"s","inputs":["qkv","input"],"id":"a"},
        {"op":"linear","param":"router"},
        {"op":"experts","param":"e","count":3,"top_k":2,"normalised":true,"interleaved":true,
         "clamp":{"alpha":1.7,"limit":0.9},"inputs":["a","router"]},
        {"op":"add","inputs":["e","x"]},
        {"op":"select_token","position":"last"},
        {"op":"linear","param":"head"}]);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("words.weight".into(), vec![7, 4]),
        ("qkv.weight".into(), vec![12, 4]),
        ("s".into(), vec![2]),
        ("router.weight".into(), vec![3, 4]),
        ("head.weight".into(), vec![3, 4]),
    ];
    for expert in 0..3 {
        for (layer, shape) in [("gate_proj", [4, 10]), ("down_proj", [5, 4])] {
            shapes.push((format!("e.{expert}.{layer}.weight"), shape.to_vec()));
            shapes.push((format!("e.{expert}.{layer}.bias"), vec![shape[1]]));
        }
    }
    check_experts(nodes, &shapes);
}
