//! The truth test of every architecture: a random order of the units leaves the outputs unchanged.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    network::Input,
    symmetry::Permutation,
    tensors::{Checkpoint, HostTensor},
    testing::ResNet,
    training::Dataset,
};

use super::{
    fixtures::{self, Fixture},
    networks::{Network, conv8, grouped_blocks, mlp, resnet, vgg},
    planted::relative_error,
    transformers::{ALL, CAUSAL, Size, language_model, transformer},
};

/// Relative error that reordered sums may leave.
const ROUNDING: f64 = 1e-5;

/// Of fifty layers in a row `PyTorch` itself is 2·10⁻⁵ off in single precision.
const ROUNDING_OF_MANY_LAYERS: f64 = 1e-4;

/// The branches of a deep residual network small beside its stream, as training leaves them:
/// otherwise fifty layers make visible what single precision rounds away.
fn with_quiet_branches(mut model: Checkpoint) -> Checkpoint {
    let names: Vec<String> = model.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| name.ends_with("bn3.weight")) {
        let values = model[name]
            .f32()
            .iter()
            .map(|weight| 0.2 * weight)
            .collect();
        model.insert(
            name.as_str(),
            HostTensor::from_f32(model[name].shape().to_vec(), values),
        );
    }
    model
}

/// With random parameters, and running statistics that belong to them, as in a trained model.
fn is_unchanged(name: &str, network: &Network, model: &Checkpoint) {
    let data = pictures(network, network.data(32, 2, 1));
    let model = network
        .learner()
        .with_statistics(model, &data, data.len(), data.len());
    stays_unchanged(name, network, &model, &data);
}

/// Images of noise look alike after some layers, and a batch norm that has seen nothing else makes much
/// of rounding: pictures differ in brightness and contrast.
fn pictures(network: &Network, data: Dataset) -> Dataset {
    if !matches!(network.graph.input, Input::Image { .. }) {
        return data;
    }
    let mut batch = data.batch(&(0..data.len()).collect::<Vec<_>>());
    let size = batch.inputs.len() / batch.labels.len();
    for (i, image) in batch.inputs.chunks_mut(size).enumerate() {
        let (brightness, contrast) = ((i % 5) as f32 / 2.0 - 1.0, (1 + i % 7) as f32 / 4.0);
        image
            .iter_mut()
            .for_each(|value| *value = brightness + contrast * *value);
    }
    let shape = [&[batch.labels.len()], batch.sample_shape.as_slice()].concat();
    Dataset::from_floats(HostTensor::from_f32(shape, batch.inputs), batch.labels)
}

fn stays_unchanged(name: &str, network: &Network, model: &Checkpoint, data: &Dataset) {
    let (symmetry, learner) = (network.symmetry(), network.learner());
    let batch = data.batch(&(0..data.len().min(4)).collect::<Vec<_>>());
    let before = learner.predict(model, &batch);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..3 {
        let permutation = Permutation::random(&symmetry, &mut rng);
        assert!(permutation.fixed_points() < 0.5, "{name}");
        assert_ne!(permutation, permutation.inverse(&symmetry), "{name}");
        let moved = permutation.apply(&symmetry, model);
        let off = relative_error(&learner.predict(&moved, &batch), &before);
        let rounding = if name.starts_with("hf_mobilenet") {
            ROUNDING_OF_MANY_LAYERS
        } else {
            ROUNDING
        };
        assert!(off < rounding, "{name}: outputs are {off:e} off");
        let mut statistics = model
            .iter()
            .filter(|(name, _)| name.ends_with("running_mean"));
        let moves =
            |(statistic, value): (&str, &HostTensor)| moved[statistic].bytes() != value.bytes();
        assert!(
            !network.graph.has_batch_norm() || statistics.any(moves),
            "{name}"
        );
        let back = permutation.inverse(&symmetry).apply(&symmetry, &moved);
        for (tensor, value) in model.iter() {
            assert_eq!(
                back[tensor].bytes(),
                value.bytes(),
                "{name}: {tensor} does not come back"
            );
        }
    }
}

/// A residual network for images that are not small.
fn large(name: &'static str, width: usize) -> ResNet {
    ResNet {
        name,
        width,
        kernel: 7,
        image: 40,
    }
}

#[test]
fn a_random_order_leaves_the_outputs_of_every_architecture_unchanged() {
    for (name, network) in [
        ("mlp", mlp(&[20, 33, 17, 5])),
        ("conv8", conv8([8, 8, 16, 16, 24, 24, 32, 32], 7)),
        ("resnet18", resnet(large("resnet18", 16))),
        (
            "resnet18 of CIFAR",
            resnet(ResNet {
                width: 16,
                image: 16,
                ..ResNet::CIFAR
            }),
        ),
        ("resnet34", resnet(large("resnet34", 8))),
        ("resnet50", resnet(large("resnet50", 8))),
        ("convolutions in groups", grouped_blocks(4)),
        ("vgg11_bn", vgg("vgg11_bn", 16, 32)),
        ("vgg16_bn", vgg("vgg16_bn", 16, 64)),
    ] {
        is_unchanged(name, &network, &with_quiet_branches(network.parameters(3)));
    }
}

/// The parameters, the inputs and the builders of those who have such models.
#[test]
fn a_random_order_leaves_the_outputs_of_every_fixture_unchanged() {
    for (folder, least) in [("networks", 3), ("transformers", 51), ("pictures", 47)] {
        let fixtures = fixtures::all(folder);
        assert!(fixtures.len() >= least, "{} {folder}", fixtures.len());
        for fixture in fixtures {
            let Fixture {
                name,
                network,
                parameters,
                data,
                ..
            } = &fixture;
            stays_unchanged(name, network, parameters, data);
        }
    }
}

#[test]
fn a_random_order_leaves_the_outputs_of_every_transformer_unchanged() {
    for projection in ALL {
        for size in [
            Size {
                depth: 2,
                width: 16,
            },
            Size {
                depth: 12,
                width: 64,
            },
        ] {
            let network = transformer(projection, size, 5);
            let model = network.parameters(9);
            is_unchanged(&format!("{projection:?} {size:?}"), &network, &model);
        }
    }
}

#[test]
fn a_random_order_leaves_the_outputs_of_every_language_model_unchanged() {
    for projection in CAUSAL {
        for tied in [true, false] {
            let network = language_model(
                projection,
                Size {
                    depth: 4,
                    width: 32,
                },
                tied,
            );
            let model = network.parameters(9);
            is_unchanged(&format!("{projection:?}, tied {tied}"), &network, &model);
        }
    }
}
