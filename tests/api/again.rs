//! What failed or was cancelled is history: the next occasion carries a fine-tune over again, once.

use retune::{
    contract::ids::TransferId,
    pipeline::Verdict,
    service::{domain::transfers::JobError, registry::attempts},
};
use serde_json::{Value, json};

use super::{
    app::{Answer, App},
    registry::outcome,
};
use crate::support::LONG;

impl App {
    async fn onto(&self, version: &str) -> Answer {
        let wish = json!({"base_model": "llama", "version": version, "fine_tunes": ["news"]});
        self.post("/v1/retunes", &wish, &[]).await
    }

    async fn act(&self, transfer: TransferId, verb: &str) -> Answer {
        self.post(&format!("/v1/transfers/{transfer}/{verb}"), &json!({}), &[])
            .await
    }

    async fn fail_next(&self) -> TransferId {
        let lease = self.claim().await;
        let error = JobError {
            code: "x".into(),
            detail: "y".into(),
            pointer: None,
        };
        attempts::fail(&self.db.database, &lease, &error, false, LONG)
            .await
            .unwrap();
        lease.transfer
    }

    async fn transfers_of(&self, retune: &Value) -> Vec<Value> {
        let id = retune.as_str().expect("a retune");
        let page = self
            .get(&format!("/v1/transfers?retune={id}"))
            .await
            .ok(200)
            .json();
        page["data"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn what_was_cancelled_is_carried_over_by_the_next_occasion_as_the_fine_tune_is_now() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    let first = app.version("llama", "2").await.ok(201).json()["retune"].clone();
    let old: TransferId = app.transfers_of(&first).await[0]["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    app.onto("2").await.problem(409, "nothing_to_do");
    app.act(old, "cancel").await.ok(200);

    let mut body = app.fine_tune_body("promote");
    body["trajectory"] = json!(app.uri("tuned-better/"));
    app.put("/v1/fine_tunes/news", &body, &[]).await.ok(200);
    let again = app.onto("2").await.ok(202).json()["id"].clone();
    let transfer = &app.transfers_of(&again).await[0];
    assert_eq!(transfer["spec"]["source"]["trajectory"], body["trajectory"]);
    assert_eq!(
        app.transfers_of(&first).await[0]["status"],
        "cancelled",
        "it is history"
    );

    // Its place is taken while the other lives, and when that has succeeded.
    app.act(old, "retry").await.problem(409, "carried_already");
    let id = app.finish_next(Verdict::Published).await;
    assert_eq!(json!(id), transfer["id"]);
    app.act(old, "retry").await.problem(409, "carried_already");
    app.onto("2").await.problem(409, "nothing_to_do");
    let production = app
        .get("/v1/fine_tunes/news/aliases/production")
        .await
        .ok(200)
        .json();
    assert_eq!(production["transfer"], json!(id));
}

#[tokio::test]
async fn what_failed_is_carried_over_when_the_same_bytes_come_again() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.version_of("llama", "2", "two").await.ok(201);
    let failed = app.fail_next().await;
    let copy = app.version_of("llama", "3", "two").await.ok(201).json()["retune"].clone();
    assert_eq!(app.transfers_of(&copy).await.len(), 1);
    // Should that fail too, the first may be tried again.
    app.fail_next().await;
    app.act(failed, "retry").await.ok(202);
    assert_eq!(app.finish_next(Verdict::Published).await, failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_retries_and_occasions_at_the_same_moment_one_is_done() {
    let app = std::sync::Arc::new(App::with_base().await);
    app.fine_tune("news", "promote").await.ok(201);
    app.version("llama", "2").await.ok(201);
    let mut dead = vec![app.fail_next().await];
    for _ in 0..3 {
        app.onto("2").await.ok(202);
        dead.push(app.fail_next().await);
    }
    let mut asked = tokio::task::JoinSet::new();
    for transfer in dead {
        let (one, other) = (app.clone(), app.clone());
        asked.spawn(async move { one.act(transfer, "retry").await.status.as_u16() });
        asked.spawn(async move { other.onto("2").await.status.as_u16() });
    }
    let answers = asked.join_all().await;
    assert_eq!(
        answers.iter().filter(|status| **status == 202).count(),
        1,
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|status| matches!(status, 202 | 409)),
        "{answers:?}"
    );
    let lease = app.claim().await;
    assert!(app.nothing_to_claim().await);
    let done = outcome(lease.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &lease, &done)
            .await
            .unwrap()
    );
}
