//! Attempts that overlap: a request of one is held back until another has finished, and does then what it
//! was to do. Whichever it is, the result that stands stays what its manifest says.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use retune::{
    artifacts::{
        Access, ArtifactError, Begun, Card, ModelFolder, ResultWriter,
        result::{Finished, ManifestFacts},
        tensors,
    },
    engine::tensors::{Checkpoint, HostTensor},
    pipeline::Verdict,
    storage::{Credentials, Location, S3Config, Storage, TenantStorage},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    files::TestStorage,
    gate::{Asked, Choice, Gate},
    published::is_what_its_manifest_says,
    s3_server::S3Server,
    weed::{ACCESS_KEY, SECRET_KEY, Weed},
};

/// A kind of request: what it is called, and which requests are of it.
type Kind = (&'static str, fn(&Asked) -> bool);

const ID: Uuid = Uuid::from_u128(9);
const ROOT: &str = "s3://bucket/allowed/";
/// Elements of the model: more than goes in one request.
const LARGE: usize = (17 << 20) / 4;

/// A model of which the bytes tell whose it is.
fn model(value: f32) -> Checkpoint {
    let of = |name: &str, len: usize| {
        (
            name.to_owned(),
            HostTensor::from_f32(vec![len], vec![value; len]),
        )
    };
    [of("large", LARGE), of("small", 4)].into_iter().collect()
}

/// A server, reached by one attempt directly and by the other through a gate.
struct World {
    test: TestStorage,
    config: S3Config,
    credentials: Option<Credentials>,
    target: ModelFolder,
}

impl World {
    fn new(test: TestStorage, config: S3Config) -> Self {
        test.write("base/config.json", "{ \"model_type\": \"graph\" }\n");
        test.write("base/model.safetensors", tensors::to_bytes(&model(0.0)));
        test.write("base/LICENSE", "free");
        let location = test.storage.check_location(&test.uri("base")).unwrap();
        let target = ModelFolder::look(test.storage.blocking(), &location).unwrap();
        Self {
            test,
            config,
            credentials: None,
            target,
        }
    }

    fn storage(&self, endpoint: Option<&str>) -> Storage {
        let mut config = self.config.clone();
        if let Some(endpoint) = endpoint {
            config.endpoint = Some(endpoint.to_owned());
        }
        let storage = Storage::local(config, self.test.runtime.handle().clone());
        let (tenant, credentials) = (Uuid::nil(), self.credentials.clone());
        let own = HashMap::from([(
            tenant,
            TenantStorage {
                credentials,
                ..TenantStorage::default()
            },
        )]);
        storage.with_tenants(own).unwrap().of(tenant)
    }

    fn folder(&self) -> Location {
        self.storage(None)
            .check_location(&format!("{ROOT}out/{ID}"))
            .unwrap()
    }

    /// One attempt from beginning to end, with a model of its own.
    fn attempt(
        &self,
        storage: &Storage,
        value: f32,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), ArtifactError> {
        let scratch = self.test.scratch();
        let access = Access {
            storage,
            scratch: &scratch,
            go_on,
        };
        let output = storage.check_location(&format!("{ROOT}out/"))?;
        let Begun::Fresh(mut writer) = ResultWriter::begin(access, &output, ID)? else {
            return Ok(());
        };
        let mut write = || {
            writer.model(&model(value), &self.target)?;
            writer.report(&json!({"verdict": "published", "whose": value}))?;
            writer.card(&Card::default())
        };
        if let Err(error) = write() {
            // As the pipeline does, where the lease is not lost.
            if go_on() {
                writer.discard()?;
            }
            return Err(error);
        }
        let spec = json!({});
        let facts = ManifestFacts {
            id: ID,
            spec: &spec,
            verdict: Verdict::Published,
            inputs: &[],
        };
        let finished = writer.finish(facts)?;
        assert!(matches!(finished, Finished::Own(_) | Finished::Other(_)));
        Ok(())
    }

    fn judge(&self, what: &str) {
        is_what_its_manifest_says(&self.storage(None), &self.folder(), what);
    }

    fn clear(&self) {
        let storage = self.storage(None);
        storage.blocking().delete_prefix(&self.folder()).unwrap();
    }

    /// An attempt whose chosen request is held back until another attempt has finished. What was held,
    /// if anything was. With `alert` the first notices then that its lease is lost.
    fn overlap(&self, alert: bool, choice: Choice) -> Option<Asked> {
        let upstream = self.config.endpoint.clone().unwrap();
        let gate = Gate::before(&upstream, self.test.runtime.handle(), choice);
        let (over, lost) = (AtomicBool::new(false), AtomicBool::new(false));
        let slow = self.storage(Some(&gate.endpoint));
        thread::scope(|scope| {
            scope.spawn(|| {
                let go_on = || !(alert && lost.load(Ordering::SeqCst));
                // That it fails is one of the ways in which it may end.
                let _ = self.attempt(&slow, 0.25, &go_on);
                over.store(true, Ordering::SeqCst);
            });
            let held = gate.wait(&|| over.load(Ordering::SeqCst));
            if held.is_some() {
                lost.store(true, Ordering::SeqCst);
                self.attempt(&self.storage(None), 0.5, &|| true)
                    .expect("the second attempt");
                self.judge(&format!("before the release of {held:?}"));
            }
            gate.release();
            held
        })
    }
}

/// Whatever a request writes, and whenever it arrives.
#[test]
fn no_request_that_arrives_late_changes_a_result() {
    let files = TestStorage::on_files();
    let server = S3Server::start(files.runtime.handle());
    let world = World::new(files, server.config.clone());
    let mut number = 0;
    loop {
        let before = server.unfinished_uploads();
        // It does not notice that its lease is lost: what holds then holds for one that does.
        let held = world.overlap(false, Box::new(move |asked| asked.number == number));
        world.judge(&format!("number {number}, after {held:?}"));
        // This server takes a part of an upload that has been ended, which S3 refuses.
        let is_late_part = |asked: &Asked| asked.target.contains("partNumber=");
        if !held.as_ref().is_some_and(is_late_part) {
            let left = server.unfinished_uploads();
            assert!(
                left.is_subset(&before),
                "{held:?}: {:?}",
                left.difference(&before)
            );
        }
        world.clear();
        if held.is_none() {
            break;
        }
        number += 1;
    }
    assert!(number > 15, "only {number} requests were held back");
}

/// The same on a real server: the kinds of requests that write under a last name, or delete.
#[test]
fn late_requests_on_a_real_server() {
    let files = TestStorage::on_files();
    let weed = files.runtime.block_on(Weed::start());
    let config = S3Config {
        endpoint: Some(format!("http://127.0.0.1:{}", weed.s3)),
        region: Some("us-east-1".into()),
        allow_http: true,
        ..S3Config::default()
    };
    let credentials = Credentials {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: SECRET_KEY.into(),
        session_token: None,
    };
    let world = World {
        credentials: Some(credentials),
        ..World::new(files, config)
    };
    let kinds: [Kind; 7] = [
        ("the completion", |a| {
            a.method == "POST" && a.target.contains("uploadId=")
        }),
        ("a part", |a| {
            a.method == "PUT" && a.target.contains("partNumber=")
        }),
        ("a copy", |a| a.copies),
        ("the election", |a| a.target.contains("elected-")),
        ("the manifest", |a| a.target.contains("manifest.json")),
        ("the deletion", |a| {
            a.method == "POST" && a.target.contains("?delete")
        }),
        ("the first write", |a| a.number == 0),
    ];
    for (name, kind) in kinds {
        let held = world.overlap(false, Box::new(kind));
        assert!(held.is_some(), "{name} was not held back");
        world.judge(&format!("{name}, {held:?}"));
        world.clear();
    }
}

/// One that was killed after its election is finished by the next, with its own files.
#[test]
fn who_was_elected_and_died_is_finished_by_the_next() {
    let files = TestStorage::on_files();
    let server = S3Server::start(files.runtime.handle());
    let world = World::new(files, server.config.clone());
    let storage = world.storage(None);
    let held = world.overlap(
        true,
        Box::new(|asked| asked.target.contains("uploadId=") && asked.method == "POST"),
    );
    assert!(held.is_some());
    let report = storage
        .blocking()
        .read_small(&world.folder().child("report.json").unwrap(), 999);
    let report: Value = serde_json::from_slice(&report.unwrap()).unwrap();
    assert_eq!(report["whose"], 0.25);
}
