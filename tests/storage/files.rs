//! Storage on files.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use nix::{sys::stat::Mode, unistd::mkfifo};
use retune::{
    contract::codes::FailureCode,
    storage::{Content, NewFile, S3Config, Storage, StorageError},
};

use crate::support::files::{TestStorage, noise};

const LARGE: usize = 20 << 20;

#[test]
fn a_large_file_is_written_aside_and_then_gets_its_name() {
    let test = TestStorage::on_files();
    let storage = test.storage.blocking();
    let folder = test.storage.check_location(&test.uri("out")).unwrap();
    let local = test.scratch().join("model");
    let content = noise(LARGE);
    fs::write(&local, &content).unwrap();

    let attempt = storage.begin_attempt(&folder).unwrap();
    let file = NewFile {
        attempt: &attempt,
        name: "deep/model.safetensors",
    };
    let staged = storage.stage_file(file, &local, &|| true).unwrap();
    assert_eq!(staged.size, LARGE as u64);
    let place = test.objects().join("out/deep/model.safetensors");
    assert!(!place.exists());
    assert!(storage.put_in_place(&attempt, &staged).unwrap());
    assert_eq!(fs::read(&place).unwrap(), content);
    // Again, by somebody who does not know: nothing changes.
    assert!(storage.put_in_place(&attempt, &staged).unwrap());
    storage
        .tidy(&folder, &["deep/model.safetensors"], &[attempt.id])
        .unwrap();
    assert_eq!(fs::read(&place).unwrap(), content);
    assert_eq!(fs::read_dir(test.objects().join("out")).unwrap().count(), 1);
}

#[test]
fn what_was_cleared_away_gets_no_name() {
    let test = TestStorage::on_files();
    let storage = test.storage.blocking();
    let folder = test.storage.check_location(&test.uri("out")).unwrap();
    let attempt = storage.begin_attempt(&folder).unwrap();
    let mut pieces = std::iter::once(Ok(Bytes::from_static(b"mine")));
    let file = NewFile {
        attempt: &attempt,
        name: "a",
    };
    let content = Content {
        size: 4,
        pieces: &mut pieces,
    };
    let staged = storage.stage(file, content, &|| true).unwrap();
    test.write("out/a", "another's");
    storage.clear_attempt(&attempt).unwrap();
    assert!(!storage.put_in_place(&attempt, &staged).unwrap());
    assert_eq!(
        fs::read(test.objects().join("out/a")).unwrap(),
        b"another's"
    );
    storage.abandon(&attempt).unwrap();
    assert!(test.objects().join("out/a").exists());
}

#[test]
fn small_objects_are_created_once() {
    let test = TestStorage::on_files();
    let storage = test.storage.blocking();
    let location = test
        .storage
        .check_location(&test.uri("out/report.json"))
        .unwrap();
    storage
        .publish_bytes(&location, Bytes::from_static(b"{}"))
        .unwrap();
    storage
        .publish_bytes(&location, Bytes::from_static(b"{}"))
        .unwrap();
    let error = storage
        .publish_bytes(&location, Bytes::from_static(b"[]"))
        .unwrap_err();
    assert!(
        matches!(error, StorageError::AlreadyExists { .. }),
        "{error}"
    );
    assert_eq!(storage.read_small(&location, 10).unwrap(), "{}");
    assert_eq!(
        storage.read_small(&location, 1).unwrap_err().code(),
        FailureCode::TooLarge
    );
    assert_eq!(storage.read_range(&location, 1..99).unwrap(), "}");
}

#[test]
fn a_stop_leaves_nothing_behind() {
    let test = TestStorage::on_files();
    let storage = test.storage.blocking();
    let folder = test.storage.check_location(&test.uri("out/run")).unwrap();
    let local = test.scratch().join("model");
    fs::write(&local, noise(LARGE)).unwrap();
    let attempt = storage.begin_attempt(&folder).unwrap();
    let file = NewFile {
        attempt: &attempt,
        name: "model",
    };
    let error = storage.stage_file(file, &local, &|| false).unwrap_err();
    assert!(matches!(error, StorageError::Stopped), "{error}");
    storage.abandon(&attempt).unwrap();
    assert_eq!(fs::read_dir(test.objects().join("out")).unwrap().count(), 0);
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
    let file = storage
        .fetch(&listing.files[0].location, &test.scratch(), &|| true)
        .unwrap();
    // Whatever becomes of the name, it is the file that was opened.
    fs::rename(test.objects().join("a/x"), test.objects().join("a/z")).unwrap();
    test.write("a/x", b"another");
    assert_eq!(fs::read(&file.path).unwrap(), b"abc");
    assert_eq!(
        file.sha256,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let missing = folder.child("none").unwrap();
    assert_eq!(
        storage
            .fetch(&missing, &test.scratch(), &|| true)
            .unwrap_err()
            .code(),
        FailureCode::NotFound
    );
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
    symlink(
        outside.path().join("secret"),
        test.objects().join("model/model.safetensors"),
    )
    .unwrap();
    symlink(outside.path(), test.objects().join("model/deep")).unwrap();
    let file = folder.child("model.safetensors").unwrap();
    let inside = folder.join("deep/secret").unwrap();
    let new = folder.join("deep/new").unwrap();
    for location in [&file, &inside] {
        let fetched = storage.fetch(location, &test.scratch(), &|| true);
        assert_eq!(fetched.unwrap_err().code(), FailureCode::LocationNotAllowed);
        assert_eq!(
            storage.read_small(location, 99).unwrap_err().code(),
            FailureCode::LocationNotAllowed
        );
    }
    let written = storage.publish_bytes(&new, Bytes::from_static(b"x"));
    assert_eq!(written.unwrap_err().code(), FailureCode::LocationNotAllowed);
    assert!(!outside.path().join("new").exists());
    storage.delete_prefix(&folder).unwrap();
    assert!(outside.path().join("secret").exists());
}

#[test]
fn the_state_folder_around_the_objects_is_out_of_reach() {
    let test = TestStorage::on_files();
    let root = format!("file://{}", test.dir.path().display());
    for path in ["", "/scratch", "/scratch/x", "/objects2"] {
        let error = test
            .storage
            .check_location(&format!("{root}{path}"))
            .unwrap_err();
        assert_eq!(error.code, FailureCode::LocationNotAllowed, "{path}");
    }
    assert!(
        test.storage
            .check_location(&format!("{root}/objects/m"))
            .is_ok()
    );
}

/// Nothing waits for a pipe without a writer, and nothing is read from what is no regular file.
#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let test = TestStorage::on_files();
    test.write("model/config.json", "{}");
    mkfifo(&test.objects().join("model/pipe"), Mode::S_IRWXU).unwrap();
    UnixListener::bind(test.objects().join("model/socket")).unwrap();
    symlink("loop", test.objects().join("model/loop")).unwrap();
    let storage = test.storage.blocking();
    let folder = test.storage.check_location(&test.uri("model")).unwrap();
    for name in ["pipe", "socket"] {
        let place = folder.child(name).unwrap();
        let code = |error: StorageError| (error.code(), error.is_input());
        let refused = (FailureCode::NotAFile, true);
        assert_eq!(
            code(storage.read_small(&place, 9).unwrap_err()),
            refused,
            "{name}"
        );
        assert_eq!(
            code(storage.read_range(&place, 0..1).unwrap_err()),
            refused,
            "{name}"
        );
        assert_eq!(code(storage.head(&place).unwrap_err()), refused, "{name}");
        assert_eq!(code(storage.digest(&place).unwrap_err()), refused, "{name}");
        let fetched = storage.fetch(&place, &test.scratch(), &|| true);
        assert_eq!(code(fetched.unwrap_err()), refused, "{name}");
        assert!(!storage.exists(&place).unwrap());
    }
    let names: Vec<_> = storage.list(&folder).unwrap().files;
    assert_eq!(names.len(), 3, "{names:?}");
    let folder = storage.read_small(&folder, 9).unwrap_err();
    assert!(folder.to_string().contains("is a folder"), "{folder}");
    let looping = test
        .storage
        .check_location(&test.uri("model/loop"))
        .unwrap_err();
    assert!(looping.detail.contains("symbolic links"), "{looping}");
    // Commands that run locally ask for no roots.
    let runtime = &test.runtime;
    let local = Storage::local(S3Config::default(), runtime.handle().clone());
    let place = local
        .check_location(test.objects().join("model/loop").to_str().unwrap())
        .unwrap();
    assert_eq!(
        local.blocking().head(&place).unwrap_err().code(),
        FailureCode::NotAFile
    );
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let test = TestStorage::on_files();
    test.write("file", "x");
    let storage = test.storage.blocking();
    for path in ["file", "file/deeper"] {
        let folder = test.storage.check_location(&test.uri(path)).unwrap();
        let error = storage.begin_attempt(&folder).unwrap_err();
        assert_eq!(
            (error.code(), error.is_input()),
            (FailureCode::NotAFolder, true),
            "{path}: {error}"
        );
    }
}

/// A name that is given to a link again and again, from inside the root to outside and back: what is
/// read is the honest file or a refusal, never the secret.
#[test]
fn a_link_swapped_between_check_and_opening_leads_nowhere() {
    let test = TestStorage::on_files();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), b"secret").unwrap();
    test.write("honest/x", b"honest");
    let objects = test.objects();
    let over = AtomicBool::new(false);
    let storage = test.storage.blocking();
    let place = test.storage.check_location(&test.uri("model/x")).unwrap();
    let folder = test.storage.check_location(&test.uri("model")).unwrap();
    let deeper = test
        .storage
        .check_location(&test.uri("model/new/deeper/x"))
        .unwrap();
    symlink("honest", objects.join("model")).unwrap();
    let (mut honest, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (link, next) = (objects.join("model"), objects.join("next"));
            while !over.load(Ordering::Relaxed) {
                for target in [Path::new("honest"), outside.path()] {
                    symlink(target, &next).unwrap();
                    fs::rename(&next, &link).unwrap();
                }
            }
        });
        let begun = Instant::now();
        while (honest < 200 || refused < 200) && begun.elapsed() < Duration::from_secs(30) {
            match storage.read_small(&place, 99) {
                Ok(bytes) => {
                    assert_eq!(bytes, "honest");
                    honest += 1;
                }
                Err(error) => {
                    assert!(
                        [FailureCode::LocationNotAllowed, FailureCode::NotFound]
                            .contains(&error.code()),
                        "{error}"
                    );
                    refused += 1;
                }
            }
            if let Ok(file) = storage.fetch(&place, &test.scratch(), &|| true) {
                assert_eq!(fs::read(&file.path).unwrap(), b"honest");
            }
            // Nothing is written outside either.
            let written = folder.child("written").unwrap();
            let _ = storage.publish_bytes(&written, Bytes::from_static(b"y"));
            let _ = storage.publish_bytes(&deeper, Bytes::from_static(b"y"));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(honest > 0 && refused > 0, "{honest} {refused}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_changes_between_two_looks_is_noticed() {
    let test = TestStorage::on_files();
    test.write("a", "one");
    test.write("b", "one");
    let place = |name: &str| test.storage.check_location(&test.uri(name)).unwrap();
    let watching = test.storage.watching();
    let storage = watching.blocking();
    storage.read_small(&place("a"), 9).unwrap();
    storage
        .fetch(&place("b"), &test.scratch(), &|| true)
        .unwrap();
    watching.check_unchanged().unwrap();
    // Another file of the same name and content.
    test.write("c", "one");
    fs::rename(test.objects().join("c"), test.objects().join("b")).unwrap();
    let error = watching.check_unchanged().unwrap_err();
    assert_eq!(error.code(), FailureCode::InputChanged);
    assert!(error.to_string().contains("/b "), "{error}");
    assert_eq!(
        storage.read_small(&place("b"), 9).unwrap_err().code(),
        FailureCode::InputChanged
    );
    // Whoever does not watch is not asked.
    test.storage.check_unchanged().unwrap();
    test.storage.blocking().read_small(&place("b"), 9).unwrap();
}
