//! How much a tenant may have.

use retune::{
    config::Settings,
    pipeline::Verdict,
    service::{
        domain::transfers::JobError,
        registry::attempts::{self, AfterFailure},
    },
};
use serde_json::json;

use super::{super::app::App, NOW};

#[tokio::test]
async fn a_tenant_has_no_more_waiting_than_its_quota() {
    let mut settings = Settings::default();
    settings.quotas.queued_transfers = 2;
    let app = App::start(true, settings).await;
    let submit = async |key: &str| {
        app.post("/v1/transfers", &app.spec(), &[("idempotency-key", key)])
            .await
    };
    submit("1").await.ok(202);
    let second = submit("2").await.ok(202).json();
    let refused = submit("3").await;
    assert_eq!(refused.header("retry-after"), "60");
    refused.problem(429, "quota_exceeded");
    submit("2").await.ok(202);
    let cancel = format!("/v1/transfers/{}/cancel", second["id"].as_str().unwrap());
    app.post(&cancel, &json!({}), &[]).await.ok(200);
    submit("3").await.ok(202);
    app.db
        .execute("UPDATE tenants SET max_queued_transfers = 3")
        .await;
    submit("4").await.ok(202);
    submit("5").await.problem(429, "quota_exceeded");
    let waiting = app.get("/v1/transfers?status=queued").await.ok(200).json();
    assert_eq!(waiting["data"].as_array().unwrap().len(), 3);
    // Neither a retry nor a retune by hand is a way around it.
    let retry = format!("/v1/transfers/{}/retry", second["id"].as_str().unwrap());
    app.post(&retry, &json!({}), &[])
        .await
        .problem(429, "quota_exceeded");
    assert_eq!(
        app.get(&format!("/v1/transfers/{}", second["id"].as_str().unwrap()))
            .await
            .json()["status"],
        "cancelled"
    );
}

#[tokio::test]
async fn submissions_at_the_same_moment_share_the_quota() {
    let mut settings = Settings::default();
    settings.quotas.queued_transfers = 3;
    let app = App::start(true, settings).await;
    let spec = app.spec();
    let all = (0..8).map(|_| app.post("/v1/transfers", &spec, &[]));
    let answers = futures::future::join_all(all).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 202).count(),
        3
    );
}

#[tokio::test]
async fn a_tenant_computes_no_longer_than_its_quota_within_a_day() {
    let app = App::open().await;
    let submit = async || app.post("/v1/transfers", &app.spec(), &[]).await;
    submit().await.ok(202);
    // Two attempts of one transfer, each shorter than the quota.
    for _ in 0..2 {
        let lease = app.claim().await;
        app.db
            .execute("UPDATE transfers SET started_at = now() - interval '60 seconds'")
            .await;
        let error = JobError {
            code: "x".into(),
            detail: "x".into(),
            pointer: None,
        };
        let again = attempts::fail(&app.db.database, &lease, &error, true, NOW)
            .await
            .unwrap();
        assert_eq!(again, Some(AfterFailure::QueuedAgain));
    }
    app.db
        .execute("UPDATE tenants SET max_compute_seconds_per_day = 125")
        .await;
    submit().await.ok(202);
    // What runs counts too.
    app.claim().await;
    let running = "UPDATE transfers SET started_at = now() - interval '60 seconds'
                   WHERE status = 'running'";
    app.db.execute(running).await;
    submit().await.problem(429, "quota_exceeded");
    // Of what began yesterday, today's part.
    let longer = "UPDATE attempts SET began_at = began_at - interval '2 days'";
    app.db.execute(longer).await;
    submit().await.problem(429, "quota_exceeded");
    let long_ago = "UPDATE attempts SET ended_at = ended_at - interval '25 hours'";
    app.db.execute(long_ago).await;
    submit().await.ok(202);
}

#[tokio::test]
async fn a_tenant_writes_no_more_than_its_quota_within_a_day() {
    let mut settings = Settings::default();
    settings.quotas.result_bytes_per_day = 1500;
    let app = App::start(true, settings).await;
    let submit = async || app.post("/v1/transfers", &app.spec(), &[]).await;
    for _ in 0..2 {
        submit().await.ok(202);
        app.finish_next(Verdict::Published).await;
    }
    submit().await.problem(429, "quota_exceeded");
    app.db
        .execute("UPDATE tenants SET max_result_bytes_per_day = 2001")
        .await;
    submit().await.ok(202);
    app.db
        .execute("UPDATE tenants SET max_result_bytes_per_day = NULL")
        .await;
    submit().await.problem(429, "quota_exceeded");
    app.db
        .execute("UPDATE transfers SET finished_at = finished_at - interval '25 hours'")
        .await;
    submit().await.ok(202);
}
