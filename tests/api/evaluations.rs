//! A result that waits for the judgement of another program.

use retune::{
    contract::{ids::TransferId, spec::ExternalGate},
    pipeline::Verdict,
    service::{
        domain::access::{DEFAULT_TENANT, Role},
        registry::{attempts, evaluations, transitions},
    },
};
use serde_json::{Value, json};

use super::{
    app::{Answer, App, bearer},
    registry::outcome,
};

impl App {
    /// A transfer with an external gate whose result is staged.
    async fn staged(&self) -> TransferId {
        let mut spec = self.spec();
        spec["gate"] = json!({"external": {"name": "lm-eval", "deadline_hours": 2}});
        self.post("/v1/transfers", &spec, &[]).await.ok(202);
        self.stage_next().await
    }

    /// Claims the next transfer and stages its result.
    async fn stage_next(&self) -> TransferId {
        let lease = self.claim().await;
        let staged = outcome(lease.transfer, Verdict::Published);
        let gate = ExternalGate {
            name: "lm-eval".into(),
            deadline_hours: 2.0,
        };
        assert!(
            evaluations::wait(&self.db.database, &lease, &staged, &gate)
                .await
                .unwrap()
        );
        lease.transfer
    }

    async fn evaluate(&self, id: TransferId, evaluation: &Value) -> Answer {
        self.post(&format!("/v1/transfers/{id}/evaluations"), evaluation, &[])
            .await
    }

    async fn shown(&self, id: TransferId) -> Value {
        self.get(&format!("/v1/transfers/{id}"))
            .await
            .ok(200)
            .json()
    }

    /// Makes every deadline past, and has the sweep see it.
    async fn let_deadlines_pass(&self) -> usize {
        sqlx::query("UPDATE transfers SET evaluation_deadline = now() - interval '1 second'")
            .execute(&self.db.database.pool)
            .await
            .unwrap();
        evaluations::expire(&self.db.database).await.unwrap()
    }
}

fn passed() -> Value {
    json!({"name": "lm-eval", "passed": true, "metrics": {"mmlu": 0.5, "tasks": 100}, "url": "https://ci.example.org/7"})
}

#[tokio::test]
async fn an_evaluation_ends_the_wait_and_a_worker_does_the_rest() {
    let app = App::open().await;
    let id = app.staged().await;
    let waiting = app.shown(id).await;
    assert_eq!(
        (&waiting["status"], &waiting["verdict"]),
        (&json!("awaiting_evaluation"), &Value::Null)
    );
    assert!(
        waiting["evaluation"]["staged_uri"]
            .as_str()
            .unwrap()
            .contains(&id.to_string())
    );
    assert_eq!(waiting["evaluation"]["answer"], Value::Null);
    assert!(
        app.nothing_to_claim().await,
        "nobody computes while it waits"
    );
    assert_eq!(
        app.db.event_kinds(id).await.last().unwrap(),
        "transfer.awaiting_evaluation"
    );

    let answered = app.evaluate(id, &passed()).await.ok(202).json();
    assert_eq!(
        (&answered["status"], &answered["attempt"]),
        (&json!("queued"), &json!(0))
    );
    let lease = app.claim().await;
    assert_eq!(lease.evaluation.as_ref().unwrap()["passed"], true);
    let done = outcome(id, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &lease, &done)
            .await
            .unwrap()
    );
    let ended = app.shown(id).await;
    assert_eq!(
        (&ended["status"], &ended["verdict"]),
        (&json!("succeeded"), &json!("published"))
    );
    assert_eq!(ended["evaluation"]["staged_uri"], Value::Null);
    assert_eq!(
        ended["evaluation"]["answer"]["metrics"],
        json!({"mmlu": 0.5, "tasks": 100})
    );
}

#[tokio::test]
async fn only_the_first_evaluation_counts_and_the_same_again_is_the_same() {
    let app = App::open().await;
    let id = app.staged().await;
    let first = app.evaluate(id, &passed()).await.ok(202).json();
    let again = app.evaluate(id, &passed()).await.ok(202).json();
    assert_eq!(first, again);
    let other = json!({"name": "lm-eval", "passed": false});
    app.evaluate(id, &other)
        .await
        .problem(409, "already_evaluated");
    // One number in two forms is the same.
    let text = r#"{"name": "lm-eval", "passed": true, "metrics": {"mmlu": 5e-1, "tasks": 1e2},
        "url": "https://ci.example.org/7"}"#;
    let same = serde_json::from_str(text).unwrap();
    app.evaluate(id, &same).await.ok(202);
    app.finish_next(Verdict::Published).await;
    app.evaluate(id, &passed()).await.ok(202);
    app.evaluate(id, &other)
        .await
        .problem(409, "already_evaluated");
}

#[tokio::test]
async fn what_is_no_evaluation_of_this_gate_is_refused() {
    let app = App::open().await;
    let without = app.db.queued(1).await.id;
    app.evaluate(without, &passed())
        .await
        .problem(409, "invalid_state");
    app.finish_next(Verdict::Published).await;
    let id = app.staged().await;
    let other = json!({"name": "other", "passed": true});
    assert_eq!(
        app.evaluate(id, &other).await.problem(422, "invalid_body"),
        ["/name"]
    );
    let bad = json!({"name": "lm-eval", "passed": true, "url": "file:///etc/passwd"});
    assert_eq!(
        app.evaluate(id, &bad).await.problem(422, "invalid_body"),
        ["/url"]
    );
    app.evaluate(TransferId::generate(), &passed())
        .await
        .problem(404, "not_found");

    let app = App::closed().await;
    let reader = bearer(&app.key(Role::Read).await);
    let path = format!("/v1/transfers/{id}/evaluations");
    let refused = app
        .post(&path, &passed(), &[("authorization", &reader)])
        .await;
    refused.problem(403, "forbidden");
}

#[tokio::test]
async fn silence_until_the_deadline_rejects() {
    let app = App::open().await;
    let id = app.staged().await;
    assert_eq!(
        evaluations::expire(&app.db.database).await.unwrap(),
        0,
        "not yet"
    );
    assert_eq!(app.let_deadlines_pass().await, 1);
    let overdue = app.shown(id).await;
    let silence = json!({"answered": false, "name": "lm-eval", "passed": false});
    assert_eq!(
        (&overdue["status"], &overdue["evaluation"]["answer"]),
        (&json!("queued"), &silence)
    );
    app.evaluate(id, &passed())
        .await
        .problem(409, "already_evaluated");
    let last = app
        .get(&format!("/v1/transfers/{id}/events"))
        .await
        .ok(200)
        .json();
    let last = last["data"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["kind"], &last["level"]),
        (&json!("transfer.queued"), &json!("warning"))
    );
    assert_eq!(app.let_deadlines_pass().await, 0, "once");
}

#[tokio::test]
async fn a_wait_can_be_cancelled_and_a_retry_begins_from_the_start() {
    let app = App::open().await;
    let id = app.staged().await;
    let cancelled = app
        .post(&format!("/v1/transfers/{id}/cancel"), &json!({}), &[])
        .await
        .ok(200);
    assert_eq!(cancelled.json()["status"], "cancelled");
    app.evaluate(id, &passed())
        .await
        .problem(409, "invalid_state");
    assert_eq!(app.let_deadlines_pass().await, 0);
    let again = app
        .post(&format!("/v1/transfers/{id}/retry"), &json!({}), &[])
        .await
        .ok(202);
    assert_eq!(again.json().get("evaluation"), None);
    assert_eq!(app.stage_next().await, id);
    app.evaluate(id, &passed()).await.ok(202);
}

#[tokio::test]
async fn a_wish_to_cancel_that_comes_before_the_stage_is_obeyed() {
    let app = App::open().await;
    app.db.queued(1).await;
    let lease = app.claim().await;
    transitions::request_cancel(&app.db.database, DEFAULT_TENANT, lease.transfer)
        .await
        .unwrap();
    let gate = ExternalGate {
        name: "x".into(),
        deadline_hours: 1.0,
    };
    let staged = outcome(lease.transfer, Verdict::Published);
    assert!(
        evaluations::wait(&app.db.database, &lease, &staged, &gate)
            .await
            .unwrap()
    );
    assert_eq!(app.shown(lease.transfer).await["status"], "cancelled");
    assert!(
        !evaluations::wait(&app.db.database, &lease, &staged, &gate)
            .await
            .unwrap(),
        "lost"
    );
}

#[tokio::test]
async fn a_retune_goes_on_while_one_of_its_transfers_waits() {
    let app = App::with_base().await;
    let mut body = app.fine_tune_body("promote");
    body["spec"]["gate"] = json!({"external": {"name": "lm-eval"}});
    for name in ["a", "b"] {
        app.put(&format!("/v1/fine_tunes/{name}"), &body, &[])
            .await
            .ok(201);
    }
    let landed = app.version("llama", "2").await.ok(201).json();
    let path = format!("/v1/retunes/{}", landed["retune"].as_str().unwrap());
    let (first, second) = (app.stage_next().await, app.stage_next().await);
    let retune = app.get(&path).await.ok(200).json();
    assert_eq!(
        (&retune["status"], &retune["counts"]["awaiting_evaluation"]),
        (&json!("running"), &json!(2))
    );
    // A newer version supersedes what waits in the queue, and not what has computed already.
    app.evaluate(first, &passed()).await.ok(202);
    app.version("llama", "3").await.ok(201);
    assert_eq!(app.shown(first).await["status"], "queued");
    app.post(&format!("{path}/cancel"), &json!({}), &[])
        .await
        .ok(200);
    for id in [first, second] {
        assert_eq!(app.shown(id).await["status"], "cancelled");
    }
    assert_eq!(app.get(&path).await.ok(200).json()["status"], "cancelled");
}
