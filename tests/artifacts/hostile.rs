//! Safetensors files that lie.

use bytes::Bytes;
use proptest::prelude::*;
use retune::{
    artifacts::tensors,
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, DType, HostTensor},
    storage::Location,
};

use crate::support::files::TestStorage;

fn somewhere() -> Location {
    let test = TestStorage::on_files();
    test.storage
        .check_location(&test.uri("model.safetensors"))
        .unwrap()
}

fn bytes_of(checkpoint: &Checkpoint) -> Vec<u8> {
    tensors::to_bytes(checkpoint)
}

fn small() -> Checkpoint {
    let mut checkpoint = Checkpoint::new();
    checkpoint.insert(
        "fc.bias",
        HostTensor::from_f32_as(DType::BF16, vec![3], vec![1.0; 3]),
    );
    checkpoint.insert("fc.weight", HostTensor::from_f32(vec![3, 2], vec![0.5; 6]));
    checkpoint.insert("steps", HostTensor::from_i64(vec![], &[7]));
    checkpoint
}

fn any_dtype() -> impl Strategy<Value = DType> {
    use DType::{BF16, Bool, F16, F32, I32, I64, U8};
    prop::sample::select(vec![F32, F16, BF16, I64, I32, U8, Bool])
}

fn any_tensor() -> impl Strategy<Value = HostTensor> {
    (any_dtype(), prop::collection::vec(0usize..4, 0..4)).prop_flat_map(|(dtype, shape)| {
        let size = shape.iter().product::<usize>() * dtype.size();
        prop::collection::vec(any::<u8>(), size..=size).prop_map(move |bytes| {
            HostTensor::from_bytes(dtype, shape.clone(), Bytes::from(bytes)).unwrap()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_checkpoint_comes_back(
        tensors in prop::collection::btree_map("[a-z\"\\\\.é]{1,8}", any_tensor(), 0..6)
    ) {
        let checkpoint: Checkpoint = tensors.into_iter().collect();
        let bytes = bytes_of(&checkpoint);
        prop_assert_eq!(&bytes, &bytes_of(&checkpoint));
        let again = tensors::from_bytes(bytes.into(), &somewhere()).unwrap();
        prop_assert_eq!(again.signature(), checkpoint.signature());
        for (name, tensor) in checkpoint.iter() {
            prop_assert_eq!(again[name].bytes(), tensor.bytes());
        }
    }

    #[test]
    fn damage_is_an_error_or_a_sound_checkpoint_and_never_a_panic(
        flips in prop::collection::vec((0usize..400, 0u8..8), 1..4)
    ) {
        let mut bytes = bytes_of(&small());
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        if let Ok(checkpoint) = tensors::from_bytes(bytes.into(), &somewhere()) {
            for (_, tensor) in checkpoint.iter() {
                prop_assert_eq!(tensor.bytes().len(), tensor.len() * tensor.dtype().size());
            }
        }
    }
}

#[test]
fn every_truncation_is_told() {
    let bytes = bytes_of(&small());
    let place = somewhere();
    for length in 0..bytes.len() {
        let cut = Bytes::copy_from_slice(&bytes[..length]);
        let error = tensors::from_bytes(cut, &place).expect_err("cut");
        assert_eq!(
            error.code(),
            FailureCode::Truncated,
            "{length} of {} bytes",
            bytes.len()
        );
    }
}

#[test]
fn a_header_bomb_is_refused_without_reading_it() {
    let test = TestStorage::on_files();
    test.write(
        "bomb.safetensors",
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
    );
    let place = test
        .storage
        .check_location(&test.uri("bomb.safetensors"))
        .unwrap();
    let error = tensors::read_header(test.storage.blocking(), &place).unwrap_err();
    assert_eq!(error.code(), FailureCode::HeaderTooLarge);
    let error = tensors::open(&test.objects().join("bomb.safetensors"), &place).unwrap_err();
    assert_eq!(error.code(), FailureCode::HeaderTooLarge);
    assert!(error.to_string().starts_with(&place.to_string()), "{error}");
}

#[test]
fn an_empty_file_is_truncated() {
    let test = TestStorage::on_files();
    test.write("empty.safetensors", b"");
    let place = test
        .storage
        .check_location(&test.uri("empty.safetensors"))
        .unwrap();
    let error = tensors::read_header(test.storage.blocking(), &place).unwrap_err();
    assert_eq!(error.code(), FailureCode::Truncated);
    let error = tensors::open(&test.objects().join("empty.safetensors"), &place).unwrap_err();
    assert_eq!(error.code(), FailureCode::Truncated);
}

#[test]
fn a_header_longer_than_the_first_read_is_read_from_a_store() {
    let test = TestStorage::on_files();
    let many: Checkpoint = (0..2000)
        .map(|i| {
            (
                format!("layer.{i:04}.weight"),
                HostTensor::from_f32(vec![1], vec![i as f32]),
            )
        })
        .collect();
    test.write("many.safetensors", bytes_of(&many));
    let place = test
        .storage
        .check_location(&test.uri("many.safetensors"))
        .unwrap();
    let header = tensors::read_header(test.storage.blocking(), &place).unwrap();
    assert_eq!(header.signature(), many.signature());
}

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    let mut values = vec![0.0f32; 200_000];
    values[170_000] = f32::NAN;
    values[190_000] = f32::INFINITY;
    let mut checkpoint = small();
    assert_eq!(tensors::first_not_finite(&checkpoint), None);
    checkpoint.insert("m", HostTensor::from_f32(vec![200_000], values));
    let half = HostTensor::from_f32_as(DType::F16, vec![2], vec![1.0, 1e9]);
    checkpoint.insert("n", half.clone());
    assert_eq!(
        tensors::first_not_finite(&checkpoint),
        Some(("m".into(), 170_000))
    );
    checkpoint.remove("m");
    assert_eq!(
        tensors::first_not_finite(&checkpoint),
        Some(("n".into(), 1))
    );
    let error = tensors::check_finite(&checkpoint, &somewhere()).unwrap_err();
    assert_eq!(error.code(), FailureCode::NotFinite);
    assert!(error.to_string().contains("\"n\": element 1"), "{error}");
}

#[test]
fn parts_are_aligned_and_headed_as_pytorch_expects() {
    let bytes = bytes_of(&small());
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!(length % 8, 0);
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert_eq!(json["__metadata__"]["format"], "pt");
    assert_eq!(json["steps"]["data_offsets"], serde_json::json!([0, 8]));
    assert_eq!(
        json["fc.weight"]["data_offsets"],
        serde_json::json!([8, 32])
    );
    assert_eq!(json["fc.bias"]["data_offsets"], serde_json::json!([32, 38]));
    assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok());
}
