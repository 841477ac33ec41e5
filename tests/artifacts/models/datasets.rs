//! Datasets of safetensors: samples, faults, lists of tokens.

use retune::{
    artifacts::{
        ArtifactError,
        dataset::{self, Reading},
        names, tensors,
    },
    contract::{codes::FailureCode, spec::Preprocess},
    engine::tensors::{Checkpoint, HostTensor},
};

use super::{look, put_model, weights, with_access};
use crate::support::files::TestStorage;

fn put_data(test: &TestStorage, inputs: HostTensor, labels: HostTensor) {
    let data: Checkpoint = [("inputs".to_owned(), inputs), ("labels".to_owned(), labels)]
        .into_iter()
        .collect();
    test.write("d.safetensors", tensors::to_bytes(&data));
}

fn read_data(
    test: &TestStorage,
    preprocess: Option<&Preprocess>,
) -> Result<retune::engine::training::Dataset, ArtifactError> {
    let place = test
        .storage
        .check_location(&test.uri("d.safetensors"))
        .unwrap();
    let reading = Reading {
        preprocess,
        ..Reading::default()
    };
    let read = with_access(test, |access| dataset::read(access, &place, reading));
    // What values do not decide, the header decides already.
    if let Err(error) = dataset::look(&test.storage, &place, reading) {
        assert_eq!(read.as_ref().unwrap_err().code(), error.code());
    }
    read.map(|(data, _)| data)
}

#[test]
fn bytes_and_floats_are_read_as_samples() {
    let test = TestStorage::on_files();
    let pixels = HostTensor::from_bytes(
        retune::engine::tensors::DType::U8,
        vec![2, 1, 1, 2],
        vec![0, 51, 102, 255].into(),
    );
    put_data(
        &test,
        pixels.unwrap(),
        HostTensor::from_i64(vec![2], &[1, 0]),
    );
    let data = read_data(&test, None).unwrap();
    assert_eq!((data.len(), data.sample_shape()), (2, &[1, 1, 2][..]));
    assert_eq!(data.batch(&[1]).inputs, [0.4, 1.0]);
    let preprocess = Preprocess {
        mean: vec![0.5],
        std: vec![0.5],
    };
    assert_eq!(
        read_data(&test, Some(&preprocess))
            .unwrap()
            .batch(&[1])
            .inputs[1],
        1.0
    );
    // As a specification has it that names every field.
    let nothing = Preprocess {
        mean: vec![],
        std: vec![],
    };
    assert_eq!(
        read_data(&test, Some(&nothing)).unwrap().batch(&[1]).inputs,
        [0.4, 1.0]
    );
    let preprocess = Preprocess {
        mean: vec![0.5; 3],
        std: vec![0.5; 3],
    };
    let error = read_data(&test, Some(&preprocess)).unwrap_err();
    assert_eq!(error.code(), FailureCode::InvalidPreprocess);
}

#[test]
fn each_fault_of_a_dataset_has_its_code() {
    let test = TestStorage::on_files();
    let floats =
        |shape: &[usize]| HostTensor::from_f32(shape.to_vec(), vec![0.5; shape.iter().product()]);
    let labels = |labels: &[i64]| HostTensor::from_i64(vec![labels.len()], labels);
    let nan = HostTensor::from_f32(vec![1, 2], vec![0.0, f32::NAN]);
    for (inputs, labels, expected) in [
        (floats(&[2, 3]), labels(&[0]), FailureCode::WrongShape),
        (floats(&[2]), labels(&[0, 1]), FailureCode::WrongShape),
        (floats(&[2, 0]), labels(&[0, 1]), FailureCode::WrongShape),
        (floats(&[0, 3]), labels(&[]), FailureCode::EmptyDataset),
        (floats(&[2, 3]), floats(&[2]), FailureCode::WrongDtype),
        (labels(&[1]), labels(&[1]), FailureCode::WrongDtype),
        (
            floats(&[2, 3]),
            labels(&[0, -1]),
            FailureCode::LabelOutOfRange,
        ),
        (nan, labels(&[0]), FailureCode::NotFinite),
    ] {
        put_data(&test, inputs, labels);
        let error = read_data(&test, None).unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
    }
    test.write("d.pt", "x");
    let pickle = test.storage.check_location(&test.uri("d.pt")).unwrap();
    assert_eq!(
        dataset::look(&test.storage, &pickle, Reading::default())
            .unwrap_err()
            .code(),
        FailureCode::PickleRefused
    );
    test.write("d.safetensors", weights(1.0));
    assert_eq!(
        read_data(&test, None).unwrap_err().code(),
        FailureCode::MissingTensor
    );
    let place = test
        .storage
        .check_location(&test.uri("d.safetensors"))
        .unwrap();
    assert!(dataset::check_labels(&[0, 9], 10, &place).is_ok());
    let error = dataset::check_labels(&[0, 10], 10, &place).unwrap_err();
    assert_eq!(error.code(), FailureCode::LabelOutOfRange);
    assert!(
        error.to_string().contains("sample 1 has the label 10"),
        "{error}"
    );
}

/// A plan compares lists of tokens by their digests, and reads none that both models have.
#[test]
fn lists_of_tokens_are_told_apart_without_being_parsed() {
    let test = TestStorage::on_files();
    for (folder, list) in [
        ("a", "{no JSON"),
        ("b", "{no JSON"),
        ("c", "{no json"),
        ("d", "{}"),
    ] {
        put_model(&test, folder, 1.0);
        test.write(&format!("{folder}/tokenizer.json"), list);
    }
    put_model(&test, "e", 1.0);
    let same = |one: &str, other: &str| {
        let folders = [look(&test, one).unwrap(), look(&test, other).unwrap()];
        let files = folders.each_ref().map(|folder| &folder.other_files[..]);
        names::same_vocabulary(test.storage.blocking(), files).unwrap()
    };
    assert!(same("a/", "a/") && same("a/", "b/"));
    for other in ["c/", "d/", "e/"] {
        assert!(!same("a/", other), "{other}");
    }
    assert!(!same("e/", "e/"), "there is none");
}
