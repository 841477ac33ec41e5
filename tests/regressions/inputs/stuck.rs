//! A computation that does not listen: a store that takes every request and answers none.

use std::time::Duration;

use retune::{
    config::Settings,
    contract::ids::WorkerId,
    service::{
        database::transfers::Enqueue,
        domain::{access::DEFAULT_TENANT, fleet::Fleet, transfers::Status},
        registry::transitions,
        worker::{self, Worker},
    },
    storage::{S3Config, Storage},
};
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::sync::CancellationToken;

use crate::support::{TestDatabase, enqueue, spec};

/// It is cancelled nevertheless within some leases, and its worker takes up the next job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_nobody_obeys_holds_neither_the_transfer_nor_the_worker() {
    let test = TestDatabase::fresh().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let config = S3Config {
        endpoint: Some(format!(
            "http://{}",
            silent.local_addr().expect("an address")
        )),
        allow_http: true,
        anonymous: true,
        ..S3Config::default()
    };
    let scratch = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::default().worker;
    settings.lease = Duration::from_secs(1);
    settings.beat = Duration::from_millis(200);
    settings.poll = Duration::from_millis(200);
    let worker = Worker {
        id: WorkerId::generate(),
        database: test.database.clone(),
        database_url: test.url.clone(),
        storage: Storage::local(config, Handle::current()),
        scratch: scratch.path().to_owned(),
        cache: None,
        signer: None,
        settings,
        fleet: Fleet::default(),
    };
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(worker::run(worker, shutdown.clone()));
    for _ in 0..2 {
        let job = Enqueue {
            spec: spec("s3://bucket/old/", "s3://bucket/new/"),
            ..enqueue()
        };
        let mut job = Enqueue {
            max_attempts: 1,
            ..job
        };
        job.spec["output"] = "s3://bucket/out/".into();
        let id = test.submit(job).await.id;
        test.until(id, |transfer| transfer.status == Status::Running)
            .await;
        transitions::request_cancel(&test.database, DEFAULT_TENANT, id)
            .await
            .expect("running");
        test.until(id, |transfer| transfer.status == Status::Cancelled)
            .await;
    }
    shutdown.cancel();
    working.await.expect("no panic");
}
