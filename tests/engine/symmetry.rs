//! The truth test of every architecture: a random order of the units leaves the outputs unchanged.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    network::{Checkpoint, HostTensor},
    symmetry::Permutation,
};

use super::{
    networks::{Network, conv8, mlp, resnet, vgg},
    planted::relative_error,
    transformers::{ALL, CAUSAL, language_model, transformer},
};

/// Relative error that reordered sums may leave. Networks with random parameters amplify rounding from
/// layer to layer; those that `PyTorch` has settled are held to 1e-5 (`pipeline/pytorch.rs`).
const ROUNDING: f64 = 2e-5;

/// The branches of a deep residual network small beside its stream, as training leaves them:
/// otherwise fifty layers make visible what single precision rounds away.
fn with_quiet_branches(mut model: Checkpoint) -> Checkpoint {
    let names: Vec<String> = model.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| name.ends_with("bn3.weight")) {
        let values = model[name].f32().iter().map(|weight| 0.2 * weight).collect();
        model.insert(name.as_str(), HostTensor::from_f32(model[name].shape().to_vec(), values));
    }
    model
}

fn is_unchanged(name: &str, network: &Network, model: &Checkpoint) {
    let (symmetry, learner) = (network.symmetry(), network.learner());
    let data = network.data(32, 2, 1);
    // Running statistics that belong to the parameters, as in a trained model.
    let model = &learner.with_statistics(model, &data, data.len(), data.len());
    let batch = data.batch(&[0, 1, 2, 3]);
    let before = learner.predict(model, &batch);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..3 {
        let permutation = Permutation::random(&symmetry, &mut rng);
        assert!(permutation.fixed_points() < 0.5, "{name}");
        let moved = permutation.apply(&symmetry, model);
        let off = relative_error(&learner.predict(&moved, &batch), &before);
        assert!(off < ROUNDING, "{name}: outputs are {off:e} off");
        let back = permutation.inverse().apply(&symmetry, &moved);
        for (tensor, value) in model.iter() {
            assert_eq!(back[tensor].bytes(), value.bytes(), "{name}: {tensor} does not come back");
        }
    }
}

#[test]
fn a_random_order_leaves_the_outputs_of_every_architecture_unchanged() {
    for (name, network) in [
        ("mlp", mlp(&[20, 33, 17, 5])),
        ("conv8", conv8([8, 8, 16, 16, 24, 24, 32, 32], 7)),
        ("resnet18", resnet("resnet18", (16, 7), 40)),
        ("resnet18 of CIFAR", resnet("resnet18", (16, 3), 16)),
        ("resnet34", resnet("resnet34", (8, 7), 40)),
        ("resnet50", resnet("resnet50", (8, 7), 40)),
        ("vgg11_bn", vgg("vgg11_bn", 16, 32)),
        ("vgg16_bn", vgg("vgg16_bn", 16, 64)),
    ] {
        is_unchanged(name, &network, &with_quiet_branches(network.parameters(3)));
    }
}

#[test]
fn a_random_order_leaves_the_outputs_of_every_transformer_unchanged() {
    for projection in ALL {
        for sizes in [(2, 16), (12, 64)] {
            let network = transformer(projection, sizes, 5);
            let model = network.parameters(9);
            is_unchanged(&format!("{projection:?} {sizes:?}"), &network, &model);
        }
    }
}

#[test]
fn a_random_order_leaves_the_outputs_of_every_language_model_unchanged() {
    for projection in CAUSAL {
        for tied in [true, false] {
            let network = language_model(projection, (4, 32), tied);
            let model = network.parameters(9);
            is_unchanged(&format!("{projection:?}, tied {tied}"), &network, &model);
        }
    }
}
