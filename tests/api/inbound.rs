//! Notifications that a new base has landed, and what becomes of what they announce.

mod addresses;
mod lookers;

use std::time::Duration;

use retune::{config::Settings, service::domain::leases::RetryPolicy};
use serde_json::{Value, json};

use super::app::App;
use crate::support::within;

/// A claim that has run out as soon as it is made, as of a process that died.
const OVER: RetryPolicy = RetryPolicy {
    lease: Duration::ZERO,
    backoff: Duration::from_millis(20),
    max_wait: Duration::from_millis(20),
    give_up: Duration::from_hours(24),
};

impl App {
    /// An address for notifications about `llama/`; ends with the token.
    async fn address(&self, sender: &str) -> String {
        let body = json!({"prefix": self.uri("llama/")});
        let made = self
            .post("/v1/base_models/llama/inbound_tokens", &body, &[])
            .await
            .ok(201);
        let token = made.json()["token"].as_str().expect("a token").to_owned();
        format!("/v1/inbound/{sender}/{token}")
    }

    async fn notify(&self, address: &str, body: &Value) -> Value {
        self.post(address, body, &[]).await.ok(202).json()
    }

    /// The notification of a file, by whichever sender names plain locations.
    fn landed(&self, file: &str) -> Value {
        json!({"specversion": "1.0", "data": {"uri": self.uri(file)}})
    }

    /// Arrivals, newest first, by their versions.
    async fn arrivals(&self) -> Vec<(String, Value)> {
        let listed = self
            .get("/v1/base_models/llama/arrivals")
            .await
            .ok(200)
            .json();
        let rows = listed["data"].as_array().expect("rows").clone();
        let named = |row: Value| (row["version"].as_str().expect("a name").to_owned(), row);
        rows.into_iter().map(named).collect()
    }

    /// Waits until the arrival of a version is as wanted.
    async fn arrived(&self, version: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        within("an arrival is as it should be", async || {
            let arrival = self
                .arrivals()
                .await
                .into_iter()
                .find(|(name, _)| name == version);
            arrival.map(|(_, row)| row).filter(&wanted)
        })
        .await
    }

    async fn versions(&self) -> Vec<String> {
        let listed = self
            .get("/v1/base_models/llama/versions")
            .await
            .ok(200)
            .json();
        let rows = listed["data"].as_array().expect("rows").clone();
        rows.iter()
            .map(|row| row["version"].as_str().expect("a name").to_owned())
            .collect()
    }
}

fn is(status: &str) -> impl Fn(&Value) -> bool {
    move |arrival| arrival["status"] == *status
}

#[tokio::test]
async fn what_has_landed_becomes_a_version_and_its_dependents_are_carried_over_once() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.look(app.shutdown.clone());
    let address = app.address("cloudevents").await;
    // The first file of two: too early.
    std::fs::create_dir_all(app.objects.join("llama/2")).unwrap();
    std::fs::write(app.objects.join("llama/2/config.json"), "{}").unwrap();
    let early = app
        .notify(&address, &app.landed("llama/2/config.json"))
        .await;
    assert_eq!(early["arrivals"][0]["status"], "waiting");
    let waits = app
        .arrived("2", |arrival| !arrival["reason"].is_null())
        .await;
    assert!(
        waits["reason"]
            .as_str()
            .unwrap()
            .contains("not a whole model yet"),
        "{waits}"
    );
    app.put_model("llama/2", "weights");
    app.notify(&address, &app.landed("llama/2/model.safetensors"))
        .await;
    let arrived = app.arrived("2", is("registered")).await;
    assert_eq!(
        (&arrived["uri"], &arrived["reason"]),
        (&json!(app.uri("llama/2/")), &Value::Null)
    );
    // The same again, by the other file and by another sender.
    let again = app
        .notify(&address, &app.landed("llama/2/config.json"))
        .await;
    assert_eq!(again["arrivals"][0]["status"], "registered");
    let hub = app.address("huggingface").await;
    let pushed = json!({"event": {"action": "update"}, "repo": {"name": "meta/llama"}});
    assert_eq!(app.notify(&hub, &pushed).await["listing"], true);
    app.arrived("2", |arrival| arrival["announcements"] == 4)
        .await;
    // The same as its data alone, with the rest in headers.
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.landed"),
        ("ce-id", "7"),
    ];
    let data = json!({"uri": app.uri("llama/2/")});
    let known = app.post(&address, &data, &binary).await.ok(202).json();
    assert_eq!(known["arrivals"][0]["status"], "registered");
    // A registry that names the version itself.
    app.put_model("llama/run-7", "other weights");
    let mlflow = app.address("mlflow").await;
    let created = json!({"entity": "model_version", "action": "created",
        "data": {"name": "llama", "version": "3", "source": app.uri("llama/run-7/")}});
    app.notify(&mlflow, &created).await;
    app.arrived("3", is("registered")).await;
    assert_eq!(app.versions().await, ["3", "2", "1"]);
    assert_eq!(app.retunes().await.len(), 2);
}

#[tokio::test]
async fn shards_that_are_missing_are_waited_for() {
    let mut settings = Settings::default();
    settings.arrivals.backoff = Duration::from_millis(20);
    let app = App::start(true, settings).await;
    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
    app.look(app.shutdown.clone());
    let folder = app.objects.join("llama/2");
    std::fs::create_dir_all(&folder).unwrap();
    let index = json!({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}});
    for (name, content) in [
        ("config.json", "{}".to_owned()),
        ("model.safetensors.index.json", index.to_string()),
        ("one.safetensors", "1".to_owned()),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
    }
    app.notify(&app.address("huggingface").await, &json!({}))
        .await;
    app.arrived("2", |arrival| !arrival["reason"].is_null())
        .await;
    // Nobody says that the last has come.
    std::fs::write(folder.join("two.safetensors"), "2").unwrap();
    let arrived = app.arrived("2", is("registered")).await;
    assert_eq!(arrived["announcements"], 1);
}

#[tokio::test]
async fn what_stays_no_model_is_given_up_and_looked_at_again_when_announced_again() {
    let mut settings = Settings::default();
    settings.arrivals.backoff = Duration::from_millis(20);
    settings.arrivals.give_up = Duration::from_millis(100);
    let app = App::start(true, settings).await;
    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
    app.look(app.shutdown.clone());
    let address = app.address("cloudevents").await;
    app.notify(&address, &app.landed("llama/2/config.json"))
        .await;
    let failed = app.arrived("2", is("failed")).await;
    assert!(
        failed["reason"]
            .as_str()
            .unwrap()
            .contains("config.json is missing"),
        "{failed}"
    );
    assert_eq!(failed["next_look_at"], Value::Null);
    assert_eq!(app.registry_events().await, ["base_model.arrival.failed"]);
    app.put_model("llama/2", "weights");
    app.notify(&address, &app.landed("llama/2/config.json"))
        .await;
    app.arrived("2", is("registered")).await;
    // Another model under a name that is taken.
    app.put_model("llama/other", "other weights");
    let named = json!({"data": {"uri": app.uri("llama/other/"), "version": "2"}});
    app.notify(&address, &named).await;
    let taken = app.arrived("2", is("failed")).await;
    assert!(
        taken["reason"]
            .as_str()
            .unwrap()
            .contains("is there with the digest"),
        "{taken}"
    );
    let failed = app
        .get("/v1/base_models/llama/arrivals?status=failed")
        .await
        .ok(200)
        .json();
    assert_eq!(failed["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_folder_is_listed_from_time_to_time_without_any_notification() {
    let app = App::with_base().await;
    app.put_model("llama/2", "weights");
    app.put_model("llama/not a name", "weights");
    let place = "/v1/base_models/llama/inbound_tokens";
    for seconds in [29, 0, -1] {
        let body = json!({"prefix": app.uri("llama/"), "poll_seconds": seconds});
        let pointers = app
            .post(place, &body, &[])
            .await
            .problem(422, "invalid_body");
        assert_eq!(pointers, ["/poll_seconds"]);
    }
    app.look(app.shutdown.clone());
    let body = json!({"prefix": app.uri("llama/"), "poll_seconds": 30});
    app.post(place, &body, &[]).await.ok(201);
    app.arrived("2", is("registered")).await;
    let ignored = app.arrived("not a name", is("ignored")).await;
    assert_eq!(ignored["reason"], "its name cannot be a version's");
    let addresses = within("the listing is recorded", async || {
        let listed = app.get(place).await.ok(200).json();
        (!listed["data"][0]["listed_at"].is_null()).then_some(listed)
    })
    .await;
    let address = &addresses["data"][0];
    assert_eq!(
        (&address["poll_seconds"], &address["listing_error"]),
        (&json!(30), &Value::Null)
    );
    assert_eq!(address["token"], Value::Null, "it is shown once");
    // The next time: what is new is found, what is known is not announced again.
    app.put_model("llama/3", "newer weights");
    sqlx::query("UPDATE inbound_tokens SET listing_due_at = now()")
        .execute(&app.db.database.pool)
        .await
        .unwrap();
    sqlx::query("NOTIFY arrivals")
        .execute(&app.db.database.pool)
        .await
        .unwrap();
    app.arrived("3", is("registered")).await;
    assert_eq!(app.arrived("2", is("registered")).await["announcements"], 1);
}
