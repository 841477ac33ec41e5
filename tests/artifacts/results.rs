//! The result folder: whole or not at all.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use retune::{
    artifacts::{
        Access, Begun, Card, ModelFolder, ResultWriter,
        result::{ManifestFacts, Standing},
        tensors,
    },
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor},
    pipeline::Verdict,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{files::TestStorage, s3_server::S3Server};

const ID: Uuid = Uuid::from_u128(7);

fn model() -> Checkpoint {
    ["a", "b", "c"]
        .map(|name| {
            (
                name.to_owned(),
                HostTensor::from_f32(vec![4], vec![0.25; 4]),
            )
        })
        .into_iter()
        .collect()
}

/// A target base under `base/`, and a place for results.
fn target(test: &TestStorage) -> ModelFolder {
    test.write("base/config.json", "{ \"model_type\": \"graph\" }\n");
    test.write("base/model.safetensors", tensors::to_bytes(&model()));
    test.write("base/LICENSE", "free");
    test.write("base/modules.json", "[]");
    test.write("base/1_Pooling/config.json", "{}");
    let location = test.storage.check_location(&test.uri("base")).unwrap();
    ModelFolder::look(test.storage.blocking(), &location).unwrap()
}

fn begin<'a>(test: &TestStorage, access: Access<'a>) -> Begun<'a> {
    let output = test.storage.check_location(&test.uri("out")).unwrap();
    ResultWriter::begin(access, &output, ID).unwrap()
}

fn fresh(begun: Begun<'_>) -> ResultWriter<'_> {
    match begun {
        Begun::Fresh(writer) => writer,
        Begun::Standing(standing) => panic!("{} stands", standing.uri),
    }
}

fn write_all(mut writer: ResultWriter<'_>, target: &ModelFolder) -> Standing {
    writer.model(&model(), target).unwrap();
    writer.permutation([("fc1", &[1, 0, 2][..])]).unwrap();
    writer.report(&json!({"verdict": "published"})).unwrap();
    writer
        .card(&Card {
            method: Some("fgmt".into()),
            ..Card::default()
        })
        .unwrap();
    let spec = json!({"output": "x"});
    let facts = ManifestFacts {
        id: ID,
        spec: &spec,
        verdict: Verdict::Published,
        inputs: &[],
    };
    writer.finish(facts).unwrap().standing()
}

#[test]
fn who_has_lost_the_lease_clears_nothing_away() {
    let test = TestStorage::on_files();
    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| false,
    };
    test.write(&format!("out/{ID}/model.safetensors"), "the successor's");
    let output = test.storage.check_location(&test.uri("out")).unwrap();
    let refused = ResultWriter::begin(access, &output, ID)
        .err()
        .expect("refused");
    assert_eq!(refused.code(), FailureCode::Stopped);
    assert!(
        test.objects()
            .join(format!("out/{ID}/model.safetensors"))
            .is_file()
    );
}

#[test]
fn a_result_lists_its_files_and_stands() {
    let test = TestStorage::on_files();
    let target = target(&test);
    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    let standing = write_all(fresh(begin(&test, access)), &target);
    let folder = test.objects().join("out").join(ID.to_string());
    assert_eq!(standing.uri, format!("file://{}/", folder.display()));

    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    assert_eq!(
        standing.manifest_sha256,
        retune::storage::sha256_of(&manifest)
    );
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    // What was copied was read.
    let copied = ["1_Pooling/config.json", "LICENSE", "modules.json"];
    for (input, name) in manifest["inputs"].as_array().unwrap().iter().zip(copied) {
        assert!(
            input["uri"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/base/{name}")),
            "{input}"
        );
    }
    let mut names = vec![];
    for output in manifest["outputs"].as_array().unwrap() {
        let name = output["name"].as_str().unwrap();
        let bytes = fs::read(folder.join(name)).unwrap();
        assert_eq!(output["size"], bytes.len());
        assert_eq!(output["sha256"], retune::storage::sha256_of(&bytes));
        names.push(name);
    }
    let expected = [
        "1_Pooling/config.json",
        "LICENSE",
        "README.md",
        "config.json",
        "model.safetensors",
        "modules.json",
        "permutation.safetensors",
        "report.json",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        fs::read(folder.join("config.json")).unwrap(),
        target.config_bytes
    );
    let place = test.storage.check_location(&test.uri("p")).unwrap();
    let p = tensors::open(&folder.join("permutation.safetensors"), &place).unwrap();
    assert_eq!(
        p["fc1"].bytes(),
        HostTensor::from_i64(vec![3], &[1, 0, 2]).bytes()
    );

    // Another attempt finds it and leaves it alone.
    match begin(&test, access) {
        Begun::Standing(found) => assert_eq!(found, standing),
        Begun::Fresh(_) => panic!("the result was not recognised"),
    }
}

#[test]
fn the_same_transfer_gives_the_same_bytes() {
    let written = || {
        let test = TestStorage::on_files();
        let target = target(&test);
        let scratch = test.scratch();
        let access = Access {
            storage: &test.storage,
            scratch: &scratch,
            go_on: &|| true,
        };
        let standing = write_all(fresh(begin(&test, access)), &target);
        standing.manifest["outputs"].clone()
    };
    assert_eq!(written(), written());
}

#[test]
fn what_an_attempt_without_manifest_left_is_cleared() {
    let test = TestStorage::on_files();
    let target = target(&test);
    test.write(&format!("out/{ID}/model.safetensors"), "half");
    test.write(&format!("out/{ID}/model.safetensors.incoming-1#1"), "half");
    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    write_all(fresh(begin(&test, access)), &target);
    let folder = test.objects().join("out").join(ID.to_string());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 9);
}

/// An attempt was killed after its manifest, and others while they wrote beside it.
#[test]
fn what_attempts_left_beside_a_result_is_cleared() {
    let test = TestStorage::on_files();
    let target = target(&test);
    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    let mut writer = fresh(begin(&test, access));
    writer.adapter(&json!({}), &model()).unwrap();
    let standing = write_all(writer, &target);
    let folder = test.objects().join("out").join(ID.to_string());
    let whole = files_under(&folder);
    for left in [
        ".incoming-1",
        "adapter/.incoming-2",
        ".attempts/7/files/model.safetensors",
        "model-00001-of-00002.safetensors",
    ] {
        test.write(&format!("out/{ID}/{left}"), "half");
    }

    match begin(&test, access) {
        Begun::Standing(found) => assert_eq!(found, standing),
        Begun::Fresh(_) => panic!("the result was not recognised"),
    }
    assert_eq!(files_under(&folder), whole);
}

fn files_under(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

#[test]
fn a_manifest_that_does_not_match_its_files_is_no_result() {
    let test = TestStorage::on_files();
    let target = target(&test);
    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    write_all(fresh(begin(&test, access)), &target);
    test.write(&format!("out/{ID}/report.json"), "{}");
    write_all(fresh(begin(&test, access)), &target);
}

#[test]
fn a_discarded_result_leaves_nothing() {
    let test = TestStorage::on_files();
    let target = target(&test);
    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    let mut writer = fresh(begin(&test, access));
    writer.model(&model(), &target).unwrap();
    writer.discard().unwrap();
    assert!(!test.objects().join("out").join(ID.to_string()).exists());
}

#[test]
fn a_stop_ends_the_writing() {
    let test = TestStorage::on_files();
    let target = target(&test);
    let scratch = test.scratch();
    let stopped = Cell::new(false);
    let go_on = || !stopped.get();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &go_on,
    };
    let mut writer = fresh(begin(&test, access));
    stopped.set(true);
    assert_eq!(
        writer.model(&model(), &target).unwrap_err().code(),
        FailureCode::Stopped
    );
}

#[test]
fn a_large_model_is_sharded_and_reads_back_on_s3() {
    let files = TestStorage::on_files();
    let server = S3Server::start(files.runtime.handle());
    let roots = ["s3://bucket/models", &files.uri("")];
    let test = TestStorage::with_runtime(files.runtime, &roots, server.config.clone());
    let place = |uri: &str| test.storage.check_location(uri).unwrap();
    fs::create_dir_all(files.dir.path().join("objects/base")).unwrap();
    fs::write(files.dir.path().join("objects/base/config.json"), "{}").unwrap();
    let base = tensors::to_bytes(&model());
    fs::write(
        files.dir.path().join("objects/base/model.safetensors"),
        base,
    )
    .unwrap();
    let base = place(&format!(
        "file://{}",
        files.dir.path().join("objects/base").display()
    ));
    let target = ModelFolder::look(test.storage.blocking(), &base).unwrap();

    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    let output = place("s3://bucket/models/out/");
    let writer = fresh(ResultWriter::begin(access, &output, ID).unwrap()).with_shard_size(32);
    write_all(writer, &target);
    let written = place(&format!("s3://bucket/models/out/{ID}"));
    let again = ModelFolder::look(test.storage.blocking(), &written).unwrap();
    let names: Vec<_> = test.storage.blocking().list(&written).unwrap().files;
    assert!(
        names
            .iter()
            .any(|f| f.location.name() == "model-00002-of-00002.safetensors")
    );
    let again = again.open(&access).unwrap();
    assert_eq!(again.checkpoint.signature(), model().signature());
    assert_eq!(again.inputs.len(), 4);
}
