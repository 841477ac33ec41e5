//! What the card of a base model on a hub names as the next one.

use std::{collections::HashMap, time::Duration};

use retune::{
    config::Settings,
    service::domain::access::DEFAULT_TENANT,
    storage::{StorageConfig, TenantStorage},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::app::App;
use crate::support::{hub_server::HubServer, within};

/// A base model `llama` whose first version is of a hub.
struct Case {
    app: App,
    hub: HubServer,
    shutdown: CancellationToken,
}

impl Case {
    async fn begin(successors: Option<&str>) -> Self {
        let hub = HubServer::open().await;
        let own = TenantStorage {
            roots: Some(vec!["hf://org/".into()]),
            ..TenantStorage::default()
        };
        let mut settings = Settings::default();
        settings.arrivals.poll = Duration::from_millis(50);
        settings.arrivals.card = Duration::from_millis(50);
        let servers = StorageConfig {
            hub: hub.config(None),
            ..StorageConfig::default()
        };
        let tenants = |_: &_| HashMap::from([(DEFAULT_TENANT.0, own)]);
        let app = Box::pin(App::start_on(true, settings, servers, tenants)).await;
        let case = Self {
            app,
            hub,
            shutdown: CancellationToken::new(),
        };
        case.model("org/base", "# Base");
        let body = successors.map_or_else(|| json!({}), |one| json!({"successors": one}));
        case.app
            .put("/v1/base_models/llama", &body, &[])
            .await
            .ok(201);
        case.version("1", "hf://org/base/").await;
        case.app.look(case.shutdown.clone());
        case
    }

    fn model(&self, repository: &str, card: &str) {
        let files: [(&str, &[u8]); 3] = [
            ("README.md", card.as_bytes()),
            ("config.json", b"{}"),
            ("model.safetensors", repository.as_bytes()),
        ];
        self.hub.commit(repository, "main", &files);
    }

    async fn version(&self, version: &str, uri: &str) {
        let body = json!({"version": version, "uri": uri});
        let path = "/v1/base_models/llama/versions";
        self.app.post(path, &body, &[]).await.ok(201);
    }

    async fn arrivals(&self) -> Vec<Value> {
        let page = self.app.get("/v1/base_models/llama/arrivals").await;
        page.ok(200).json()["data"].as_array().unwrap().clone()
    }

    async fn arrival(&self, name: &str, status: &str) -> Value {
        within("the arrival is so far", async || {
            let all = self.arrivals().await;
            all.into_iter()
                .find(|one| one["version"] == name && one["status"] == status)
        })
        .await
    }

    async fn told(&self) -> usize {
        let events = self.app.registry_events().await;
        let kind = "base_model.successor.named";
        events.iter().filter(|one| *one == kind).count()
    }
}

fn naming(repository: &str) -> String {
    format!("---\nlicense: mit\nnew_version: {repository}\n---\n# A model")
}

#[tokio::test]
async fn what_a_card_names_is_proposed_once_and_registered_by_a_person() {
    let case = Case::begin(None).await;
    case.model("org/next", &naming("org/last-2"));
    case.model("org/last-2", "# The last one");
    case.model("org/base", &naming("org/next"));

    // The end of the chain; a step of it may have been seen first.
    let proposed = case.arrival("last-2", "proposed").await;
    assert_eq!(proposed["uri"], "hf://org/last-2/");
    let reason = proposed["reason"].as_str().unwrap();
    assert!(
        reason.contains("retune base-models add-version llama last-2 hf://org/last-2/"),
        "{reason}"
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(case.told().await, 1);
    let versions = case.app.get("/v1/base_models/llama/versions").await.json();
    assert_eq!(versions["data"].as_array().unwrap().len(), 1);

    case.version("2", "hf://org/last-2/").await;
    case.arrival("last-2", "registered").await;
    case.shutdown.cancel();
}

#[tokio::test]
async fn a_base_model_may_follow_or_ignore_what_its_card_names() {
    let case = Case::begin(Some("follow")).await;
    case.model("org/next", "# Next");
    case.model("org/base", &naming("org/next"));
    case.arrival("next", "registered").await;
    let version = case.app.get("/v1/base_models/llama/versions/next").await;
    let uri = version.ok(200).json()["uri"].clone();
    assert!(uri.as_str().unwrap().starts_with("hf://org/next@"), "{uri}");

    // What lies outside the roots cannot be followed, and says so.
    let propose = json!({"successors": "propose"});
    case.app
        .put("/v1/base_models/llama", &propose, &[])
        .await
        .ok(200);
    // A look that has begun knows the old policy.
    tokio::time::sleep(Duration::from_millis(300)).await;
    case.model("org/next", &naming("elsewhere/more"));
    let proposed = case.arrival("more", "proposed").await;
    let reason = proposed["reason"].as_str().unwrap();
    assert!(reason.contains("storage.roots"), "{reason}");

    let ignore = json!({"successors": "ignore"});
    case.app
        .put("/v1/base_models/llama", &ignore, &[])
        .await
        .ok(200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = case.told().await;
    case.model("org/next", &naming("org/base-3"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(case.told().await, before);
    case.shutdown.cancel();
}
