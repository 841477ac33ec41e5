//! Storage on S3.

use std::{collections::HashMap, fs};

use axum::Router;
use bytes::Bytes;
use retune::{
    contract::codes::FailureCode,
    storage::{Credentials, Location, NewFile, S3Config, Storage, TenantStorage},
};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{
    files::{TestStorage, noise},
    s3_server::{Mishap, S3Server},
};

const LARGE: usize = 20 << 20;

/// A server, and storage whose only root is `s3://bucket/allowed/`.
fn start() -> (S3Server, TestStorage) {
    let first = TestStorage::on_files();
    let server = S3Server::start(first.runtime.handle());
    let test = TestStorage::with_runtime(
        first.runtime,
        &["s3://bucket/allowed/"],
        server.config.clone(),
    );
    (server, test)
}

fn place(storage: &Storage, path: &str) -> Location {
    storage
        .check_location(&format!("s3://bucket/allowed/{path}"))
        .unwrap()
}

#[test]
fn a_large_object_goes_up_in_parts_and_comes_back_the_same() {
    let (server, test) = start();
    let storage = test.storage.blocking();
    let folder = place(&test.storage, "run");
    let location = folder.child("model.safetensors").unwrap();
    let local = test.scratch().join("model");
    let content = noise(LARGE);
    fs::write(&local, &content).unwrap();

    let attempt = storage.begin_attempt(&folder).unwrap();
    let file = NewFile {
        attempt: &attempt,
        name: "model.safetensors",
    };
    let staged = storage.stage_file(file, &local, &|| true).unwrap();
    assert_eq!(server.parts(), 3);
    assert!(!storage.exists(&location).unwrap());
    assert!(storage.put_in_place(&attempt, &staged).unwrap());
    assert_eq!(storage.head(&location).unwrap().size, LARGE as u64);
    let fetched = storage.fetch(&location, &test.scratch(), &|| true).unwrap();
    assert_eq!(
        (fetched.size, &fetched.sha256),
        (staged.size, &staged.sha256)
    );
    assert!(fs::read(&fetched.path).unwrap() == content);

    // Whoever comes later and does not know puts the same bytes there.
    assert!(storage.put_in_place(&attempt, &staged).unwrap());
    storage
        .tidy(&folder, &["model.safetensors"], &[attempt.id])
        .unwrap();
    let listing = storage.list(&folder).unwrap();
    assert_eq!((listing.files.len(), listing.folders.len()), (1, 0));
    assert_eq!(server.unfinished_uploads().len(), 0);
}

/// Of a process that was killed nobody knows the uploads but by what it wrote down.
#[test]
fn the_uploads_of_an_attempt_that_died_are_ended() {
    let (server, test) = start();
    let storage = test.storage.blocking();
    let folder = place(&test.storage, "run");
    let local = test.scratch().join("model");
    fs::write(&local, noise(LARGE)).unwrap();
    let attempt = storage.begin_attempt(&folder).unwrap();
    let file = NewFile {
        attempt: &attempt,
        name: "model.safetensors",
    };
    storage.stage_file(file, &local, &|| true).unwrap();
    assert_eq!(server.unfinished_uploads().len(), 1);
    let [found] = &storage.attempts(&folder).unwrap()[..] else {
        panic!("one attempt")
    };
    assert_eq!(found.id, attempt.id);
    storage.clear_attempt(found).unwrap();
    assert_eq!(server.unfinished_uploads().len(), 0);
    assert!(storage.attempts(&folder).unwrap().is_empty());
}

/// Consoles put an empty object whose key is the folder's with its slash.
#[test]
fn the_marker_of_a_folder_is_no_file_of_it() {
    let first = TestStorage::on_files();
    let handle = first.runtime.handle().clone();
    let listener = handle.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = "<ListBucketResult><IsTruncated>false</IsTruncated>\
        <Contents><Key>allowed/model/</Key><Size>0</Size>\
        <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>\
        <Contents><Key>allowed/model/config.json</Key><Size>2</Size>\
        <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>\
        <CommonPrefixes><Prefix>allowed/model/deep/</Prefix></CommonPrefixes></ListBucketResult>";
    let app = Router::new().fallback(async move || answer);
    handle.spawn(async move { axum::serve(listener, app).await });
    let config = S3Config {
        endpoint: Some(endpoint),
        allow_http: true,
        anonymous: true,
        ..S3Config::default()
    };
    let test = TestStorage::with_runtime(first.runtime, &["s3://bucket/allowed/"], config);
    let listing = test
        .storage
        .blocking()
        .list(&place(&test.storage, "model"))
        .unwrap();
    let names: Vec<_> = listing
        .files
        .iter()
        .map(|file| file.location.name())
        .collect();
    assert_eq!(names, ["config.json"]);
    assert_eq!(listing.folders, [place(&test.storage, "model/deep")]);
}

#[test]
fn small_objects_are_created_once_and_folders_deleted_whole() {
    let (_server, test) = start();
    let storage = test.storage.blocking();
    let report = place(&test.storage, "run/report.json");
    storage
        .publish_bytes(&report, Bytes::from_static(b"{}"))
        .unwrap();
    storage
        .publish_bytes(&report, Bytes::from_static(b"{}"))
        .unwrap();
    let error = storage
        .publish_bytes(&report, Bytes::from_static(b"[]"))
        .unwrap_err();
    assert_eq!(error.code(), FailureCode::AlreadyExists);
    let neighbour = place(&test.storage, "run2/report.json");
    storage
        .publish_bytes(&neighbour, Bytes::from_static(b"{}"))
        .unwrap();
    storage
        .publish_bytes(&place(&test.storage, "run/a/b"), Bytes::from_static(b"1"))
        .unwrap();

    let listing = storage.list(&place(&test.storage, "run")).unwrap();
    assert_eq!(listing.files.len(), 1);
    assert_eq!(listing.folders, [place(&test.storage, "run/a")]);
    storage.delete_prefix(&place(&test.storage, "run")).unwrap();
    assert!(!storage.exists(&report).unwrap());
    assert!(storage.exists(&neighbour).unwrap());
}

#[test]
fn a_download_survives_errors_and_breaks() {
    let (server, test) = start();
    let storage = test.storage.blocking();
    let location = place(&test.storage, "data.safetensors");
    let content = noise(3 << 20);
    storage
        .publish_bytes(&location, content.clone().into())
        .unwrap();
    let before = server.gets();
    server.plan([
        Mishap::Unavailable,
        Mishap::CutAfter(1 << 20),
        Mishap::CutAfter(0),
    ]);
    let fetched = storage.fetch(&location, &test.scratch(), &|| true).unwrap();
    assert!(fs::read(&fetched.path).unwrap() == content);
    assert!(server.gets() - before >= 4, "{}", server.gets() - before);
}

#[test]
fn a_stopped_download_leaves_no_file() {
    let (_server, test) = start();
    let storage = test.storage.blocking();
    let location = place(&test.storage, "data.safetensors");
    storage
        .publish_bytes(&location, noise(1 << 20).into())
        .unwrap();
    let error = storage
        .fetch(&location, &test.scratch(), &|| false)
        .unwrap_err();
    assert_eq!(error.code(), FailureCode::Stopped);
    assert_eq!(fs::read_dir(test.scratch()).unwrap().count(), 0);
    let missing = place(&test.storage, "none");
    assert_eq!(
        storage
            .fetch(&missing, &test.scratch(), &|| true)
            .unwrap_err()
            .code(),
        FailureCode::NotFound
    );
}

#[test]
fn other_buckets_prefixes_and_plain_http_are_refused() {
    let (server, test) = start();
    for uri in [
        "s3://bucket/allowed2/x",
        "s3://bucket/x",
        "s3://other/allowed/x",
        "gs://bucket/allowed",
    ] {
        assert_eq!(
            test.storage.check_location(uri).unwrap_err().code,
            FailureCode::LocationNotAllowed
        );
    }
    let s3 = S3Config {
        allow_http: false,
        ..server.config.clone()
    };
    let strict = TestStorage::with(&["s3://bucket/allowed/"], s3);
    let error = strict
        .storage
        .check_location("s3://bucket/allowed/x")
        .unwrap_err();
    assert_eq!(error.code, FailureCode::LocationNotAllowed);
    assert!(error.detail.contains("allow_http"), "{error}");
}

#[test]
fn a_tenants_own_credentials_reach_its_own_folders_and_no_others() {
    let first = TestStorage::on_files();
    let identities = [("vision", "hunter2"), ("audio", "hunter4")];
    let server = S3Server::asking_for(first.runtime.handle(), &identities);
    let s3 = server.config.clone();
    let test = TestStorage::with_runtime(first.runtime, &["s3://bucket/allowed/"], s3);
    let keys = |(key, secret): (&str, &str)| TenantStorage {
        credentials: Some(Credentials {
            access_key_id: key.into(),
            secret_access_key: secret.into(),
            session_token: None,
        }),
        ..TenantStorage::default()
    };
    let [vision, audio, wrong] = [1, 2, 3].map(Uuid::from_u128);
    let tenants = HashMap::from([
        (vision, keys(identities[0])),
        (audio, keys(identities[1])),
        (wrong, keys(("vision", "hunter3"))),
    ]);
    let storage = test.storage.clone().with_tenants(tenants).unwrap();
    let report = place(&storage, "vision/report.json");
    let put = |storage: &Storage| {
        storage
            .blocking()
            .publish_bytes(&report, Bytes::from_static(b"{}"))
            .map(|_| ())
    };
    put(&storage.of(vision)).unwrap();
    assert!(storage.of(vision).blocking().exists(&report).unwrap());
    for other in [
        storage.of(audio),
        storage.of(wrong),
        storage.clone(),
        storage.of(Uuid::nil()),
    ] {
        let error = put(&other).unwrap_err().to_string();
        assert!(!error.contains("hunter"), "{error}");
        assert!(other.blocking().head(&report).is_err());
    }
    let own = place(&storage, "audio/report.json");
    storage
        .of(audio)
        .blocking()
        .publish_bytes(&own, Bytes::from_static(b"{}"))
        .unwrap();
    assert!(storage.of(vision).blocking().head(&own).is_err());
    assert!(!format!("{storage:?}").contains("hunter"));
    // The wall of the roots stands whoever asks.
    assert!(storage.of(vision).check_location("s3://bucket/x").is_err());
}
