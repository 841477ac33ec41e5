//! What a `PyTorch` user has, `config.json` and `model.safetensors`, read, run and written back: the
//! networks of `tests/fixtures/pytorch`, against what `PyTorch` computed from them.

use std::{fs, path::Path};

use burn::tensor::Device;
use retune::{
    artifacts::{Access, Model, ModelFolder, tensors},
    engine::{
        network::Graph,
        tensors::Checkpoint,
        training::{Batch, Learner},
    },
};

use crate::support::files::TestStorage;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pytorch");

/// A fixture's model, opened as a job opens it.
fn open(test: &TestStorage, network: &str) -> Model {
    for file in ["config.json", "model.safetensors"] {
        let bytes = fs::read(Path::new(FIXTURES).join(network).join(file)).unwrap();
        test.write(&format!("{network}/{file}"), bytes);
    }
    let location = test
        .storage
        .check_location(&test.uri(&format!("{network}/")))
        .unwrap();
    let access = Access {
        storage: &test.storage,
        scratch: &test.scratch(),
        go_on: &|| true,
    };
    ModelFolder::look(test.storage.blocking(), &location)
        .unwrap()
        .open(&access)
        .unwrap()
}

fn expected(test: &TestStorage, network: &str) -> Checkpoint {
    let bytes = fs::read(
        Path::new(FIXTURES)
            .join(network)
            .join("expected.safetensors"),
    )
    .unwrap();
    let somewhere = test
        .storage
        .check_location(&test.uri("expected.safetensors"))
        .unwrap();
    tensors::from_bytes(bytes.into(), &somewhere).unwrap()
}

fn batch(expected: &Checkpoint) -> Batch {
    let inputs = &expected["inputs"];
    Batch {
        inputs: inputs.f32().into_owned(),
        sample_shape: inputs.shape()[1..].to_vec(),
        labels: expected["labels"]
            .f32()
            .iter()
            .map(|&label| label as i64)
            .collect(),
    }
}

/// `‖a − b‖ / ‖b‖`.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x).powi(2);
    let off: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let size: f64 = expected.iter().map(|&b| square(b)).sum();
    (off / size).sqrt()
}

fn computes_what_pytorch_computes(network: &str) {
    let test = TestStorage::on_files();
    let (model, expected) = (open(&test, network), expected(&test, network));
    let signature = model.checkpoint.signature();
    let graph = Graph::from_config(&model.folder.config, &signature).unwrap();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let logits = learner.predict(&model.checkpoint, &batch(&expected));
    let off = relative_error(&logits, &expected["logits.eval"].f32());
    assert!(off < 1e-4, "logits are {off:e} off");

    let gradient = learner.gradient(&model.checkpoint, &batch(&expected));
    let loss = f64::from(expected["loss.train"].f32()[0]);
    assert!(
        (gradient.loss - loss).abs() < 1e-4 * loss,
        "{} is not {loss}",
        gradient.loss
    );
    let largest = gradient.parts.norm();
    for (name, reference) in expected.iter() {
        let Some(name) = name.strip_prefix("grad.train.") else {
            continue;
        };
        // What a batch norm takes away again has no gradient; rounding there is no error.
        if reference.inner(reference).sqrt() > 1e-5 * largest {
            let off = relative_error(&gradient.parts[name].f32(), &reference.f32());
            assert!(off < 1e-3, "gradient of {name} is {off:e} off");
        }
    }
}

#[test]
fn a_graph_of_every_image_op_computes_what_pytorch_computes() {
    computes_what_pytorch_computes("small_cnn");
}

#[test]
fn a_resnet18_under_timms_names_computes_what_pytorch_computes() {
    computes_what_pytorch_computes("resnet18");
}

#[test]
fn a_vgg11_bn_under_torchvisions_names_computes_what_pytorch_computes() {
    computes_what_pytorch_computes("vgg11_bn");
}

/// `load_state_dict(strict=True)` wants every name, shape and dtype, integer counters included;
/// `tests/fixtures/pytorch/load_back.py` does it in `PyTorch`.
#[test]
fn a_model_written_back_is_the_module_it_was() {
    let test = TestStorage::on_files();
    for network in ["small_cnn", "resnet18", "vgg11_bn"] {
        let model = open(&test, network);
        let written = tensors::to_bytes(&model.checkpoint);
        let again = tensors::from_bytes(written.into(), &model.folder.location).unwrap();
        assert_eq!(again.signature(), model.checkpoint.signature());
        for (name, tensor) in model.checkpoint.iter() {
            assert_eq!(again[name].bytes(), tensor.bytes(), "{network}: {name}");
        }
    }
}
