//! Notifications that a new base has landed.

use retune::service::access::Role;
use serde_json::{Value, json};

use super::app::{App, bearer};

impl App {
    /// An address for notifications about `llama/`; ends with the token.
    async fn address(&self, sender: &str) -> String {
        let body = json!({"prefix": self.uri("llama/")});
        let made = self.post("/v1/base_models/llama/inbound_tokens", &body, &[]).await.ok(201);
        let token = made.json()["token"].as_str().expect("a token").to_owned();
        format!("/v1/inbound/{sender}/{token}")
    }

    async fn notify(&self, address: &str, body: &Value) -> Value {
        self.post(address, body, &[]).await.ok(202).json()
    }

    async fn versions(&self) -> Vec<String> {
        let listed = self.get("/v1/base_models/llama/versions").await.ok(200).json();
        let rows = listed["data"].as_array().expect("rows").clone();
        rows.iter().map(|row| row["version"].as_str().expect("a name").to_owned()).collect()
    }
}

#[tokio::test]
async fn what_has_landed_becomes_a_version_and_its_dependents_are_carried_over_once() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    let address = app.address("cloudevents").await;
    let event = |file: &str| json!({"specversion": "1.0", "data": {"uri": app.uri(file)}});
    // The first file of two: too early.
    std::fs::create_dir_all(app.objects.join("llama/2")).unwrap();
    std::fs::write(app.objects.join("llama/2/config.json"), "{}").unwrap();
    let early = app.notify(&address, &event("llama/2/config.json")).await;
    assert!(early["ignored"][0]["reason"].as_str().unwrap().contains("not a whole model yet"));
    app.put_model("llama/2", "weights");
    let whole = app.notify(&address, &event("llama/2/model.safetensors")).await;
    assert_eq!(whole, json!({"registered": ["2"], "known": [], "ignored": []}));
    // The same again, by the other file and by another sender.
    assert_eq!(app.notify(&address, &event("llama/2/config.json")).await["known"], json!(["2"]));
    let hub = app.address("huggingface").await;
    let pushed = json!({"event": {"action": "update"}, "repo": {"name": "meta/llama"}});
    assert_eq!(app.notify(&hub, &pushed).await["known"], json!(["2"]));
    assert_eq!(app.versions().await, ["2", "1"]);
    let retunes = app.get("/v1/retunes").await.ok(200).json();
    assert_eq!(retunes["data"].as_array().map(Vec::len), Some(1), "{retunes}");
    // A registry that names the version itself.
    app.put_model("llama/run-7", "other weights");
    let mlflow = app.address("mlflow").await;
    let created = json!({"entity": "model_version", "action": "created",
        "data": {"name": "llama", "version": "3", "source": app.uri("llama/run-7/")}});
    assert_eq!(app.notify(&mlflow, &created).await["registered"], json!(["3"]));
}

#[tokio::test]
async fn shards_that_are_missing_are_waited_for() {
    let app = App::with_base().await;
    let address = app.address("huggingface").await;
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
    let early = app.notify(&address, &json!({})).await;
    assert_eq!(early["registered"], json!([]), "{early}");
    std::fs::write(folder.join("two.safetensors"), "2").unwrap();
    assert_eq!(app.notify(&address, &json!({})).await["registered"], json!(["2"]));
}

#[tokio::test]
async fn nothing_outside_the_folder_is_looked_at_and_a_token_opens_nothing_else() {
    let app = App::with_base().await;
    app.put_model("mistral/2", "weights");
    let address = app.address("cloudevents").await;
    for outside in
        [app.uri("mistral/2/config.json"), app.uri("llama/"), "file:///etc/passwd".into()]
    {
        let answer = app.notify(&address, &json!({"data": {"uri": outside}})).await;
        assert_eq!(answer["registered"], json!([]), "{answer}");
        assert_eq!(answer["ignored"].as_array().map(Vec::len), Some(1), "{answer}");
    }
    let nothing = app.notify(&address, &json!({"type": "test"})).await;
    assert_eq!(nothing, json!({"registered": [], "known": [], "ignored": []}));
    assert_eq!(app.versions().await, ["1"]);
    for wrong in [
        "/v1/inbound/cloudevents/none".to_owned(),
        format!("/v1/inbound/cloudevents/rt_{}_{}", "0".repeat(12), "0".repeat(64)),
        address.replace("cloudevents", "pigeon"),
    ] {
        app.post(&wrong, &json!({}), &[]).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn addresses_are_made_by_administrators_and_withdrawn() {
    let app = App::closed().await;
    let (admin, reader) =
        (bearer(&app.key(Role::Admin).await), bearer(&app.key(Role::Submit).await));
    let as_admin = [("authorization", admin.as_str())];
    app.put("/v1/base_models/llama", &json!({}), &as_admin).await.ok(201);
    let place = "/v1/base_models/llama/inbound_tokens";
    let body = json!({"prefix": app.uri("llama/")});
    app.post(place, &body, &[("authorization", &reader)]).await.problem(403, "forbidden");
    app.post(place, &json!({"prefix": "file:///etc/"}), &as_admin)
        .await
        .problem(422, "location_not_allowed");
    let made = app.post(place, &body, &as_admin).await.ok(201).json();
    let address = format!("/v1/inbound/s3/{}", made["token"].as_str().unwrap());
    app.post(&address, &json!({}), &[]).await.ok(202);
    let own = format!("{place}/{}", made["id"].as_str().unwrap());
    app.delete(&own, &as_admin).await.ok(204);
    app.delete(&own, &as_admin).await.problem(404, "not_found");
    app.post(&address, &json!({}), &[]).await.problem(404, "not_found");
}
