//! A result that waited for an external gate is put in its place by two attempts that overlap: a request of one is held
//! back until the other has finished. What stands then is what its manifest says, and stays so.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use retune::{
    contract::{evaluation::EvaluationRecord, spec::Spec},
    pipeline::{self, Failure, Job, Outcome, Staged},
    storage::{Storage, TenantStorage},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    pipeline::case::{Case, Silent},
    support::{
        files::TestStorage,
        gate::{Asked, Gate},
        published::is_what_its_manifest_says,
        s3_server::S3Server,
    },
};

const OUT: &str = "s3://bucket/allowed/out/";

/// A job whose inputs are files and whose result is on a server.
struct World {
    case: Case,
    test: TestStorage,
    server: S3Server,
    spec: Value,
}

impl World {
    fn new() -> Self {
        let case = Case::fresh();
        let test = TestStorage::on_files();
        let server = S3Server::start(test.runtime.handle());
        let mut spec = case.spec();
        spec["data"] = json!({"test": case.uri("test.safetensors")});
        spec["methods"] = json!(["identity"]);
        spec["gate"] = json!({"min": 0.0, "external": {"name": "judge"}});
        spec["output"] = json!(OUT);
        Self {
            case,
            test,
            server,
            spec,
        }
    }

    fn storage(&self, endpoint: Option<&str>) -> Storage {
        let mut config = self.server.config.clone();
        if let Some(endpoint) = endpoint {
            config.endpoint = Some(endpoint.to_owned());
        }
        let storage = Storage::local(config, self.test.runtime.handle().clone());
        let own = HashMap::from([(Uuid::nil(), TenantStorage::default())]);
        storage.with_tenants(own).unwrap().of(Uuid::nil())
    }

    fn job<T>(&self, id: Uuid, storage: &Storage, run: impl FnOnce(Job) -> T) -> T {
        let spec = Spec::from_json(&self.spec).expect("a sound job");
        // Each worker has its own.
        let scratch = self.case.folder.path().join(Uuid::now_v7().to_string());
        run(Job {
            id,
            spec: &spec,
            storage,
            scratch: &scratch,
            cache: None,
            memory: None,
            signer: None,
            progress: &Silent,
        })
    }

    fn conclude(&self, id: Uuid, storage: &Storage) -> Result<Outcome, Failure> {
        let said = json!({"answered": true, "name": "judge", "passed": true, "metrics": {}});
        let said: EvaluationRecord = serde_json::from_value(said).expect("an evaluation");
        self.job(id, storage, |job| pipeline::conclude(job, Some(&said)))
    }

    fn judge(&self, id: Uuid, what: &str) {
        let storage = self.storage(None);
        let folder = storage.check_location(&format!("{OUT}{id}")).unwrap();
        is_what_its_manifest_says(&storage, &folder, what);
    }

    /// Concludes once with a request held back until a second attempt has concluded; what was held.
    fn overlap(&self, id: Uuid, number: usize) -> Option<Asked> {
        let upstream = self.server.config.endpoint.clone().unwrap();
        let choice = Box::new(move |asked: &Asked| asked.number == number);
        let gate = Gate::before(&upstream, self.test.runtime.handle(), choice);
        let slow = self.storage(Some(&gate.endpoint));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // That it fails is one of the ways in which it may end.
                let _ = self.conclude(id, &slow);
                over.store(true, Ordering::SeqCst);
            });
            let held = gate.wait(&|| over.load(Ordering::SeqCst));
            if held.is_some() {
                self.conclude(id, &self.storage(None))
                    .expect("the second attempt");
                self.judge(id, &format!("before the release of {held:?}"));
            }
            gate.release();
            held
        })
    }
}

#[test]
fn no_late_request_of_a_judged_result_changes_it() {
    let world = World::new();
    let direct = world.storage(None);
    let mut number = 0;
    loop {
        let id = Uuid::now_v7();
        let staged = world.job(id, &direct, pipeline::run_to_staging);
        let Staged::Waiting(staged) = staged.expect("a sound job") else {
            panic!("its own gate passes")
        };
        let held = world.overlap(id, number);
        world.judge(id, &format!("number {number}, after {held:?}"));
        let place = direct.check_location(&staged.uri).unwrap();
        let left = direct.blocking().list(&place).unwrap();
        assert!(
            left.files.is_empty() && left.folders.is_empty(),
            "{number}: the staging place is empty"
        );
        if held.is_none() {
            break;
        }
        number += 1;
    }
    assert!(number > 10, "only {number} requests were held back");
}
