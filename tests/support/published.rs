//! A published folder is what its manifest says.

use std::collections::BTreeMap;

use retune::storage::{Location, Storage};
use serde_json::Value;

/// Every file that the manifest lists is there and has the digest that it says, and no other file is.
pub fn is_what_its_manifest_says(storage: &Storage, folder: &Location, what: &str) {
    let storage = storage.blocking();
    let manifest = storage.read_small(&folder.child("manifest.json").unwrap(), 1 << 20);
    let manifest: Value = serde_json::from_slice(&manifest.expect(what)).unwrap();
    let said: BTreeMap<&str, &str> = manifest["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let (name, digest) = (&file["name"], &file["sha256"]);
            (name.as_str().unwrap(), digest.as_str().unwrap())
        })
        .collect();
    assert!(said.contains_key("model.safetensors"), "{what}");

    for (name, digest) in &said {
        let found = storage.digest(&folder.join(name).unwrap());
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found.sha256, *digest, "{what}: {name}");
    }
    for file in storage.list(folder).unwrap().files {
        let name = file.location.name();
        assert!(
            name == "manifest.json" || said.contains_key(name),
            "{what}: {name}"
        );
    }
}
