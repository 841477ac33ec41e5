//! Groups by hand: what follows what, by axis and by entry.

use serde_json::{Value, json};

use super::*;
use crate::training::testing;

fn derive(input: &Value, nodes: &Value, tensors: &[(&str, &[usize])]) -> Symmetry {
    let graph = Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap();
    Symmetry::derive(&graph, &testing::signature(tensors)).unwrap()
}

fn members(group: &Group) -> Vec<(&str, usize, usize)> {
    group
        .members
        .iter()
        .map(|m| (m.tensor.as_str(), m.axis, m.repeat))
        .collect()
}

#[test]
fn flatten_gives_each_channel_consecutive_columns() {
    let symmetry = derive(
        &json!({"kind":"image","shape":[1,4,4]}),
        &json!([{"op":"conv2d","param":"c"},{"op":"batch_norm","param":"bn"},{"op":"relu"},{"op":"flatten"},
                {"op":"linear","param":"fc"}]),
        &[
            ("c.weight", &[3, 1, 3, 3]),
            ("bn.running_mean", &[3]),
            ("bn.running_var", &[3]),
            ("fc.weight", &[2, 12]),
        ],
    );
    assert_eq!(symmetry.groups.len(), 1);
    assert_eq!(
        (symmetry.groups[0].name.as_str(), symmetry.groups[0].units),
        ("c", 3)
    );
    let expected = [
        ("c.weight", 0, 1),
        ("bn.running_mean", 0, 1),
        ("bn.running_var", 0, 1),
        ("fc.weight", 1, 4),
    ];
    assert_eq!(members(&symmetry.groups[0]), expected);
}

#[test]
fn a_residual_stream_is_one_group_and_the_block_inside_another() {
    let symmetry = derive(
        &json!({"kind":"features","shape":[5]}),
        &json!([{"op":"linear","param":"embed"},{"op":"linear","param":"up"},{"op":"relu"},
                {"op":"linear","param":"down"},{"op":"add","inputs":["embed","down"],"id":"stream"},
                {"op":"linear","param":"head"}]),
        &[
            ("embed.weight", &[4, 5]),
            ("up.weight", &[6, 4]),
            ("down.weight", &[4, 6]),
            ("down.bias", &[4]),
            ("head.weight", &[2, 4]),
        ],
    );
    let names: Vec<_> = symmetry
        .groups
        .iter()
        .map(|g| (g.name.as_str(), g.units))
        .collect();
    assert_eq!(names, [("embed", 4), ("up", 6)]);
    let stream = [
        ("embed.weight", 0, 1),
        ("up.weight", 1, 1),
        ("down.weight", 0, 1),
        ("down.bias", 0, 1),
        ("head.weight", 1, 1),
    ];
    assert_eq!(members(&symmetry.groups[0]), stream);
    assert_eq!(
        members(&symmetry.groups[1]),
        [("up.weight", 0, 1), ("down.weight", 1, 1)]
    );
}

/// Whole groups change places, and inside each the channels of both sides, those that the weight reads too.
#[test]
fn channels_permute_inside_a_convolutions_groups() {
    let symmetry = derive(
        &json!({"kind":"image","shape":[1,4,4]}),
        &json!([{"op":"conv2d","param":"a"},{"op":"conv2d","param":"g","groups":2},{"op":"global_avg_pool"},
                {"op":"linear","param":"fc"}]),
        &[
            ("a.weight", &[6, 1, 1, 1]),
            ("g.weight", &[4, 3, 1, 1]),
            ("fc.weight", &[2, 4]),
        ],
    );
    let units: Vec<usize> = symmetry.groups.iter().map(|group| group.units).collect();
    assert_eq!(units, [6, 4]);
    assert_eq!(members(&symmetry.groups[0]), [("a.weight", 0, 1)]);
    assert_eq!(
        members(&symmetry.groups[1]),
        [("g.weight", 0, 1), ("fc.weight", 1, 1)]
    );
    let inside = GroupedWeight {
        inputs: 0,
        outputs: 1,
        blocks: 2,
    };
    assert_eq!(symmetry.grouped("g.weight"), Some(inside));
    let sizes: Vec<_> = symmetry
        .attentions
        .iter()
        .map(|one| (one.order, one.head_size))
        .collect();
    assert_eq!(sizes, [(0, 3), (0, 2)]);
    assert_eq!(symmetry.blocks(), [[0, 1]]);
    assert!(!symmetry.is_separable());
}

/// A norm of other groups, or a weight that two nodes read: whole groups change places and nothing inside them.
#[test]
fn a_convolution_in_groups_that_is_tied_moves_in_blocks() {
    let tensors: [(&str, &[usize]); 4] = [
        ("a.weight", &[6, 1, 1, 1]),
        ("n.weight", &[6]),
        ("g.weight", &[6, 3, 1, 1]),
        ("fc.weight", &[2, 6]),
    ];
    let last = json!([{"op":"global_avg_pool"},{"op":"linear","param":"fc"}]);
    let norm = json!([{"op":"conv2d","param":"a"},{"op":"group_norm","param":"n","groups":2},
        {"op":"conv2d","param":"g","groups":2}]);
    let twice = json!([{"op":"conv2d","param":"a"},{"op":"layer_norm","param":"n"},
        {"op":"conv2d","param":"g","groups":2},{"op":"conv2d","param":"g","groups":2,"id":"again"}]);
    for nodes in [norm, twice] {
        let all = [nodes, last.clone()];
        let nodes: Vec<Value> = all
            .iter()
            .filter_map(Value::as_array)
            .flatten()
            .cloned()
            .collect();
        let symmetry = derive(
            &json!({"kind":"image","shape":[1,4,4]}),
            &Value::from(nodes),
            &tensors,
        );
        assert_eq!(symmetry.groups.len(), 1);
        assert_eq!(symmetry.groups[0].units, 2);
        let own = [
            ("a.weight", 0, 3),
            ("g.weight", 0, 3),
            ("fc.weight", 1, 3),
            ("n.weight", 0, 3),
        ];
        let mut found = members(&symmetry.groups[0]);
        assert_eq!(found.len(), own.len());
        found.retain(|member| !own.contains(member));
        assert_eq!(found, []);
        assert!(symmetry.attentions.is_empty() && symmetry.grouped("g.weight").is_none());
    }
}

#[test]
fn adding_the_input_or_reading_out_fixes_a_space() {
    let symmetry = derive(
        &json!({"kind":"features","shape":[3]}),
        &json!([{"op":"linear","param":"a"},{"op":"add","inputs":["a","input"]},{"op":"linear","param":"b"}]),
        &[("a.weight", &[3, 3]), ("b.weight", &[2, 3])],
    );
    assert_eq!(symmetry.groups, []);
}

#[test]
fn a_tied_tensor_ties_the_spaces_of_its_axes() {
    let symmetry = derive(
        &json!({"kind":"features","shape":[3]}),
        &json!([{"op":"linear","param":"a"},{"op":"linear","param":"w"},{"op":"linear","param":"w","id":"again"},
                {"op":"linear","param":"b"}]),
        &[
            ("a.weight", &[3, 3]),
            ("w.weight", &[3, 3]),
            ("b.weight", &[2, 3]),
        ],
    );
    assert_eq!(symmetry.groups.len(), 1);
    assert_eq!(
        members(&symmetry.groups[0]),
        [
            ("a.weight", 0, 1),
            ("w.weight", 0, 1),
            ("w.weight", 1, 1),
            ("b.weight", 1, 1)
        ]
    );
}

#[test]
fn a_tied_embedding_is_one_stream_and_its_rows_are_words() {
    let input = json!({"kind":"tokens","shape":[3]});
    let nodes = json!([{"op":"embedding","param":"e"},{"op":"rms_norm","param":"n"},
        {"op":"linear","param":"a"},{"op":"linear","param":"b"},{"op":"linear","param":"e","id":"out"}]);
    let shapes: [(&str, &[usize]); 4] = [
        ("e.weight", &[5, 2]),
        ("n.weight", &[2]),
        ("a.weight", &[4, 2]),
        ("b.weight", &[2, 4]),
    ];
    let symmetry = derive(&input, &nodes, &shapes);
    let names: Vec<_> = symmetry
        .groups
        .iter()
        .map(|g| (g.name.as_str(), g.units))
        .collect();
    assert_eq!(names, [("e", 2), ("a", 4)]);
    assert_eq!(
        members(&symmetry.groups[0]),
        [
            ("e.weight", 1, 1),
            ("n.weight", 0, 1),
            ("a.weight", 1, 1),
            ("b.weight", 0, 1)
        ]
    );
    // Words in the middle of a network are words too.
    let nodes = json!([{"op":"embedding","param":"e"},{"op":"linear","param":"e","id":"words"},
        {"op":"linear","param":"a"}]);
    let symmetry = derive(
        &input,
        &nodes,
        &[("e.weight", &[5, 2]), ("a.weight", &[3, 5])],
    );
    assert_eq!(
        symmetry.groups.iter().map(|g| g.units).collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn joined_channels_keep_orders_of_their_own() {
    let symmetry = derive(
        &json!({"kind":"image","shape":[1,4,4]}),
        &json!([{"op":"conv2d","param":"a"},{"op":"conv2d","param":"b"},
                {"op":"concat","inputs":["a","b"],"id":"ab"},{"op":"batch_norm","param":"n"},
                {"op":"conv2d","param":"c"},{"op":"concat","inputs":["c","n"],"id":"all"},
                {"op":"flatten"},{"op":"linear","param":"fc"}]),
        &[
            ("a.weight", &[3, 1, 1, 1]),
            ("b.weight", &[2, 3, 1, 1]),
            ("n.running_mean", &[5]),
            ("n.running_var", &[5]),
            ("c.weight", &[4, 5, 1, 1]),
            ("fc.weight", &[2, 144]),
        ],
    );
    let groups = symmetry.groups.iter();
    let found: Vec<_> = groups.map(|g| (g.name.as_str(), g.units)).collect();
    assert_eq!(found, [("a", 3), ("b", 2), ("c", 4)]);
    let members = |group: usize| -> Vec<(&str, usize, usize, usize)> {
        let members = symmetry.groups[group].members.iter();
        members
            .map(|m| (m.tensor.as_str(), m.axis, m.start, m.repeat))
            .collect()
    };
    // A flattening gives each channel sixteen columns.
    let of_a = [
        ("a.weight", 0, 0, 1),
        ("b.weight", 1, 0, 1),
        ("n.running_mean", 0, 0, 1),
        ("n.running_var", 0, 0, 1),
        ("c.weight", 1, 0, 1),
        ("fc.weight", 1, 64, 16),
    ];
    assert_eq!(members(0), of_a);
    let of_b = [
        ("b.weight", 0, 0, 1),
        ("n.running_mean", 0, 3, 1),
        ("n.running_var", 0, 3, 1),
        ("c.weight", 1, 3, 1),
        ("fc.weight", 1, 112, 16),
    ];
    assert_eq!(members(1), of_b);
}

/// What is joined and then added to, or cut otherwise, is beyond this symmetry.
#[test]
fn a_row_of_channels_that_is_tied_is_fixed() {
    let tensors: [(&str, &[usize]); 4] = [
        ("a.weight", &[3, 1, 1, 1]),
        ("b.weight", &[3, 1, 1, 1]),
        ("c.weight", &[6, 1, 1, 1]),
        ("fc.weight", &[2, 6]),
    ];
    let nodes = |last: Value| {
        json!([{"op":"conv2d","param":"a"},{"op":"conv2d","param":"b","inputs":["input"]},
            {"op":"concat","inputs":["a","b"],"id":"ab"},{"op":"conv2d","param":"c","inputs":["input"]},
            last, {"op":"global_avg_pool"},{"op":"linear","param":"fc"}])
    };
    let input = json!({"kind":"image","shape":[1,4,4]});
    let tied = derive(
        &input,
        &nodes(json!({"op":"add","inputs":["ab","c"]})),
        &tensors,
    );
    assert!(tied.groups.is_empty(), "{:?}", tied.groups);
    let free = derive(
        &input,
        &nodes(json!({"op":"relu","inputs":["ab"]})),
        &tensors,
    );
    assert_eq!(
        free.groups.iter().map(|g| g.units).collect::<Vec<_>>(),
        [3, 3, 6]
    );
}

#[test]
fn groups_of_a_norm_change_places_as_wholes() {
    let units = |groups: usize| {
        let symmetry = derive(
            &json!({"kind":"image","shape":[1,4,4]}),
            &json!([{"op":"conv2d","param":"a"},{"op":"group_norm","param":"n","groups":groups},
                    {"op":"global_avg_pool"},{"op":"linear","param":"fc"}]),
            &[
                ("a.weight", &[6, 1, 1, 1]),
                ("n.weight", &[6]),
                ("fc.weight", &[2, 6]),
            ],
        );
        symmetry.groups.iter().map(|g| g.units).collect::<Vec<_>>()
    };
    assert_eq!([units(1), units(2), units(6)], [[6], [2], [6]]);
}

/// Each of four neighbours has the channels of the stream in its order.
#[test]
fn merged_neighbours_follow_the_stream_four_times() {
    let symmetry = derive(
        &json!({"kind":"image","shape":[1,4,4]}),
        &json!([{"op":"patch_embed","param":"a"},{"op":"merge_tokens","grid":[4,4]},
                {"op":"layer_norm","param":"n"},{"op":"linear","param":"r"},{"op":"mean_tokens"},
                {"op":"linear","param":"fc"}]),
        &[
            ("a.weight", &[3, 1, 1, 1]),
            ("n.weight", &[12]),
            ("r.weight", &[5, 12]),
            ("fc.weight", &[2, 5]),
        ],
    );
    let groups = symmetry.groups.iter();
    let found: Vec<_> = groups.map(|g| (g.name.as_str(), g.units)).collect();
    assert_eq!(found, [("a", 3), ("r", 5)]);
    for tensor in ["n.weight", "r.weight"] {
        let members = symmetry.groups[0].members.iter();
        let own = members.filter(|member| member.tensor == tensor);
        let starts: Vec<usize> = own.map(|member| member.start).collect();
        assert_eq!(starts, [0, 3, 6, 9], "{tensor}");
    }
}
