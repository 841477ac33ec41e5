//! The database's clock is set back, or the database was away: the queues go on.

use std::{fs, path::Path, time::Duration};

use retune::{
    config::Settings,
    contract::ids::WorkerId,
    service::{
        database::{
            deliveries::{self, Capacity},
            transfers::leases::{Claimed, Report},
            webhook_endpoints::Wanted,
        },
        domain::{
            access::DEFAULT_TENANT,
            leases::{Lease, RetryPolicy},
            transfers::Status,
        },
        registry::{
            attempts::{self, Heard},
            clock, endpoints,
        },
    },
};

use crate::support::{self, LONG, TestDatabase};

const POLICY: RetryPolicy = RetryPolicy {
    lease: Duration::from_secs(30),
    backoff: Duration::from_secs(5),
    ..LONG
};

async fn claim(test: &TestDatabase) -> Option<Lease<Claimed>> {
    support::claim(&test.database, POLICY).await
}

/// As if everything until now had been written by a clock that was an hour ahead.
const AN_HOUR_AHEAD: &str = "
    UPDATE service_clock SET seen_at = clock_timestamp() + interval '1 hour';
    UPDATE transfers SET available_at = available_at + interval '1 hour',
                         lease_expires_at = lease_expires_at + interval '1 hour';
    UPDATE deliveries SET next_attempt_at = next_attempt_at + interval '1 hour',
                          retry_since = retry_since + interval '1 hour'";

#[tokio::test]
async fn what_was_queued_by_a_clock_that_was_ahead_is_claimed_at_once() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(3).await.id;
    test.execute(AN_HOUR_AHEAD).await;
    let lease = claim(&test).await.expect("it does not wait for an hour");
    assert_eq!(lease.transfer, id);
    // Its own lease is of the clock as it is now.
    let left: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM lease_expires_at - now())::double precision FROM transfers",
    )
    .fetch_one(&test.database.pool)
    .await
    .expect("a time");
    assert!((0.0..=30.0).contains(&left), "{left}");
}

#[tokio::test]
async fn a_worker_that_died_before_the_clock_was_set_back_is_noticed_within_its_lease() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(3).await.id;
    let dead = claim(&test).await.expect("something to do");
    test.execute(AN_HOUR_AHEAD).await;
    assert_eq!(
        attempts::sweep(&test.database, POLICY)
            .await
            .expect("swept"),
        0
    );
    let left: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM lease_expires_at - now())::double precision FROM transfers",
    )
    .fetch_one(&test.database.pool)
    .await
    .expect("a time");
    assert!(left <= 30.0, "{left} s");

    // And one that lives goes on.
    let heard = attempts::beat(&test.database, &dead, POLICY.lease, &Report::default()).await;
    assert_eq!(heard.expect("an answer"), Heard::GoOn);
    assert_eq!(test.get(id).await.status, Status::Running);
    assert!(
        attempts::hand_back(&test.database, &dead)
            .await
            .expect("recorded")
    );
    assert_eq!(test.get(id).await.attempt, 0);
}

#[tokio::test]
async fn deliveries_follow_the_clock_too() {
    let test = TestDatabase::fresh().await;
    let wanted = Wanted {
        url: "http://127.0.0.1:9/".into(),
        events: vec!["*".into()],
        enabled: true,
    };
    endpoints::put(&test.database, DEFAULT_TENANT, "ci", &wanted, 0)
        .await
        .expect("an endpoint");
    test.queued(3).await;
    test.execute(AN_HOUR_AHEAD).await;
    let (room, terms) = (
        Capacity {
            posts: 10,
            per_tenant: 10,
        },
        Settings::default().webhooks.retry_policy(),
    );
    let claimed = async || {
        deliveries::claim(&test.database, room, terms)
            .await
            .expect("claimed")
            .len()
    };
    assert_eq!(claimed().await, 0);
    clock::tick(&test.database, POLICY.lease)
        .await
        .expect("a sign of life");
    assert_eq!(claimed().await, 1);
}

#[tokio::test]
async fn a_step_is_followed_once() {
    let test = TestDatabase::fresh().await;
    test.queued(3).await;
    test.execute(AN_HOUR_AHEAD).await;
    let ticks = (0..8).map(|_| clock::tick(&test.database, POLICY.lease));
    for tick in futures::future::join_all(ticks).await {
        tick.expect("a sign of life");
    }
    let waited: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM now() - available_at)::double precision FROM transfers",
    )
    .fetch_one(&test.database.pool)
    .await
    .expect("a time");
    assert!((0.0..600.0).contains(&waited), "{waited} s");
}

/// Nobody could prolong a lease while the database was away, so that none is taken for it.
#[tokio::test]
async fn leases_that_ran_out_while_the_database_was_away_are_not_taken() {
    let test = TestDatabase::fresh().await;
    let id = test.queued(3).await.id;
    let held = claim(&test).await.expect("something to do");
    let two_minutes_later = "
        UPDATE service_clock SET seen_at = now() - interval '2 minutes';
        UPDATE transfers SET lease_expires_at = now() - interval '95 seconds',
                             available_at = now() - interval '95 seconds'";
    test.execute(two_minutes_later).await;
    assert!(claim(&test).await.is_none());
    assert_eq!(
        attempts::sweep(&test.database, POLICY)
            .await
            .expect("swept"),
        0
    );
    let heard = attempts::beat(&test.database, &held, POLICY.lease, &Report::default()).await;
    assert_eq!(heard.expect("an answer"), Heard::GoOn);
    assert_eq!(test.get(id).await.attempt, 1);

    // One whose worker was dead before that is not held for ever.
    let long_dead = "
        UPDATE service_clock SET seen_at = now() - interval '2 minutes';
        UPDATE transfers SET lease_expires_at = now() - interval '3 minutes',
                             available_at = now() - interval '3 minutes'";
    test.execute(long_dead).await;
    let next = attempts::claim(&test.database, WorkerId::generate(), LONG)
        .await
        .expect("claimed");
    assert_eq!(next.expect("its lease had run out").attempt, 2);
}

#[tokio::test]
async fn a_lost_sign_of_life_is_written_again() {
    let test = TestDatabase::fresh().await;
    test.queued(3).await;
    test.execute("DELETE FROM service_clock").await;
    assert!(claim(&test).await.is_some());
    let signs: i64 = sqlx::query_scalar("SELECT count(*) FROM service_clock")
        .fetch_one(&test.database.pool)
        .await
        .expect("a count");
    assert_eq!(signs, 1);
}

/// Of every time that is stored it is decided what becomes of it when the clock is set back.
#[tokio::test]
async fn every_time_is_set_back_or_is_a_record() {
    /// What has happened, what somebody has set, and what is worth no more than what is shown of it.
    const KEPT: [&str; 39] = [
        "api_keys.created_at",
        "api_keys.expires_at",
        "api_keys.revoked_at",
        "arrivals.created_at",
        "arrivals.finished_at",
        "attempts.began_at",
        "attempts.ended_at",
        "audit_events.created_at",
        "base_model_alias_moves.moved_at",
        "base_model_aliases.moved_at",
        "base_model_versions.created_at",
        "base_model_versions.retires_at",
        "base_models.created_at",
        "base_models.updated_at",
        "deliveries.created_at",
        "deliveries.finished_at",
        "deliveries.last_attempt_at",
        "events.created_at",
        "fine_tune_alias_moves.moved_at",
        "fine_tune_aliases.moved_at",
        "fine_tune_versions.created_at",
        "fine_tunes.created_at",
        "fine_tunes.updated_at",
        "inbound_tokens.created_at",
        "inbound_tokens.last_used_at",
        "retunes.created_at",
        "retunes.finished_at",
        "retunes.started_at",
        "service_clock.seen_at",
        "tenants.created_at",
        "tenants.previous_callback_secret_until",
        "transfers.created_at",
        "transfers.estimated_finish",
        "transfers.evaluated_at",
        "transfers.finished_at",
        "webhook_endpoints.created_at",
        "webhook_endpoints.previous_secret_until",
        "webhook_endpoints.updated_at",
        "workers.started_at",
    ];
    let source = statements();

    let test = TestDatabase::fresh().await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns
         WHERE table_schema = current_schema() AND data_type LIKE 'timestamp%'
           AND table_name <> '_sqlx_migrations'",
    )
    .fetch_all(&test.database.pool)
    .await
    .expect("the columns");
    assert!(columns.len() > KEPT.len());

    for (table, column) in columns {
        let name = format!("{table}.{column}");
        let is_kept = KEPT.contains(&name.as_str());
        let update = source
            .split("UPDATE ")
            .skip(1)
            .find(|update| update.starts_with(&table) && update.contains(&format!("{column} = ")));
        assert!(
            is_kept || update.is_some(),
            "{name} is neither set back nor a record"
        );
    }
}

#[tokio::test]
async fn who_judges_has_no_longer_than_was_granted() {
    let test = TestDatabase::fresh().await;
    test.queued(3).await;
    let waiting = "
        UPDATE service_clock SET seen_at = clock_timestamp() + interval '1 hour';
        UPDATE transfers SET status = 'awaiting_evaluation', staged_uri = 'file:///x/',
            started_at = now(), evaluation_deadline = now() + interval '2 hours'";
    test.execute(waiting).await;
    clock::tick(&test.database, POLICY.lease)
        .await
        .expect("a sign of life");
    let left: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM evaluation_deadline - now())::double precision FROM transfers",
    )
    .fetch_one(&test.database.pool)
    .await
    .expect("a time");
    assert!((3500.0..=3600.0).contains(&left), "{left}");
}

/// Tenants take turns in order of what was started last; what a clock said that was ahead is no turn to come.
#[tokio::test]
async fn nobody_is_served_later_because_the_clock_was_ahead() {
    let test = TestDatabase::fresh().await;
    test.queued(3).await;
    claim(&test).await.expect("something to do");
    let ahead = "
        UPDATE service_clock SET seen_at = clock_timestamp() + interval '1 hour';
        UPDATE transfers SET started_at = started_at + interval '1 hour'";
    test.execute(ahead).await;
    clock::tick(&test.database, POLICY.lease)
        .await
        .expect("a sign of life");
    let ahead: i64 = sqlx::query_scalar("SELECT count(*) FROM transfers WHERE started_at > now()")
        .fetch_one(&test.database.pool)
        .await
        .expect("a count");
    assert_eq!(ahead, 0);
}

/// The source of every table's file, where its statements are.
fn statements() -> String {
    let database = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/service/database");
    let (mut folders, mut source) = (vec![database], String::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("a file");
                // Of a file, what sets its times back and nothing else that it updates.
                let set_back = text.split("fn set_back(").skip(1);
                source.extend(set_back);
            }
        }
    }
    source
}
