//! What becomes of a fine-tune's results: versions, aliases, promotion and rollback.

mod protection;

use retune::{pipeline::Verdict, service::registry::attempts};
use serde_json::{Value, json};

use super::app::{Answer, App};

impl App {
    async fn production(&self, fine_tune: &str) -> Answer {
        self.get(&format!("/v1/fine_tunes/{fine_tune}/aliases/production"))
            .await
    }

    async fn step(&self, version: i32, verb: &str) -> Answer {
        let path = format!("/v1/fine_tunes/news/versions/{version}/{verb}");
        self.send(super::app::request(
            axum::http::Method::POST,
            &path,
            &[],
            "".into(),
        ))
        .await
    }
}

#[tokio::test]
async fn a_new_base_becomes_a_new_production_version() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.production("news").await.problem(404, "not_found");
    let landed = app.version("llama", "2").await.ok(201).json();
    let path = format!("/v1/retunes/{}", landed["retune"].as_str().unwrap());
    let queued = app.get(&path).await.ok(200);
    assert_eq!(queued.json()["status"], "queued");
    assert_eq!(queued.json()["counts"]["queued"], 1);
    assert_eq!(queued.json()["base_version"], "2");
    app.get_with(&path, &[("if-none-match", queued.header("etag"))])
        .await
        .ok(304);

    let members = format!(
        "/v1/transfers?retune={}",
        landed["retune"].as_str().unwrap()
    );
    let members = app.get(&members).await.ok(200).json();
    let transfer = &members["data"][0];
    assert_eq!(
        (&transfer["fine_tune"], &transfer["retune"]),
        (&json!("news"), &landed["retune"])
    );
    let spec = &transfer["spec"];
    assert_eq!(spec["source"]["base"], json!(app.uri("llama-1-llama-1/")));
    assert_eq!(spec["source"]["trajectory"], json!(app.uri("tuned/")));
    assert_eq!(spec["target"]["base"], landed["uri"]);
    assert_eq!(spec["options"]["timesteps"], 10, "defaults are written out");

    let id = app.finish_next(Verdict::Published).await;
    let production = app.production("news").await.ok(200);
    let version = production.json();
    assert_eq!(
        (&version["version"], &version["state"]),
        (&json!(1), &json!("published"))
    );
    assert_eq!(version["uri"], json!(format!("file:///out/{id}/")));
    assert_eq!(
        (&version["transfer"], &version["base_version"]),
        (&json!(id), &json!("2"))
    );
    assert_eq!(
        (&version["method"], &version["parent"]),
        (&json!("identity"), &Value::Null)
    );
    let known = [("if-none-match", production.header("etag"))];
    app.get_with("/v1/fine_tunes/news/aliases/production", &known)
        .await
        .ok(304);
    let ended = app.get(&path).await.json();
    assert_eq!(
        (&ended["status"], &ended["counts"]["succeeded"]),
        (&json!("succeeded"), &json!(1))
    );
    assert!(ended["started_at"].is_string() && ended["finished_at"].is_string());
    assert_eq!(
        app.get("/v1/fine_tunes/news").await.json()["aliases"],
        json!({"production": 1})
    );
    assert_eq!(
        app.registry_events().await,
        [
            "base_model.version.created",
            "base_model.version.created",
            "retune.created",
            "fine_tune.version.created",
            "fine_tune.version.promoted",
            "retune.completed"
        ]
    );
}

#[tokio::test]
async fn a_result_goes_as_far_as_its_policy_and_its_gate_let_it() {
    let app = App::with_base().await;
    for mode in ["propose", "publish", "promote"] {
        app.fine_tune(mode, mode).await.ok(201);
    }
    app.version("llama", "2").await.ok(201);
    for _ in 0..3 {
        app.finish_next(Verdict::Published).await;
    }
    app.version("llama", "3").await.ok(201);
    for _ in 0..3 {
        app.finish_next(Verdict::Rejected).await;
    }
    let state = async |name: &str, version: i32| {
        app.get(&format!("/v1/fine_tunes/{name}/versions/{version}"))
            .await
            .ok(200)
            .json()["state"]
            .clone()
    };
    assert_eq!(state("propose", 1).await, "proposed");
    assert_eq!(state("publish", 1).await, "published");
    assert_eq!(state("promote", 1).await, "published");
    for name in ["propose", "publish"] {
        app.production(name).await.problem(404, "not_found");
    }
    assert_eq!(app.production("promote").await.ok(200).json()["version"], 1);
    for name in ["propose", "publish", "promote"] {
        assert_eq!(state(name, 2).await, "rejected");
        for verb in ["promote", "rollback"] {
            let path = format!("/v1/fine_tunes/{name}/versions/2/{verb}");
            app.post(&path, &json!({}), &[])
                .await
                .problem(409, "version_rejected");
        }
    }
    // A person takes the proposal.
    app.post("/v1/fine_tunes/propose/versions/1/promote", &json!({}), &[])
        .await
        .ok(200);
    assert_eq!(state("propose", 1).await, "published");
    assert_eq!(app.production("propose").await.ok(200).json()["version"], 1);
    let rejected = app.get("/v1/retunes").await.json();
    assert_eq!(
        rejected["data"][0]["status"], "succeeded",
        "a verdict is a result"
    );
}

#[tokio::test]
async fn aliases_are_moved_and_rolled_back_by_hand() {
    let app = App::with_base().await;
    app.fine_tune("news", "publish").await.ok(201);
    for version in ["2", "3", "4"] {
        app.version("llama", version).await.ok(201);
        app.finish_next(Verdict::Published).await;
    }
    let versions = app
        .get("/v1/fine_tunes/news/versions?limit=2")
        .await
        .ok(200)
        .json();
    assert_eq!(
        (
            &versions["data"][0]["version"],
            &versions["data"][0]["parent"]
        ),
        (&json!(3), &json!(2))
    );
    assert!(versions["next"].is_string());
    app.step(1, "rollback").await.problem(409, "not_current");
    app.step(1, "promote").await.ok(200);
    app.step(1, "rollback").await.problem(409, "nothing_before");
    app.step(2, "promote").await.ok(200);
    app.step(2, "promote").await.ok(200);
    assert_eq!(app.step(3, "promote").await.ok(200).json()["version"], 3);
    app.step(1, "rollback").await.problem(409, "not_current");
    // Back as far as it went forward.
    assert_eq!(app.step(3, "rollback").await.ok(200).json()["version"], 2);
    assert_eq!(app.step(2, "rollback").await.ok(200).json()["version"], 1);
    app.step(1, "rollback").await.problem(409, "nothing_before");
    assert_eq!(app.production("news").await.ok(200).json()["version"], 1);

    let canary = json!({"alias": "canary"});
    let path = "/v1/fine_tunes/news/versions/3/promote";
    assert_eq!(
        app.post(path, &canary, &[]).await.ok(200).json()["alias"],
        "canary"
    );
    assert_eq!(app.production("news").await.json()["version"], 1);
    let aliases = json!({"production": 1, "canary": 3});
    assert_eq!(
        app.get("/v1/fine_tunes/news").await.json()["aliases"],
        aliases
    );
    let bad = app.post(path, &json!({"alias": "a/b"}), &[]).await;
    assert_eq!(bad.problem(422, "invalid_body"), ["/alias"]);
    for version in ["9", "x", "99999999999"] {
        let path = format!("/v1/fine_tunes/news/versions/{version}");
        app.get(&path).await.problem(404, "not_found");
        app.post(&format!("{path}/promote"), &json!({}), &[])
            .await
            .problem(404, "not_found");
    }
    let moved = app.registry_events().await;
    assert_eq!(
        moved
            .iter()
            .filter(|kind| *kind == "fine_tune.version.promoted")
            .count(),
        4
    );
    assert_eq!(
        moved
            .iter()
            .filter(|kind| *kind == "fine_tune.version.rolled_back")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_late_result_for_an_older_base_does_not_move_production_back() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.version("llama", "2").await.ok(201);
    let late = app.claim().await;
    app.version("llama", "3").await.ok(201);
    app.finish_next(Verdict::Published).await;
    let outcome = super::registry::outcome(late.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &late, &outcome)
            .await
            .unwrap()
    );
    let production = app.production("news").await.ok(200).json();
    assert_eq!(
        (&production["version"], &production["base_version"]),
        (&json!(1), &json!("3"))
    );
    let late = app
        .get("/v1/fine_tunes/news/versions/2")
        .await
        .ok(200)
        .json();
    assert_eq!(
        (&late["state"], &late["base_version"]),
        (&json!("published"), &json!("2"))
    );
}

#[tokio::test]
async fn what_was_made_of_a_replaced_trajectory_waits_for_a_person() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.version("llama", "2").await.ok(201);
    let mut body = app.fine_tune_body("promote");
    body["trajectory"] = json!(app.uri("tuned-better/"));
    app.put("/v1/fine_tunes/news", &body, &[]).await.ok(200);
    app.finish_next(Verdict::Published).await;
    app.production("news").await.problem(404, "not_found");
    let made = app
        .get("/v1/fine_tunes/news/versions/1")
        .await
        .ok(200)
        .json();
    assert_eq!(made["trajectory"], json!(app.uri("tuned/")));
}
