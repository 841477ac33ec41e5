//! `model.safetensors.index.json`: refused, or shards that are plain names and hold what it promises.
#![no_main]

mod folder;

use std::sync::Once;

use folder::FOLDER;
use libfuzzer_sys::fuzz_target;
use retune::{artifacts::{ModelFolder, tensors}, engine::tensors::HostTensor};

static SHARDS: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    SHARDS.call_once(|| {
        FOLDER.write("m/config.json", b"{}");
        for name in ["a", "b"] {
            let tensor = HostTensor::from_f32(vec![2], vec![1.0, 2.0]);
            let shard = [(name.to_owned(), tensor)].into_iter().collect();
            FOLDER.write(&format!("m/{name}.safetensors"), &tensors::to_bytes(&shard));
        }
    });
    FOLDER.write("m/model.safetensors.index.json", bytes);
    let storage = FOLDER.storage.blocking();
    let Ok(model) = ModelFolder::look(storage, &FOLDER.location("m/")) else { return };
    let Ok(signature) = model.signature(storage) else { return };
    assert!(signature.keys().all(|name| name == "a" || name == "b"));
});
