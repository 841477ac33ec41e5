//! Layers of networks of images.

use super::*;

#[test]
fn squeeze_and_excitation_and_joined_channels() {
    check(
        &[2, 5, 4],
        json!([{"op":"conv2d","param":"a","stride":2,"same":true},{"op":"hard_swish","id":"x"},
            {"op":"adaptive_avg_pool","output":1},{"op":"conv2d","param":"down"},{"op":"silu"},
            {"op":"conv2d","param":"up"},{"op":"sigmoid","id":"factors"},
            {"op":"gate","inputs":["x","factors"],"id":"scaled"},
            {"op":"conv2d","param":"b","inputs":["x"],"groups":4,"padding_end":1,"padding":0},
            {"op":"concat","inputs":["scaled","b","x"]},{"op":"batch_norm","param":"n"},
            {"op":"gelu"},{"op":"global_avg_pool"},{"op":"linear","param":"fc"}]),
        &[
            ("a.weight", &[4, 2, 3, 3]),
            ("a.bias", &[4]),
            ("down.weight", &[2, 4, 1, 1]),
            ("down.bias", &[2]),
            ("up.weight", &[4, 2, 1, 1]),
            ("up.bias", &[4]),
            ("b.weight", &[4, 1, 2, 2]),
            ("n.weight", &[12]),
            ("n.bias", &[12]),
            ("n.running_mean", &[12]),
            ("n.running_var", &[12]),
            ("fc.weight", &[3, 12]),
            ("fc.bias", &[3]),
        ],
    );
}

#[test]
fn norms_and_layers_of_pixels() {
    check(
        &[2, 3, 4],
        json!([{"op":"linear","param":"a"},{"op":"layer_norm","param":"pixels","id":"x"},
            {"op":"quick_gelu"},{"op":"global_response_norm","param":"g","of_rank_four":true},
            {"op":"layer_scale","param":"s","tensor":"lambda1"},{"op":"add","inputs":["s","x"]},
            {"op":"group_norm","param":"n","groups":2},{"op":"hard_sigmoid"},
            {"op":"global_avg_pool","id":"pooled"},{"op":"concat","inputs":["pooled","pooled"]},
            {"op":"linear","param":"fc"}]),
        &[
            ("a.weight", &[4, 2]),
            ("a.bias", &[4]),
            ("pixels.weight", &[4]),
            ("pixels.bias", &[4]),
            ("g.weight", &[1, 1, 1, 4]),
            ("g.bias", &[1, 1, 1, 4]),
            ("s.lambda1", &[4]),
            ("n.weight", &[4]),
            ("n.bias", &[4]),
            ("fc.weight", &[3, 8]),
        ],
    );
}

#[test]
fn registers_and_positions_of_another_grid() {
    for antialias in [false, true] {
        let resampled = json!({"from":[3, 2],"to":[2, 3],"prefix":1,"antialias":antialias});
        check(
            &[2, 4, 6],
            json!([{"op":"patch_embed","param":"p"},{"op":"class_token","param":"cls","flat":true},
                {"op":"position_embedding","param":"pos","bare":true,"id":"at","resampled":resampled},
                {"op":"add","inputs":["at","cls"],"id":"x"},
                {"op":"class_token","param":"reg","at":1,"id":"y"},
                {"op":"linear","param":"qkv"},{"op":"attention","heads":2,"id":"att"},
                {"op":"select_token","id":"first"},
                {"op":"mean_tokens","inputs":["att"],"skip":3,"id":"mean"},
                {"op":"concat","inputs":["first","mean"]},{"op":"linear","param":"fc"}]),
            &[
                ("p.weight", &[4, 2, 2, 2]),
                ("cls", &[4]),
                ("pos", &[1, 7, 4]),
                ("reg", &[1, 2, 4]),
                ("qkv.weight", &[12, 4]),
                ("qkv.bias", &[12]),
                ("fc.weight", &[3, 8]),
            ],
        );
    }
}

/// Windows that are shifted along both axes, along one, and not; a grid of an odd number of rows becomes a smaller one.
#[test]
fn windows_of_patches_and_merged_neighbours() {
    for (shift, fused) in [([1, 1], "heads"), ([0, 1], "parts"), ([0, 0], "parts")] {
        let windows = json!({"grid":[6, 4],"size":[3, 2],"shift":shift,"bias":"table"});
        check(
            &[2, 6, 4],
            json!([{"op":"patch_embed","param":"p"},{"op":"linear","param":"qkv"},
                {"op":"attention","heads":2,"fused":fused,"windows":windows},
                {"op":"merge_tokens","grid":[6, 4]},{"op":"layer_norm","param":"n"},
                {"op":"linear","param":"r"},{"op":"merge_tokens","grid":[3, 2]},
                {"op":"mean_tokens"},{"op":"linear","param":"fc"}]),
            &[
                ("p.weight", &[4, 2, 1, 1]),
                ("qkv.weight", &[12, 4]),
                ("qkv.bias", &[12]),
                ("table", &[15, 2]),
                ("n.weight", &[16]),
                ("n.bias", &[16]),
                ("r.weight", &[3, 16]),
                ("fc.weight", &[3, 12]),
            ],
        );
    }
}

/// A learned query, the same for all samples, attends to the patches.
#[test]
fn a_query_of_a_table_pools_patches() {
    check(
        &[2, 4, 4],
        json!([{"op":"patch_embed","param":"p","id":"x"},
            {"op":"table","param":"probe","bare":true,"inputs":["input"]},
            {"op":"linear","param":"q"},{"op":"linear","param":"kv","inputs":["x"]},
            {"op":"split","parts":2,"part":0,"id":"k"},
            {"op":"split","parts":2,"part":1,"id":"v","inputs":["kv"]},
            {"op":"attention","heads":2,"cross":true,"inputs":["q","k","v"]},
            {"op":"select_token"},{"op":"linear","param":"fc"}]),
        &[
            ("p.weight", &[6, 2, 2, 2]),
            ("probe", &[1, 2, 3]),
            ("q.weight", &[4, 3]),
            ("q.bias", &[4]),
            ("kv.weight", &[8, 6]),
            ("fc.weight", &[3, 4]),
        ],
    );
}
