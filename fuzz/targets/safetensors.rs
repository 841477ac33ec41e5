//! A file of weights: refused, or read and written again as the same tensors.
#![no_main]

mod folder;

use libfuzzer_sys::fuzz_target;
use retune::artifacts::tensors;

fuzz_target!(|bytes: &[u8]| {
    let place = folder::FOLDER.location("model.safetensors");
    let Ok(read) = tensors::from_bytes(bytes.to_vec().into(), &place) else { return };
    let written = tensors::to_bytes(&read);
    let again = tensors::from_bytes(written.into(), &place).expect("we wrote it");
    assert_eq!(again.signature(), read.signature());
    for (name, tensor) in read.iter() {
        assert_eq!(again[name].bytes(), tensor.bytes());
    }
});
