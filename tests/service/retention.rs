//! What is forgotten when it is old, and what never is.

use retune::{
    config::Retention,
    service::{domain::access::DEFAULT_TENANT, registry::retention},
};
use sqlx::AssertSqlSafe;

use crate::support::TestDatabase;

const MONTH: Retention = Retention {
    deliveries_days: 30,
    arrivals_days: 30,
    audit_days: 30,
};

async fn left(on: &TestDatabase, what: &str) -> Vec<String> {
    let sql = AssertSqlSafe(format!("SELECT {what} ORDER BY 1"));
    sqlx::query_scalar(sql)
        .fetch_all(&on.database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_what_waits_is_not() {
    let test = TestDatabase::fresh().await;
    let tenant = DEFAULT_TENANT;
    test.execute(&format!(
            "INSERT INTO webhook_endpoints (id, tenant, name, url, events, enabled, secret)
             SELECT uuid_v7(), '{tenant}', name, 'https://example.org', '{{*}}', true, repeat('x', 32)::bytea
             FROM unnest(ARRAY['old', 'new', 'waiting']) AS name"
        ),
    )
    .await;
    let transfer = test.queued(3).await.id;
    test.execute(&format!(
            "UPDATE deliveries d SET status = 'delivered', finished_at = now() - days
             FROM webhook_endpoints e, (VALUES ('old', interval '31 days'), ('new', '29 days')) AS v (name, days)
             WHERE e.id = d.endpoint AND e.name = v.name;
             UPDATE deliveries SET created_at = now() - interval '99 days';

             INSERT INTO base_models (id, tenant, name) VALUES (uuid_v7(), '{tenant}', 'base');
             INSERT INTO inbound_tokens (id, tenant, base_model, prefix, secret_sha256, poll_seconds)
             SELECT uuid_v7(), '{tenant}', b.id, 's3://b/', sha256(v.poll::text::bytea), v.poll
             FROM base_models b, (VALUES (30), (31)) AS v (poll);
             UPDATE inbound_tokens SET poll_seconds = NULL WHERE poll_seconds = 31;
             INSERT INTO arrivals (tenant, base_model, inbound_token, uri, version, status, announced_at, finished_at)
             SELECT '{tenant}', b.id, t.id, 's3://b/' || v.version, v.version, v.status::arrival_status,
                    now() - v.announced, CASE v.status WHEN 'waiting' THEN NULL ELSE now() - interval '40 days' END
             FROM base_models b JOIN inbound_tokens t ON t.base_model = b.id,
                  (VALUES ('old', 'failed', interval '40 days', false),
                          ('announced again', 'failed', '1 day', false),
                          ('listed', 'ignored', '40 days', true),
                          ('waiting', 'waiting', '40 days', false)) AS v (version, status, announced, polled)
             WHERE v.polled = (t.poll_seconds IS NOT NULL);

             INSERT INTO audit_events (id, tenant, action, subject, outcome, created_at)
             SELECT uuid_v7(), '{tenant}', action, 'x', 'done', now() - days
             FROM (VALUES ('old', interval '31 days'), ('new', '29 days')) AS v (action, days);

             INSERT INTO attempts (tenant, transfer, began_at, ended_at)
             SELECT '{tenant}', '{transfer}', now() - hours, now() - hours
             FROM unnest(ARRAY[interval '50 hours', '25 hours']) AS hours"
        ),
    )
    .await;
    let forever = Retention {
        deliveries_days: 0,
        arrivals_days: 0,
        audit_days: 0,
    };
    assert_eq!(
        retention::prune(&test.database, forever).await.unwrap(),
        1,
        "the attempt alone"
    );
    assert_eq!(retention::prune(&test.database, MONTH).await.unwrap(), 3);
    assert_eq!(retention::prune(&test.database, MONTH).await.unwrap(), 0);
    let endpoints = "name FROM webhook_endpoints e JOIN deliveries d ON d.endpoint = e.id";
    assert_eq!(left(&test, endpoints).await, ["new", "waiting"]);
    assert_eq!(
        left(&test, "version FROM arrivals").await,
        ["announced again", "listed", "waiting"]
    );
    assert_eq!(left(&test, "action FROM audit_events").await, ["new"]);
    assert_eq!(
        left(
            &test,
            "extract(epoch FROM now() - ended_at)::int / 3600 || ' h' FROM attempts"
        )
        .await,
        ["25 h"]
    );
    assert_eq!(test.event_kinds(transfer).await, ["transfer.queued"]);
}
