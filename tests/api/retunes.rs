//! Retunes: who is carried over, when, how often; and how people steer it.

use retune::{
    config::{Retunes, Settings},
    contract::ids::WorkerId,
    pipeline::Verdict,
    service::registry::attempts,
};
use serde_json::{Value, json};

use super::{app::App, registry::outcome};
use crate::support::LONG;

impl App {
    async fn retune(&self, landed: &Value) -> Value {
        let id = landed["retune"].as_str().expect("a retune");
        self.get(&format!("/v1/retunes/{id}")).await.ok(200).json()
    }

    pub async fn retunes(&self) -> Vec<Value> {
        let page = self.get("/v1/retunes").await.ok(200).json();
        page["data"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_version_concerns_those_who_wait_for_it_once() {
    let app = App::with_base().await;
    let retune_of = async |version: &str, content: &str| {
        app.version_of("llama", version, content)
            .await
            .ok(201)
            .json()["retune"]
            .clone()
    };
    assert_eq!(
        retune_of("1.1", "x").await,
        Value::Null,
        "nothing depends on it"
    );
    app.fine_tune("news", "propose").await.ok(201);
    app.fine_tune("mail", "propose").await.ok(201);
    let mut manual = app.fine_tune_body("propose");
    manual["policy"]["on"] = json!("manual");
    app.put("/v1/fine_tunes/quiet", &manual, &[]).await.ok(201);

    assert_eq!(
        retune_of("0.9", "old").await,
        Value::Null,
        "older than what they were tuned from"
    );
    assert_eq!(
        retune_of("2-copy", "llama 1").await,
        Value::Null,
        "their own base under another name"
    );
    assert!(retune_of("2", "two").await.is_string());
    assert_eq!(app.retunes().await[0]["counts"]["queued"], 2);
    assert_eq!(
        retune_of("3", "two").await,
        Value::Null,
        "the same bytes again"
    );
    app.version_of("llama", "2", "two").await.ok(200);
    assert_eq!(app.retunes().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_version_that_arrives_many_times_at_once_is_carried_onto_once() {
    let app = std::sync::Arc::new(App::with_base().await);
    for name in ["a", "b", "c"] {
        app.fine_tune(name, "propose").await.ok(201);
    }
    app.put_model("two", "2");
    let mut arrivals = tokio::task::JoinSet::new();
    for i in 0..12 {
        let app = app.clone();
        arrivals.spawn(async move {
            // Under two names, for what counts is the bytes.
            let body = json!({"version": format!("2.{}", i % 2), "uri": app.uri("two")});
            app.post("/v1/base_models/llama/versions", &body, &[])
                .await
                .status
                .as_u16()
        });
    }
    let statuses = arrivals.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    let retunes = app.retunes().await;
    assert_eq!(
        (retunes.len(), &retunes[0]["counts"]["queued"]),
        (1, &json!(3))
    );
}

#[tokio::test]
async fn an_alias_that_moves_takes_its_followers_along() {
    let app = App::with_base().await;
    let mut body = app.fine_tune_body("promote");
    body["policy"] = json!({"on": "alias_moved", "alias": "stable", "mode": "promote"});
    app.put("/v1/fine_tunes/news", &body, &[]).await.ok(201);
    let put = async |alias: &str, version: &str| {
        let path = format!("/v1/base_models/llama/aliases/{alias}");
        app.put(&path, &json!({"version": version}), &[]).await
    };
    put("stable", "1").await.ok(200);
    app.version("llama", "2").await.ok(201);
    put("latest", "2").await.ok(200);
    assert_eq!(
        app.retunes().await.len(),
        0,
        "neither its own base nor a foreign alias"
    );
    let moved = put("stable", "2").await.ok(200).json();
    assert_eq!(
        app.get("/v1/base_models/llama/aliases/stable")
            .await
            .ok(200)
            .json(),
        moved
    );
    put("stable", "2").await.ok(200);
    let retunes = app.retunes().await;
    assert_eq!(
        (retunes.len(), &retunes[0]["reason"]),
        (1, &json!("alias_moved"))
    );
    app.finish_next(Verdict::Published).await;
    let production = app
        .get("/v1/fine_tunes/news/aliases/production")
        .await
        .ok(200)
        .json();
    assert_eq!(production["base_version"], "2");
    // Back and forth: the result is there already.
    put("stable", "1").await.ok(200);
    put("stable", "2").await.ok(200);
    assert_eq!(app.retunes().await.len(), 1);
    assert_eq!(
        put("stable", "9").await.problem(422, "unknown_version"),
        ["/version"]
    );
    let kinds = app.registry_events().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "base_model.alias.moved")
            .count(),
        5
    );
}

#[tokio::test]
async fn who_names_no_alias_follows_every_one() {
    let app = App::with_base().await;
    let mut body = app.fine_tune_body("propose");
    body["policy"] = json!({"on": "alias_moved", "mode": "propose"});
    let put = app
        .put("/v1/fine_tunes/news", &body, &[])
        .await
        .ok(201)
        .json();
    assert_eq!(put["policy"]["alias"], Value::Null);
    for version in ["2", "3"] {
        app.version("llama", version).await.ok(201);
    }
    for (alias, version, begun) in [("latest", "2", 1), ("stable", "3", 2), ("latest", "3", 2)] {
        let path = format!("/v1/base_models/llama/aliases/{alias}");
        app.put(&path, &json!({"version": version}), &[])
            .await
            .ok(200);
        assert_eq!(app.retunes().await.len(), begun, "{alias} {version}");
    }
}

#[tokio::test]
async fn what_begins_by_itself_keeps_to_the_settings() {
    let retunes = Retunes {
        max_concurrent: 1,
        max_compute_seconds: 900,
    };
    let app = App::start(
        true,
        Settings {
            retunes,
            ..Settings::default()
        },
    )
    .await;
    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
    app.version("llama", "1").await.ok(201);
    for name in ["a", "b"] {
        app.fine_tune(name, "propose").await.ok(201);
    }
    app.version("llama", "2").await.ok(201);
    let limits = json!({"max_concurrent": 1, "max_compute_seconds": 900});
    assert_eq!(app.retunes().await[0]["limits"], limits);
    app.claim().await;
    let second = attempts::claim(&app.db.database, WorkerId::generate(), LONG)
        .await
        .unwrap();
    assert!(second.is_none(), "the other is held");
}

#[tokio::test]
async fn the_status_of_a_retune_is_that_of_its_transfers() {
    let app = App::with_base().await;
    for name in ["a", "b", "c"] {
        app.fine_tune(name, "propose").await.ok(201);
    }
    let landed = app.version("llama", "2").await.ok(201).json();
    let first = app.claim().await;
    assert_eq!(app.retune(&landed).await["status"], "running");
    attempts::hand_back(&app.db.database, &first).await.unwrap();
    app.finish_next(Verdict::Published).await;
    let failing = app.claim().await;
    let error = retune::service::domain::transfers::JobError {
        code: "wrong_shape".into(),
        detail: "no".into(),
        pointer: None,
    };
    attempts::fail(&app.db.database, &failing, &error, false, LONG)
        .await
        .unwrap();
    let last = app.claim().await;
    app.post(
        &format!("/v1/transfers/{}/cancel", last.transfer),
        &json!({}),
        &[],
    )
    .await
    .ok(200);
    assert_eq!(app.retune(&landed).await["status"], "running");
    attempts::cancelled(&app.db.database, &last).await.unwrap();
    let ended = app.retune(&landed).await;
    assert_eq!(ended["status"], "partially_succeeded");
    let counts = &ended["counts"];
    assert_eq!(
        (
            &counts["succeeded"],
            &counts["failed"],
            &counts["cancelled"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );

    // A member that is retried opens it again.
    app.post(
        &format!("/v1/transfers/{}/retry", failing.transfer),
        &json!({}),
        &[],
    )
    .await
    .ok(202);
    let open = app.retune(&landed).await;
    assert_eq!(
        (&open["status"], &open["finished_at"]),
        (&json!("running"), &Value::Null)
    );
    app.finish_next(Verdict::Published).await;
    assert_eq!(app.retune(&landed).await["counts"]["succeeded"], 2);
    let kinds = app.registry_events().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "retune.completed")
            .count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn last_transfers_that_end_at_once_end_the_retune_once() {
    let app = App::with_base().await;
    for i in 0..8 {
        app.fine_tune(&format!("f{i}"), "promote").await.ok(201);
    }
    let landed = app.version("llama", "2").await.ok(201).json();
    let mut ends = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (lease, database) = (app.claim().await, app.db.database.clone());
        ends.spawn(async move {
            let outcome = outcome(lease.transfer, Verdict::Published);
            attempts::succeed(&database, &lease, &outcome)
                .await
                .unwrap()
        });
    }
    assert_eq!(ends.join_all().await, [true; 8]);
    assert_eq!(app.retune(&landed).await["status"], "succeeded");
    let kinds = app.registry_events().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "retune.completed")
            .count(),
        1
    );
}
