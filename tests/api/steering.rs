//! How people and limits steer retunes: pause, resume, cancel, by hand; and what a newer base makes
//! superfluous.

use std::time::Duration;

use retune::{
    contract::ids::{TransferId, WorkerId},
    pipeline::Verdict,
    service::{domain::leases::RetryPolicy, registry::attempts},
};
use serde_json::{Value, json};

use super::{app::App, registry::outcome};
use crate::support::{LONG, OVER};

impl App {
    /// With fine-tunes of these names, of mode `promote`.
    async fn with_fine_tunes(names: &[&str]) -> Self {
        // Everything that a test holds is in its future.
        let app = Box::pin(Self::with_base()).await;
        for name in names {
            app.fine_tune(name, "promote").await.ok(201);
        }
        app
    }

    /// The path of the retune that the version makes.
    async fn retune_onto(&self, version: &str) -> String {
        let landed = self.version("llama", version).await.ok(201).json();
        format!(
            "/v1/retunes/{}",
            landed["retune"].as_str().expect("a retune")
        )
    }

    async fn verb(&self, path: &str, verb: &str) -> Value {
        self.post(&format!("{path}/{verb}"), &json!({}), &[])
            .await
            .ok(200)
            .json()
    }

    async fn status(&self, path: &str) -> Value {
        self.get(path).await.ok(200).json()["status"].clone()
    }

    async fn cancel_reasons(&self, transfer: TransferId) -> Vec<Value> {
        let events = self
            .get(&format!("/v1/transfers/{transfer}/events"))
            .await
            .ok(200)
            .json();
        let cancelled = |event: &&Value| event["kind"] == "transfer.cancelled";
        let events = events["data"].as_array().unwrap();
        events
            .iter()
            .filter(cancelled)
            .map(|event| event["data"]["reason"].clone())
            .collect()
    }
}

#[tokio::test]
async fn a_paused_retune_begins_nothing_and_what_runs_goes_on() {
    let app = App::with_fine_tunes(&["a", "b", "c"]).await;
    let path = app.retune_onto("2").await;
    let running = app.claim().await;
    let dying = attempts::claim(&app.db.database, WorkerId::generate(), OVER)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(app.verb(&path, "pause").await["status"], "paused");
    assert_eq!(app.verb(&path, "pause").await["status"], "paused");
    assert!(
        app.nothing_to_claim().await,
        "not even one whose worker died"
    );
    attempts::sweep(&app.db.database, LONG).await.unwrap();
    assert!(app.nothing_to_claim().await);
    let done = outcome(running.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &running, &done)
            .await
            .unwrap()
    );
    assert_eq!(app.status(&path).await, "paused");
    // A job of another kind is not concerned.
    let other = app.db.queued(1).await.id;
    assert_eq!(app.claim().await.transfer, other);

    assert_eq!(app.verb(&path, "resume").await["status"], "running");
    let rest = [
        app.finish_next(Verdict::Published).await,
        app.finish_next(Verdict::Published).await,
    ];
    assert!(rest.contains(&dying.transfer));
    assert_eq!(app.status(&path).await, "succeeded");
    for verb in ["pause", "resume", "cancel"] {
        app.post(&format!("{path}/{verb}"), &json!({}), &[])
            .await
            .problem(409, "invalid_state");
    }
}

#[tokio::test]
async fn a_cancelled_retune_ends_with_what_still_ran() {
    let app = App::with_fine_tunes(&["a", "b"]).await;
    let path = app.retune_onto("2").await;
    let running = app.claim().await;
    let asked = app.verb(&path, "cancel").await;
    assert_eq!(
        (&asked["status"], &asked["counts"]["cancelling"]),
        (&json!("running"), &json!(1))
    );
    assert!(app.nothing_to_claim().await);
    assert!(
        attempts::cancelled(&app.db.database, &running)
            .await
            .unwrap()
    );
    assert_eq!(app.status(&path).await, "cancelled");
    let cancelled = app
        .get("/v1/retunes?status=cancelled&base_model=llama")
        .await
        .ok(200)
        .json();
    assert_eq!(cancelled["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        app.get("/v1/retunes?status=failed").await.json()["data"],
        json!([])
    );
    let refused = app.get("/v1/retunes?status=over").await;
    assert_eq!(refused.problem(422, "invalid_query"), ["/status"]);
}

#[tokio::test]
async fn a_newer_version_supersedes_what_waits_for_an_older_one() {
    let app = App::with_fine_tunes(&["a", "b"]).await;
    let older = app.retune_onto("2").await;
    let running = app.claim().await;
    let newer = app.retune_onto("3").await;
    let counts = app.get(&older).await.json()["counts"].clone();
    assert_eq!(
        (&counts["running"], &counts["cancelled"]),
        (&json!(1), &json!(1))
    );
    // What arrives late is older, and supersedes nothing.
    let late = app.retune_onto("2.5").await;
    assert_eq!(app.get(&newer).await.json()["counts"]["queued"], 2);
    assert_eq!(app.get(&late).await.json()["counts"]["queued"], 2);
    let done = outcome(running.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &running, &done)
            .await
            .unwrap()
    );
    assert_eq!(app.status(&older).await, "partially_succeeded");
    let all = app.retune_onto("4").await;
    for path in [&newer, &late] {
        assert_eq!(
            app.status(path).await,
            "cancelled",
            "all of its transfers were superseded"
        );
    }
    let members = format!("/v1/transfers?retune={}", newer.rsplit('/').next().unwrap());
    let members = app.get(&members).await.json();
    let one: TransferId = members["data"][0]["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(app.cancel_reasons(one).await, ["superseded"]);
    app.finish_next(Verdict::Published).await;
    app.finish_next(Verdict::Published).await;
    assert_eq!(app.status(&all).await, "succeeded");
}

#[tokio::test]
async fn no_more_are_at_work_than_the_limit_says() {
    let app = App::with_base().await;
    let mut body = app.fine_tune_body("publish");
    body["policy"]["on"] = json!("manual");
    for name in ["a", "b", "c", "d"] {
        app.put(&format!("/v1/fine_tunes/{name}"), &body, &[])
            .await
            .ok(201);
    }
    app.version("llama", "2").await.ok(201);
    let wish = json!({"base_model": "llama", "version": "2", "limits": {"max_concurrent": 2}});
    let begun = app.post("/v1/retunes", &wish, &[]).await.ok(202);
    let path = begun.header("location").to_owned();
    assert_eq!(begun.json()["counts"]["queued"], 4);
    let (first, _second) = (app.claim().await, app.claim().await);
    assert!(app.nothing_to_claim().await);
    // One that fails for now keeps its place.
    let error = retune::service::domain::transfers::JobError {
        code: "x".into(),
        detail: "y".into(),
        pointer: None,
    };
    attempts::fail(&app.db.database, &first, &error, true, LONG)
        .await
        .unwrap();
    assert!(app.nothing_to_claim().await);
    // One that ends for good makes room for the next.
    app.post(
        &format!("/v1/transfers/{}/cancel", first.transfer),
        &json!({}),
        &[],
    )
    .await
    .ok(200);
    let third = app.claim().await;
    assert!(app.nothing_to_claim().await);
    app.verb(&path, "pause").await;
    attempts::hand_back(&app.db.database, &third).await.unwrap();
    assert!(app.nothing_to_claim().await);
    app.verb(&path, "resume").await;
    assert_eq!(app.claim().await.transfer, third.transfer);
    assert!(app.nothing_to_claim().await);
    // Only what was cancelled is carried again.
    let again = app.post("/v1/retunes", &wish, &[]).await.ok(202);
    assert_eq!(again.json()["counts"]["queued"], 1);
    app.post("/v1/retunes", &wish, &[])
        .await
        .problem(409, "nothing_to_do");
}

#[tokio::test]
async fn what_the_budget_does_not_reach_is_cancelled() {
    let app = App::with_fine_tunes(&["a", "b", "c"]).await;
    app.put_model("other", "o");
    let wish = json!({
        "fine_tunes": ["a", "b", "c"], "targets": [app.uri("other/")],
        "limits": {"max_compute_seconds": 3600},
    });
    let begun = app.post("/v1/retunes", &wish, &[]).await.ok(202);
    let path = begun.header("location").to_owned();
    let (lease, going_on) = (app.claim().await, app.claim().await);
    // As if the first had been claimed two hours ago.
    sqlx::query("UPDATE transfers SET started_at = now() - interval '2 hours' WHERE id = $1")
        .bind(lease.transfer)
        .execute(&app.db.database.pool)
        .await
        .unwrap();
    let done = outcome(lease.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &lease, &done)
            .await
            .unwrap()
    );
    let spent = app.get(&path).await.json();
    assert!(
        spent["compute_seconds"].as_f64().unwrap() > 7199.0,
        "{spent}"
    );
    assert_eq!(
        (&spent["counts"]["cancelled"], &spent["status"]),
        (&json!(1), &json!("running"))
    );
    let done = outcome(going_on.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &going_on, &done)
            .await
            .unwrap()
    );
    assert_eq!(app.status(&path).await, "partially_succeeded");
}

#[tokio::test]
async fn one_trajectory_is_carried_onto_many_bases_by_hand() {
    let app = App::with_fine_tunes(&["news", "mail"]).await;
    for name in ["x", "y"] {
        app.put_model(name, name);
    }
    let wish = json!({"fine_tunes": ["news"], "targets": [app.uri("x/"), app.uri("y/")]});
    let begun = app.post("/v1/retunes", &wish, &[]).await.ok(202).json();
    assert_eq!(
        (&begun["reason"], &begun["base_version"]),
        (&json!("by_hand"), &Value::Null)
    );
    assert_eq!(begun["counts"]["queued"], 2);
    app.finish_next(Verdict::Published).await;
    app.finish_next(Verdict::Rejected).await;
    let versions = app.get("/v1/fine_tunes/news/versions").await.json();
    assert_eq!(versions["data"][0]["state"], "rejected");
    assert_eq!(versions["data"][1]["state"], "published");
    assert_eq!(versions["data"][1]["base_version"], Value::Null);
    // Nobody asked for a move: the bases are not versions of anything.
    app.get("/v1/fine_tunes/news/aliases/production")
        .await
        .problem(404, "not_found");
    // By hand again is again, unless it is the same request.
    let key = ("idempotency-key", "k1");
    let before = app.retunes().await.len();
    let first = app.post("/v1/retunes", &wish, &[key]).await.ok(202).json();
    let same = app.post("/v1/retunes", &wish, &[key]).await.ok(202).json();
    assert_ne!(first["id"], begun["id"]);
    assert_eq!(first["id"], same["id"]);
    assert_eq!(app.retunes().await.len(), before + 1);
    let other = json!({"fine_tunes": ["mail"], "targets": [app.uri("x/")]});
    app.post("/v1/retunes", &other, &[key])
        .await
        .problem(422, "idempotency_key_reused");

    let refused = async |wish: Value, code: &str| {
        app.post("/v1/retunes", &wish, &[]).await.problem(422, code)
    };
    let outside = json!({"fine_tunes": ["news"], "targets": [app.uri("x/"), "file:///etc/"]});
    assert_eq!(
        refused(outside, "location_not_allowed").await,
        ["/targets/1"]
    );
    let unknown = json!({"fine_tunes": ["news", "gone"], "targets": [app.uri("x/")]});
    assert_eq!(
        refused(unknown, "unknown_fine_tune").await,
        ["/fine_tunes/1"]
    );
    let unknown = json!({"base_model": "llama", "version": "9"});
    assert_eq!(refused(unknown, "unknown_version").await, ["/version"]);
    assert_eq!(
        refused(json!({"targets": [], "fine_tunes": ["a"]}), "invalid_body").await,
        ["/targets"]
    );
}

#[tokio::test]
async fn a_retried_member_of_a_paused_retune_waits() {
    let app = App::with_fine_tunes(&["a", "b"]).await;
    let path = app.retune_onto("2").await;
    let lease = app.claim().await;
    let error = retune::service::domain::transfers::JobError {
        code: "x".into(),
        detail: "y".into(),
        pointer: None,
    };
    let now = RetryPolicy {
        backoff: Duration::from_nanos(1),
        ..LONG
    };
    attempts::fail(&app.db.database, &lease, &error, false, now)
        .await
        .unwrap();
    app.verb(&path, "pause").await;
    app.post(
        &format!("/v1/transfers/{}/retry", lease.transfer),
        &json!({}),
        &[],
    )
    .await
    .ok(202);
    assert!(app.nothing_to_claim().await);
    app.verb(&path, "resume").await;
    app.finish_next(Verdict::Published).await;
    app.finish_next(Verdict::Published).await;
    assert_eq!(app.status(&path).await, "succeeded");
}
