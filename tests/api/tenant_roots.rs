//! A tenant with roots of its own: what it names lies there wherever it is named, and so does what its
//! jobs read.

use std::{collections::HashMap, fs, time::Duration};

use retune::{
    config::Settings,
    contract::ids::{TenantId, WorkerId},
    pipeline::Verdict,
    service::{
        database::transfers::Enqueue,
        domain::{
            access::{DEFAULT_TENANT, Role},
            fleet::Fleet,
        },
        registry::attempts,
        worker::{self, Worker},
    },
    storage::{StorageConfig, TenantStorage},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    app::{Answer, App, bearer},
    registry::outcome,
};
use crate::{
    pipeline::case::Case,
    support::{LONG, enqueue, within},
};

const VISION: TenantId = TenantId(Uuid::from_u128(7));

/// A service whose tenant `VISION` has the folder of a whole job as its only root; all others have that
/// of the service, in which the same models lie.
struct Two {
    app: App,
    case: Case,
    /// Of `VISION` and of the default tenant.
    keys: [String; 2],
}

impl Two {
    async fn begin() -> Self {
        let case = Case::fresh();
        let own = TenantStorage {
            roots: Some(vec![case.uri("")]),
            ..TenantStorage::default()
        };
        let mut settings = Settings::default();
        settings.arrivals.poll = Duration::from_millis(50);
        let tenants = |_: &_| HashMap::from([(VISION.0, own)]);
        let app = App::start_on(false, settings, StorageConfig::default(), tenants);
        let app = Box::pin(app).await;
        for name in ["old", "tuned", "new"] {
            fs::create_dir_all(app.objects.join(name)).expect("our own folder");
            for file in ["config.json", "model.safetensors"] {
                let path = case.path(name).join(file);
                fs::copy(path, app.objects.join(name).join(file)).expect("our own file");
            }
        }
        app.put_tenant(VISION).await;
        let keys = [VISION, DEFAULT_TENANT].map(|tenant| app.key_of(tenant, Role::Admin));
        let keys = futures::future::join_all(keys)
            .await
            .try_into()
            .expect("two");
        Self { app, case, keys }
    }

    async fn post(&self, who: usize, path: &str, body: &Value) -> Answer {
        self.app
            .post(path, body, &[("authorization", &bearer(&self.keys[who]))])
            .await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.app
            .put(path, body, &[("authorization", &bearer(&self.keys[0]))])
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.app
            .get_with(path, &[("authorization", &bearer(&self.keys[0]))])
            .await
    }

    /// A job of `VISION`'s, all within its root.
    fn own_spec(&self) -> Value {
        let mut spec = self.case.spec();
        spec["methods"] = json!(["identity"]);
        spec
    }

    /// A base model `llama` of `VISION`'s with a version `1`.
    async fn put_base(&self) {
        self.put("/v1/base_models/llama", &json!({})).await.ok(201);
        let body = json!({"version": "1", "uri": self.case.uri("old/")});
        self.post(0, "/v1/base_models/llama/versions", &body)
            .await
            .ok(201);
    }

    async fn execute(&self, sql: &str) {
        self.app.db.execute(sql).await;
    }
}

#[tokio::test]
async fn what_a_tenant_names_lies_in_its_own_roots() {
    let two = Two::begin().await;
    let (foreign, spec) = (two.app.uri("old/"), two.app.spec());
    let refused = |answer: Answer| answer.problem(422, "location_not_allowed");
    let all = [
        "/source/base",
        "/source/trajectory",
        "/target/base",
        "/output",
    ];
    for path in ["/v1/transfers", "/v1/transfers:plan"] {
        assert_eq!(refused(two.post(0, path, &spec).await), all, "{path}");
        // The others have the service's roots, and nothing of the tenant's.
        assert!(two.post(1, path, &spec).await.status.is_success(), "{path}");
        assert_eq!(
            refused(two.post(1, path, &two.own_spec()).await).len(),
            7,
            "{path}"
        );
        assert!(
            two.post(0, path, &two.own_spec()).await.status.is_success(),
            "{path}"
        );
    }

    two.put_base().await;
    let version = json!({"version": "2", "uri": foreign});
    let answer = two
        .post(0, "/v1/base_models/llama/versions", &version)
        .await;
    assert_eq!(refused(answer), ["/uri"]);
    let address = json!({"prefix": two.app.uri("")});
    let answer = two
        .post(0, "/v1/base_models/llama/inbound_tokens", &address)
        .await;
    assert_eq!(refused(answer), ["/prefix"]);

    let fine_tune = |trajectory: String, output: String| {
        json!({
            "base_model": "llama", "base_version": "1", "trajectory": trajectory,
            "spec": {"methods": ["identity"], "output": output},
            "policy": {"on": "new_version", "mode": "publish"},
        })
    };
    let body = fine_tune(two.app.uri("tuned/"), two.app.uri("out/"));
    assert_eq!(
        refused(two.put("/v1/fine_tunes/news", &body).await),
        ["/trajectory", "/spec/output"]
    );
    let body = fine_tune(two.case.uri("tuned/"), two.case.uri("out/"));
    two.put("/v1/fine_tunes/news", &body).await.ok(201);
    let onto = |target: &str| json!({"fine_tunes": ["news"], "targets": [target]});
    assert_eq!(
        refused(two.post(0, "/v1/retunes", &onto(&foreign)).await),
        ["/targets/0"]
    );
    two.post(0, "/v1/retunes", &onto(&two.case.uri("new/")))
        .await
        .ok(202);
}

#[tokio::test]
async fn results_outside_a_tenants_roots_are_not_read() {
    let two = Two::begin().await;
    let folder = two.app.objects.join("out");
    fs::create_dir(&folder).expect("our own folder");
    fs::write(folder.join("report.json"), "{}").expect("our own file");
    let outputs = json!([{"name": "report.json", "size": 2, "sha256": "aa"}]);
    let manifest = json!({"format": "retune-result/1", "outputs": outputs}).to_string();
    fs::write(folder.join("manifest.json"), manifest).expect("our own file");
    // As of a time when the tenant had the service's roots.
    let id = two
        .app
        .db
        .submit(Enqueue {
            tenant: VISION,
            ..enqueue()
        })
        .await
        .id;
    let lease = attempts::claim(&two.app.db.database, WorkerId::generate(), LONG)
        .await
        .unwrap()
        .unwrap();
    let mut outcome = outcome(id, Verdict::Published);
    outcome.uri = two.app.uri("out/");
    assert!(
        attempts::succeed(&two.app.db.database, &lease, &outcome)
            .await
            .unwrap()
    );
    for what in ["report", "files/report.json", "files/manifest.json"] {
        let answer = two.get(&format!("/v1/transfers/{id}/{what}")).await;
        assert_eq!(
            answer.problem(422, "location_not_allowed"),
            ["/result/uri"],
            "{what}"
        );
    }
    let session = format!("retune_key={}", two.keys[0]);
    let page = two
        .app
        .get_with(&format!("/transfers/{id}"), &[("cookie", &session)])
        .await;
    assert!(page.ok(200).text().contains("outside the allowed roots"));
}

#[tokio::test]
async fn arrivals_and_listings_keep_to_a_tenants_roots() {
    let two = Two::begin().await;
    two.put_base().await;
    let tokens = "/v1/base_models/llama/inbound_tokens";
    let body = json!({"prefix": two.case.uri(""), "poll_seconds": 30});
    let made = two.post(0, tokens, &body).await.ok(201).json();
    let inbound = format!(
        "/v1/inbound/cloudevents/{}",
        made["token"].as_str().unwrap()
    );
    let landed = |uri: String| json!({"specversion": "1.0", "data": {"uri": uri}});
    let notified = two
        .app
        .post(&inbound, &landed(two.app.uri("new/")), &[])
        .await
        .ok(202)
        .json();
    assert_eq!(
        notified["ignored"].as_array().unwrap().len(),
        1,
        "{notified}"
    );
    let notified = two
        .app
        .post(&inbound, &landed(two.case.uri("new/")), &[])
        .await
        .ok(202)
        .json();
    assert_eq!(
        notified["arrivals"].as_array().unwrap().len(),
        1,
        "{notified}"
    );

    // What was announced when the roots were others.
    let foreign = two.app.uri("");
    two.execute(&format!(
        "UPDATE arrivals SET uri = '{foreign}new/'; UPDATE inbound_tokens SET prefix = '{foreign}'"
    ))
    .await;
    two.app
        .post(&inbound, &landed(two.app.uri("new/")), &[])
        .await
        .problem(404, "not_found");
    let looking = two.app.look(two.app.shutdown.clone());
    within("the announcement has failed", async || {
        let listed = two
            .get("/v1/base_models/llama/arrivals?status=failed")
            .await
            .ok(200)
            .json();
        let reason = listed["data"][0]["reason"].as_str()?;
        reason.contains("storage.tenant_roots").then_some(())
    })
    .await;
    within("the listing has failed", async || {
        two.get(tokens)
            .await
            .ok(200)
            .text()
            .contains("storage.tenant_roots")
            .then_some(())
    })
    .await;
    two.app.shutdown.cancel();
    looking.await.expect("no panic");
    let versions = two
        .get("/v1/base_models/llama/versions")
        .await
        .ok(200)
        .json();
    assert_eq!(versions["data"].as_array().unwrap().len(), 1, "{versions}");
}

#[tokio::test]
async fn jobs_of_a_tenant_run_in_its_own_roots() {
    let two = Two::begin().await;
    let scratch = two.case.folder.path().join("scratch");
    let worker = Worker {
        id: WorkerId::generate(),
        database: two.app.db.database.clone(),
        database_url: two.app.db.url.clone(),
        storage: two.app.storage.clone(),
        scratch,
        cache: None,
        signer: None,
        settings: Settings::default().worker,
        fleet: Fleet::default(),
    };
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(worker::run(worker, shutdown.clone()));
    let ended = async |id: &str| {
        within("the transfer has ended", async || {
            let transfer = two.get(&format!("/v1/transfers/{id}")).await.ok(200).json();
            let status = transfer["status"].as_str()?.to_owned();
            ["succeeded", "failed"]
                .contains(&&*status)
                .then_some(transfer)
        })
        .await
    };
    let id = two
        .post(0, "/v1/transfers", &two.own_spec())
        .await
        .ok(202)
        .json()["id"]
        .clone();
    let done = ended(id.as_str().unwrap()).await;
    assert_eq!(done["status"], "succeeded", "{done}");
    let uri = done["result"]["uri"].as_str().unwrap();
    assert!(uri.starts_with(&two.case.uri("out/")), "{uri}");
    let report = format!("/v1/transfers/{}/report", id.as_str().unwrap());
    two.get(&report).await.ok(200);

    // What was queued when the roots were others.
    let (tenant, mut spec) = (VISION, two.own_spec());
    spec["target"]["base"] = json!(two.app.uri("new/"));
    let id = two
        .app
        .db
        .submit(Enqueue {
            tenant,
            spec,
            ..enqueue()
        })
        .await
        .id;
    let failed = ended(&id.to_string()).await;
    assert_eq!(failed["error"]["code"], "location_not_allowed", "{failed}");
    assert_eq!(failed["error"]["pointer"], "/target/base", "{failed}");
    shutdown.cancel();
    working.await.expect("no panic");
}
