//! `/metrics`: every series at every scrape, helpful, and answered when the database is away.

use std::process::Stdio;

use retune::{
    contract::ids::TransferId,
    pipeline::Verdict,
    service::{
        database::figures,
        domain::{
            access::DEFAULT_TENANT,
            transfers::{JobError, Status},
        },
        registry::{attempts, transitions},
    },
};
use tokio::{io::AsyncWriteExt, process::Command};

use super::server::run;
use crate::support::{
    LONG, OVER, Process, Served, TestDatabase, claim, http, outcome, retune, retune_serve,
    unused_folder, within,
};

async fn serve(test: &TestDatabase) -> Served {
    serve_with(test, "0").await
}

async fn serve_with(test: &TestDatabase, workers: &str) -> Served {
    let mut command = retune_serve(workers, unused_folder());
    command.env("DATABASE_URL", &test.url);
    Served::start(&mut command).await
}

async fn scrape(served: &Served) -> String {
    let answer = http()
        .get(format!("{}/metrics", served.url))
        .send()
        .await
        .expect("it answers");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}

/// The value of a series.
fn value(figures: &str, series: &str) -> Option<f64> {
    let line = figures.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_empties_falls_to_zero_and_every_status_has_its_series() {
    let test = TestDatabase::fresh().await;
    let served = serve(&test).await;
    let empty = scrape(&served).await;
    for status in Status::ALL {
        let series = format!("retune_transfers{{status=\"{}\"}}", status.name());
        assert_eq!(value(&empty, &series), Some(0.0), "{series}");
    }
    for (series, expected) in [
        ("retune_oldest_queued_seconds", 0.0),
        ("retune_webhook_deliveries_waiting", 0.0),
        ("retune_webhook_lag_seconds", 0.0),
        ("retune_arrivals_waiting", 0.0),
        ("retune_workers{state=\"busy\"}", 0.0),
        ("retune_workers{state=\"idle\"}", 0.0),
        ("retune_attempts_total{outcome=\"lost\"}", 0.0),
        ("retune_lease_losses_total", 0.0),
        ("retune_database_up", 1.0),
    ] {
        assert_eq!(value(&empty, series), Some(expected), "{series}\n{empty}");
    }
    for series in [
        "retune_sample_gradients_total",
        "retune_claim_latency_seconds_count",
        "retune_phase_seconds_count{phase=\"publishing\"}",
        "retune_transfer_seconds_count{verdict=\"published\"}",
        "retune_storage_seconds_count{operation=\"get\"}",
        "retune_storage_requests_total{operation=\"put\",outcome=\"conflict\"}",
    ] {
        assert_eq!(value(&empty, series), Some(0.0), "{series}\n{empty}");
    }
    assert!(value(&empty, "retune_database_pool{state=\"used\"}").is_some());
    let build = format!(
        "retune_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(value(&empty, &build), Some(1.0));

    let queued = test.queued(3).await.id;
    let aged = "UPDATE transfers SET available_at = now() - interval '100 seconds'";
    run(&test.url, aged).await;
    let filled = scrape(&served).await;
    assert_eq!(
        value(&filled, "retune_transfers{status=\"queued\"}"),
        Some(1.0)
    );
    let waited = value(&filled, "retune_oldest_queued_seconds").expect("an age");
    assert!((100.0..200.0).contains(&waited), "{waited}");
    transitions::request_cancel(&test.database, DEFAULT_TENANT, queued)
        .await
        .expect("cancelled");
    let cancelled = scrape(&served).await;
    assert_eq!(
        value(&cancelled, "retune_transfers{status=\"queued\"}"),
        Some(0.0)
    );
    assert_eq!(
        value(&cancelled, "retune_transfers{status=\"cancelled\"}"),
        Some(1.0)
    );
    assert_eq!(value(&cancelled, "retune_oldest_queued_seconds"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_the_last_figures_stand_with_their_age() {
    let test = TestDatabase::fresh().await;
    test.queued(3).await;
    let served = serve(&test).await;
    assert_eq!(
        value(
            &scrape(&served).await,
            "retune_transfers{status=\"queued\"}"
        ),
        Some(1.0)
    );

    let name = test
        .url
        .split("/t_")
        .nth(1)
        .and_then(|rest| rest.split('?').next())
        .expect("a name");
    let server = test.url.replace(&format!("/t_{name}?"), "/postgres?");
    test.database.pool.close().await;
    run(
        &server,
        &format!("ALTER DATABASE t_{name} WITH ALLOW_CONNECTIONS false"),
    )
    .await;
    run(
        &server,
        &format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 't_{name}'"
        ),
    )
    .await;
    let blind = scrape(&served).await;
    assert_eq!(value(&blind, "retune_database_up"), Some(0.0), "{blind}");
    assert_eq!(
        value(&blind, "retune_transfers{status=\"queued\"}"),
        Some(1.0)
    );
    assert!(value(&blind, "retune_figures_age_seconds").expect("an age") > 0.0);
    assert!(
        value(
            &blind,
            "retune_http_requests_total{method=\"GET\",path=\"/metrics\",status=\"200\"}"
        )
        .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_own_checker_has_nothing_to_complain_of() {
    let test = TestDatabase::fresh().await;
    let served = serve(&test).await;
    scrape(&served).await;
    let figures = scrape(&served).await;
    for line in figures
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
    {
        let family = line.split(' ').next().expect("a name");
        assert!(
            figures.contains(&format!("# HELP {family} ")),
            "{family} has no help"
        );
        assert!(family.starts_with("retune_"), "{family}");
    }

    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checker) = checker else {
        eprintln!("promtool is not installed: the figures were not checked by it");
        return;
    };
    let mut input = checker.stdin.take().expect("a pipe");
    input.write_all(figures.as_bytes()).await.expect("it reads");
    drop(input);
    let done = checker.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.is_empty(), "{said}");
}

/// A worker is another process than the one that is scraped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_counts_shows_in_the_figures_of_its_serve() {
    let test = TestDatabase::fresh().await;
    let served = serve_with(&test, "1").await;
    test.queued(1).await;
    // Its inputs lie outside the roots: it fails in its first phase.
    within("the worker's figures come", async || {
        let figures = scrape(&served).await;
        let claims = value(&figures, "retune_claim_latency_seconds_count");
        let phases = value(&figures, "retune_phase_seconds_count{phase=\"fetching\"}");
        (claims == Some(1.0) && phases == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_alone_answers_for_itself_where_it_is_told_to() {
    let test = TestDatabase::fresh().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr());
    let address = port.expect("a free port").to_string();
    let mut command = retune();
    command
        .args(["work", "--metrics-listen", &address, "--data-dir"])
        .arg(std::env::temp_dir().join("retune-tests-unused"))
        .env("DATABASE_URL", &test.url);
    let _worker = Process::start(&mut command);

    let healthy = format!("http://{address}/healthz");
    within("the worker answers", async || {
        http().get(&healthy).send().await.ok()
    })
    .await;
    test.queued(1).await;
    within("the worker counts its claim", async || {
        let answer = http()
            .get(format!("http://{address}/metrics"))
            .send()
            .await
            .ok()?;
        let figures = answer.text().await.ok()?;
        let claims = value(&figures, "retune_claim_latency_seconds_count");
        assert_eq!(
            value(&figures, "retune_database_up"),
            None,
            "the queue is for serve to tell"
        );
        (claims == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn attempts_are_counted_by_how_they_ended() {
    let test = TestDatabase::fresh().await;
    let database = &test.database;
    let claim = async |terms| {
        let claimed = claim(database, terms).await;
        claimed.expect("something to do")
    };
    let error = JobError {
        code: "bad".into(),
        detail: "bad".into(),
        pointer: None,
    };
    let outcome = outcome(TransferId::generate(), Verdict::Published);
    let since = figures::look(database, None).await.unwrap().seen;
    let began: i64 =
        sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            .fetch_one(&database.pool)
            .await
            .unwrap();

    test.queued(9).await;
    // Taken over by another worker, swept, handed back, failed, and done.
    claim(OVER).await;
    claim(OVER).await;
    attempts::sweep(database, LONG).await.unwrap();
    run(&test.url, "UPDATE transfers SET available_at = now()").await;
    assert!(
        attempts::hand_back(database, &claim(LONG).await)
            .await
            .unwrap()
    );
    attempts::fail(database, &claim(LONG).await, &error, true, LONG)
        .await
        .unwrap();
    run(&test.url, "UPDATE transfers SET available_at = now()").await;
    assert!(
        attempts::succeed(database, &claim(LONG).await, &outcome)
            .await
            .unwrap()
    );
    let cancelled = test.queued(9).await.id;
    let held = claim(LONG).await;
    transitions::request_cancel(database, DEFAULT_TENANT, cancelled)
        .await
        .unwrap();
    assert!(attempts::cancelled(database, &held).await.unwrap());

    // As if written just after the first look, long enough ago to be counted by now.
    let written = format!("{:012x}", began - 12_000);
    let written = format!("{}-{}", &written[..8], &written[8..]);
    run(
        &test.url,
        &format!(
            "UPDATE attempts SET id = overlay(id::text PLACING '{written}' FROM 1 FOR 13)::uuid"
        ),
    )
    .await;
    let counted = figures::look(database, Some(since)).await.unwrap();
    let mut counts: Vec<_> = counted
        .attempts
        .iter()
        .map(|(name, n)| (name.name(), *n))
        .collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [
            ("cancelled", 1),
            ("failed", 1),
            ("handed_back", 1),
            ("lost", 2),
            ("succeeded", 1)
        ]
    );
    let again = figures::look(database, Some(counted.seen)).await.unwrap();
    assert!(again.attempts.is_empty(), "{:?}", again.attempts);
}
