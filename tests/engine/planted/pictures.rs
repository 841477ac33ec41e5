//! Networks of images: a planted order of channels, heads and hidden units is found.

use super::{
    super::{fixtures, networks::grouped_blocks},
    Case,
};

/// Those that have a depth of their own.
const DEEP: [&str; 8] = [
    "hf_clip",
    "hf_dinov2",
    "hf_dinov2_gated",
    "hf_dinov2_with_registers",
    "hf_siglip",
    "hf_swin",
    "vit_base_patch16_clip_quickgelu_224",
    "vit_base_patch16_reg4_gap_256",
];

/// As their own builders wire them: residual branches, groups, squeeze and excitation, dense blocks, norms of
/// pixels and of responses, layer scales, registers, windows and merged neighbours.
#[test]
fn the_order_of_every_familys_network_of_images_is_found() {
    let fixtures = fixtures::all("pictures");
    assert!(fixtures.len() >= 47, "{} of them", fixtures.len());
    for fixture in fixtures {
        println!("{}", fixture.name);
        Case::of(fixture.network, 32).recovers_the_planted_permutation();
    }
}

/// Blocks of channels and the channels inside each, on both sides of twelve convolutions in groups.
#[test]
fn the_order_inside_the_groups_of_convolutions_is_found_at_depth() {
    for depth in [2, 12] {
        let network = grouped_blocks(depth);
        let symmetry = network.symmetry();
        assert_eq!(symmetry.attentions.len(), 2 * depth);
        assert_eq!(symmetry.grouped_weights().count(), depth);
        Case::of(network, 32).recovers_the_planted_permutation();
    }
}

#[test]
fn the_order_of_deep_networks_of_images_is_found() {
    super::the_order_of_deepened_fixtures_is_found("pictures", &DEEP);
}
