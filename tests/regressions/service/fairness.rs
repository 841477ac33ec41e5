//! What one tenant has waiting keeps no other waiting.

use std::time::{Duration, Instant};

use retune::{
    config::Settings,
    contract::ids::WorkerId,
    service::{
        database::{
            deliveries::{self, Capacity},
            transfers::Enqueue,
        },
        domain::access::DEFAULT_TENANT,
        queue,
        registry::attempts,
        webhooks::{Sender, lookup},
    },
};
use serde_json::json;
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use crate::{
    api::app::App,
    support::{
        LONG, TestDatabase, enqueue,
        receiver::Receiver,
        webhooks::{self, subscribe},
        within,
    },
};

/// Far below the time after which a post that hangs is given up here.
const SOON: Duration = Duration::from_mins(1);

fn settings() -> Settings {
    let mut settings = webhooks::settings();
    settings.webhooks.timeout = Duration::from_mins(10);
    settings
}

#[tokio::test]
async fn sixty_endpoints_that_never_answer_keep_only_their_tenant_waiting() {
    let test = TestDatabase::fresh().await;
    let (hanging, other) = (test.tenant().await, test.tenant().await);
    // It takes connections, by the system's queue, and nobody ever reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("bound"));
    for i in 0..60 {
        subscribe(&test, hanging, &format!("e{i}"), &url).await;
    }
    let mut hook = Receiver::start().await;
    subscribe(&test, other, "ci", &hook.url).await;
    test.submit(Enqueue {
        tenant: hanging,
        ..enqueue()
    })
    .await;

    let _ = rustls::crypto::ring::default_provider().install_default();
    let sender =
        Sender::new(test.database.clone(), &settings().webhooks, lookup()).expect("set up");
    let end = CancellationToken::new();
    let sending = tokio::spawn(queue::drive(sender, end.clone()));
    // Only when as many hang as may.
    let open = "SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL";
    within("posts hang", async || {
        let count: i64 = sqlx::query_scalar(open)
            .fetch_one(&test.database.pool)
            .await
            .expect("a count");
        (count >= 8).then_some(())
    })
    .await;
    let id = test
        .submit(Enqueue {
            tenant: other,
            ..enqueue()
        })
        .await
        .id;
    let told = time::timeout(SOON, hook.post())
        .await
        .expect("it waits for no other tenant's");
    assert_eq!(told.json()["subject"], format!("transfers/{id}"));
    let count: i64 = sqlx::query_scalar(open)
        .fetch_one(&test.database.pool)
        .await
        .expect("a count");
    assert!(count <= 9, "{count} posts are open");
    end.cancel();
    sending.await.expect("no panic");
}

#[tokio::test]
async fn callbacks_of_one_tenant_count_as_one_receiver() {
    let test = TestDatabase::fresh().await;
    let (many, other) = (test.tenant().await, test.tenant().await);
    sqlx::query(
        "WITH e AS (
             INSERT INTO events (id, tenant, subject, kind)
             SELECT uuid_v7(), $1, 'transfers/x', 'transfer.cancelled' FROM generate_series(1, 400)
             RETURNING id, tenant)
         INSERT INTO deliveries (tenant, event, url, next_attempt_at)
         SELECT tenant, id, 'http://127.0.0.1:9/' || id, now() - interval '1 minute' FROM e",
    )
    .bind(many)
    .execute(&test.database.pool)
    .await
    .expect("callbacks");
    subscribe(&test, other, "ci", "http://127.0.0.1:9/").await;
    test.submit(Enqueue {
        tenant: other,
        ..enqueue()
    })
    .await;

    let terms = settings().webhooks.retry_policy();
    let room = Capacity {
        posts: 128,
        per_tenant: 8,
    };
    let claimed = deliveries::claim(&test.database, room, terms)
        .await
        .expect("claimed");
    let of = |tenant| {
        claimed
            .iter()
            .filter(|one| one.envelope.tenant == tenant)
            .count()
    };
    assert_eq!((of(many), of(other)), (4, 1));
    let more = deliveries::claim(&test.database, room, terms)
        .await
        .expect("claimed");
    assert!(more.is_empty(), "those four are still open");
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_by_one_post_at_a_time() {
    let test = TestDatabase::fresh().await;
    subscribe(&test, DEFAULT_TENANT, "ci", "http://127.0.0.1:9/").await;
    for _ in 0..6 {
        test.queued(1).await;
    }
    test.execute("UPDATE webhook_endpoints SET failing_since = now()")
        .await;
    let room = Capacity {
        posts: 128,
        per_tenant: 8,
    };
    let terms = settings().webhooks.retry_policy();
    let claimed = deliveries::claim(&test.database, room, terms)
        .await
        .expect("claimed");
    assert_eq!(claimed.len(), 1);
}

/// A claim once ranked all that was due: 340 ms at a hundred thousand.
#[tokio::test]
async fn a_claim_costs_the_same_however_much_is_due() {
    let test = TestDatabase::fresh().await;
    test.execute(
        "INSERT INTO tenants (id, name)
         SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, i::text
         FROM generate_series(1, 20) i;
         INSERT INTO webhook_endpoints (id, tenant, name, url, events, enabled, secret)
         SELECT uuid_v7(), id, 'e' || j, 'http://127.0.0.1:9/', '{nothing}', true,
                uuid_send(id) || uuid_send(id)
         FROM tenants, generate_series(1, 5) j WHERE name <> 'default';
         INSERT INTO events (id, tenant, subject, kind)
         SELECT uuid_v7(), id, 'x', 'transfer.queued' FROM tenants, generate_series(1, 1000)
         WHERE name <> 'default';
         INSERT INTO deliveries (tenant, event, endpoint)
         SELECT v.tenant, v.id, e.id FROM events v JOIN webhook_endpoints e ON e.tenant = v.tenant;
         ANALYZE;",
    )
    .await;
    let due: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE status = 'pending'")
        .fetch_one(&test.database.pool)
        .await
        .expect("a count");
    assert_eq!(due, 100_000);

    let (room, terms) = (
        Capacity {
            posts: 20,
            per_tenant: 8,
        },
        settings().webhooks.retry_policy(),
    );
    let mut quickest = Duration::MAX;
    let mut claimed = 0;
    for _ in 0..8 {
        let begun = Instant::now();
        let some = deliveries::claim(&test.database, room, terms)
            .await
            .expect("claimed");
        quickest = quickest.min(begun.elapsed());
        claimed += some.len();
    }
    assert_eq!(claimed, 160, "eight of each tenant and no more");
    println!("the quickest of eight claims of twenty among {due} took {quickest:?}");
    assert!(quickest < Duration::from_millis(120), "{quickest:?}");
}

#[tokio::test]
async fn a_tenant_has_so_many_endpoints_and_no_more() {
    let mut settings = settings();
    settings.webhooks.endpoints_per_tenant = 2;
    let app = App::start(true, settings).await;
    let wanted = json!({"url": "http://127.0.0.1:9/"});
    let put = async |name: &str| {
        app.put(&format!("/v1/webhook_endpoints/{name}"), &wanted, &[])
            .await
    };
    put("a").await.ok(201);
    put("b").await.ok(201);
    put("c").await.problem(409, "too_many_endpoints");
    put("a").await.ok(200);
    app.delete("/v1/webhook_endpoints/a", &[]).await.ok(204);
    put("c").await.ok(201);
}

/// One transfer was behind 19 744 of another tenant.
#[tokio::test]
async fn a_transfer_waits_for_one_of_another_tenant_and_not_for_all() {
    let test = TestDatabase::fresh().await;
    let (many, one) = (test.tenant().await, test.tenant().await);
    sqlx::query(
        "INSERT INTO transfers (id, tenant, spec, max_attempts, available_at)
         SELECT uuid_v7(), $1, '{}', 3, now() - interval '1 hour' FROM generate_series(1, 19744)",
    )
    .bind(many)
    .execute(&test.database.pool)
    .await
    .expect("queued");
    sqlx::raw_sql("ANALYZE transfers")
        .execute(&test.database.pool)
        .await
        .expect("our own SQL");
    let last = test
        .submit(Enqueue {
            tenant: one,
            ..enqueue()
        })
        .await;

    let claim = async || {
        let begun = Instant::now();
        let lease = attempts::claim(&test.database, WorkerId::generate(), LONG)
            .await
            .expect("claimed");
        (lease.expect("something to do"), begun.elapsed())
    };
    let ((first, _), (second, took)) = (claim().await, claim().await);
    assert_eq!((first.tenant, second.tenant), (many, one));
    assert_eq!(second.transfer, last.id);
    println!("a claim among 19745 took {took:?}");

    // With one worker the tenants take turns, too: who was served longest ago is next.
    for lease in [first, second] {
        assert!(
            attempts::cancelled(&test.database, &lease)
                .await
                .expect("recorded")
        );
    }
    let again = test
        .submit(Enqueue {
            tenant: one,
            ..enqueue()
        })
        .await;
    let (third, _) = claim().await;
    assert_eq!(third.tenant, many);
    assert!(
        attempts::cancelled(&test.database, &third)
            .await
            .expect("recorded")
    );
    let (fourth, _) = claim().await;
    assert_eq!(fourth.transfer, again.id);
}

#[tokio::test]
async fn a_claim_waits_for_nobody_who_holds_a_row() {
    let test = TestDatabase::fresh().await;
    let (held, free) = (test.queued(3).await.id, test.queued(3).await.id);
    let mut holder = test.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT id FROM transfers WHERE id = $1 FOR UPDATE")
        .bind(held)
        .execute(&mut *holder)
        .await
        .expect("held");
    let claim = async || {
        let claimed = attempts::claim(&test.database, WorkerId::generate(), LONG);
        let claimed = time::timeout(SOON, claimed)
            .await
            .expect("it does not wait");
        claimed.expect("claimed").map(|lease| lease.transfer)
    };
    assert_eq!(claim().await, Some(free));
    assert_eq!(claim().await, None);
    drop(holder);
    within("the row is free", async || {
        claim().await.filter(|id| *id == held)
    })
    .await;
}
