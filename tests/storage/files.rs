//! Storage on files.

use std::{fs, os::unix::fs::symlink};

use bytes::Bytes;
use retune::storage::StorageError;

use crate::support::files::TestStorage;

const LARGE: usize = 20 << 20;

/// Bytes that no two parts of a file share.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn a_large_file_is_written_whole_and_never_replaced() {
    let test = TestStorage::on_files();
    let storage = test.storage.blocking();
    let location = test.storage.check_location(&test.uri("out/model.safetensors")).unwrap();
    let local = test.scratch().join("model");
    let mut content = noise(LARGE);
    fs::write(&local, &content).unwrap();

    let written = storage.publish_file(&location, &local, &|| true).unwrap();
    assert_eq!(written.size, LARGE as u64);
    assert_eq!(fs::read(test.objects().join("out/model.safetensors")).unwrap(), content);
    assert_eq!(storage.publish_file(&location, &local, &|| true).unwrap(), written);

    content[LARGE / 2] ^= 1;
    fs::write(&local, &content).unwrap();
    let error = storage.publish_file(&location, &local, &|| true).unwrap_err();
    assert_eq!(error.code(), "already_exists");
    assert_eq!(storage.digest(&location).unwrap(), written);
    // Nothing of the second attempt stays beside it.
    assert_eq!(fs::read_dir(test.objects().join("out")).unwrap().count(), 1);
}

#[test]
fn small_objects_are_created_once() {
    let test = TestStorage::on_files();
    let storage = test.storage.blocking();
    let location = test.storage.check_location(&test.uri("out/report.json")).unwrap();
    storage.publish_bytes(&location, Bytes::from_static(b"{}")).unwrap();
    storage.publish_bytes(&location, Bytes::from_static(b"{}")).unwrap();
    let error = storage.publish_bytes(&location, Bytes::from_static(b"[]")).unwrap_err();
    assert!(matches!(error, StorageError::AlreadyExists { .. }), "{error}");
    assert_eq!(storage.read_small(&location, 10).unwrap(), "{}");
    assert_eq!(storage.read_small(&location, 1).unwrap_err().code(), "too_large");
    assert_eq!(storage.read_range(&location, 1..99).unwrap(), "}");
}

#[test]
fn a_stop_leaves_nothing_behind() {
    let test = TestStorage::on_files();
    let storage = test.storage.blocking();
    let location = test.storage.check_location(&test.uri("out/model")).unwrap();
    let local = test.scratch().join("model");
    fs::write(&local, noise(LARGE)).unwrap();
    let error = storage.publish_file(&location, &local, &|| false).unwrap_err();
    assert!(matches!(error, StorageError::Stopped), "{error}");
    assert!(!storage.exists(&location).unwrap());
    let left = fs::read_dir(test.objects().join("out")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[test]
fn files_are_used_where_they_are() {
    let test = TestStorage::on_files();
    test.write("a/x", b"abc");
    test.write("a/deep/y", b"");
    let storage = test.storage.blocking();
    let folder = test.storage.check_location(&test.uri("a/")).unwrap();
    let listing = storage.list(&folder).unwrap();
    assert_eq!(listing.files.len(), 1);
    assert_eq!(listing.folders, [folder.child("deep").unwrap()]);
    let file = storage.fetch(&listing.files[0].location, &test.scratch(), &|| true).unwrap();
    assert_eq!(file.path, test.objects().join("a/x"));
    assert_eq!(file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let missing = folder.child("none").unwrap();
    assert_eq!(storage.fetch(&missing, &test.scratch(), &|| true).unwrap_err().code(), "not_found");
    assert!(storage.list(&missing).unwrap().files.is_empty());
}

#[test]
fn a_symlink_planted_after_the_check_is_refused_at_the_access() {
    let test = TestStorage::on_files();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    test.write("model/config.json", b"{}");
    let storage = test.storage.blocking();
    let folder = test.storage.check_location(&test.uri("model")).unwrap();
    symlink(outside.path().join("secret"), test.objects().join("model/model.safetensors")).unwrap();
    symlink(outside.path(), test.objects().join("model/deep")).unwrap();
    let file = folder.child("model.safetensors").unwrap();
    let inside = folder.join("deep/secret").unwrap();
    let new = folder.join("deep/new").unwrap();
    for location in [&file, &inside] {
        let fetched = storage.fetch(location, &test.scratch(), &|| true);
        assert_eq!(fetched.unwrap_err().code(), "location_not_allowed");
        assert_eq!(storage.read_small(location, 99).unwrap_err().code(), "location_not_allowed");
    }
    let written = storage.publish_bytes(&new, Bytes::from_static(b"x"));
    assert_eq!(written.unwrap_err().code(), "location_not_allowed");
    assert!(!outside.path().join("new").exists());
    storage.delete_prefix(&folder).unwrap();
    assert!(outside.path().join("secret").exists());
}

#[test]
fn the_state_folder_around_the_objects_is_out_of_reach() {
    let test = TestStorage::on_files();
    let root = format!("file://{}", test.dir.path().display());
    for path in ["", "/scratch", "/scratch/x", "/objects2"] {
        let error = test.storage.check_location(&format!("{root}{path}")).unwrap_err();
        assert_eq!(error.code, "location_not_allowed", "{path}");
    }
    assert!(test.storage.check_location(&format!("{root}/objects/m")).is_ok());
}
