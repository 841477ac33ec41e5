//! A month in small: bases arrive twice, out of order and at once, while workers finish, fail, die
//! and are told to cancel, and people pause and resume. What must hold in the end holds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use retune::{
    contract::ids::{TransferId, WorkerId},
    pipeline::Verdict,
    service::{
        database::transfers::leases::Claimed,
        domain::{
            leases::{Lease, RetryPolicy},
            transfers::JobError,
        },
        registry::attempts,
    },
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{app::App, registry::outcome};
use crate::support::{LONG, OVER};

const MODELS: [&str; 3] = ["llama", "bert", "vit"];
const FINE_TUNES: usize = 5;
/// `1` is what the fine-tunes were tuned from.
const VERSIONS: [&str; 5] = ["1.1", "1.2", "1.9", "1.10", "2"];
const NEWEST: &str = "2";
const WORKERS: u64 = 4;

/// Leases last, waits do not.
const BRISK: RetryPolicy = RetryPolicy {
    backoff: Duration::from_nanos(1),
    ..LONG
};

/// A gate's verdict, which depends on the transfer alone.
fn verdict(transfer: TransferId) -> Verdict {
    if transfer.0.as_u128().is_multiple_of(4) {
        Verdict::Rejected
    } else {
        Verdict::Published
    }
}

fn folder(model: &str, version: &str) -> String {
    format!("{model}-{version}/")
}

async fn people(app: &App) {
    for model in MODELS {
        app.put(&format!("/v1/base_models/{model}"), &json!({}), &[])
            .await
            .ok(201);
        app.version(model, "1").await.ok(201);
        for version in VERSIONS {
            app.put_model(&folder(model, version), &format!("{model} {version}"));
        }
        for i in 0..FINE_TUNES {
            let mut body = app.fine_tune_body(["promote", "propose"][i % 2]);
            body["base_model"] = json!(model);
            app.put(&format!("/v1/fine_tunes/{model}-{i}"), &body, &[])
                .await
                .ok(201);
        }
    }
}

/// Every version of a model, twice, in an order of the courier's own.
async fn courier(app: Arc<App>, model: &'static str, seed: u64) {
    let mut news: Vec<&str> = VERSIONS.into_iter().chain(VERSIONS).collect();
    news.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    for version in news {
        let landed = app.announce(model, version, &folder(model, version)).await;
        let status = landed.status.as_u16();
        assert!(matches!(status, 200 | 201), "{model} {version}: {status}");
    }
}

/// Takes transfers and does to them what happens in a month, until no more will come.
async fn worker(app: Arc<App>, no_more: CancellationToken, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let database = &app.db.database;
    let mut changes = app.db.changes.subscribe();
    loop {
        let last = no_more.is_cancelled();
        let dies = rng.random_ratio(1, 10);
        let terms = if dies {
            RetryPolicy {
                backoff: BRISK.backoff,
                ..OVER
            }
        } else {
            BRISK
        };
        match attempts::claim(database, WorkerId::generate(), terms)
            .await
            .unwrap()
        {
            Some(_) if dies => {
                attempts::sweep(database, BRISK).await.unwrap();
            }
            Some(lease) => work(&app, &lease, &mut rng).await,
            None if last => return,
            None => {
                // Lagging behind also means that something changed.
                let _ = changes.recv().await;
            }
        }
    }
}

async fn work(app: &App, lease: &Lease<Claimed>, rng: &mut ChaCha8Rng) {
    let database = &app.db.database;
    let path = format!("/v1/transfers/{}", lease.transfer);
    let fault = JobError {
        code: "storage".into(),
        detail: "gone".into(),
        pointer: None,
    };
    match rng.random_range(0..10) {
        0 => {
            attempts::fail(database, lease, &fault, rng.random(), BRISK)
                .await
                .unwrap();
        }
        1 => {
            attempts::hand_back(database, lease).await.unwrap();
        }
        2 => {
            app.post(&format!("{path}/cancel"), &json!({}), &[]).await;
            attempts::cancelled(database, lease).await.unwrap();
        }
        3 => {
            // Somebody pauses the retune in the middle of it, and thinks better of it.
            let retune = app.get(&path).await.ok(200).json()["retune"].clone();
            let retune = format!("/v1/retunes/{}", retune.as_str().expect("a member"));
            app.post(&format!("{retune}/pause"), &json!({}), &[]).await;
            succeed(app, lease).await;
            app.post(&format!("{retune}/resume"), &json!({}), &[]).await;
        }
        _ => succeed(app, lease).await,
    }
}

async fn succeed(app: &App, lease: &Lease<Claimed>) {
    let outcome = outcome(lease.transfer, verdict(lease.transfer));
    assert!(
        attempts::succeed(&app.db.database, lease, &outcome)
            .await
            .unwrap()
    );
}

async fn all(app: &App, path: &str) -> Vec<Value> {
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("{path}limit=50{after}"))
            .await
            .ok(200)
            .json();
        rows.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else {
            return rows;
        };
        after = format!("&after={next}");
    }
}

/// What a person does in the end: tries again what did not come through onto the newest version.
async fn retry_the_newest(app: &Arc<App>) {
    for round in 0.. {
        let mut left = 0;
        for transfer in all(app, "/v1/transfers?").await {
            let target = transfer["spec"]["target"]["base"]
                .as_str()
                .unwrap()
                .to_owned();
            let ended = ["failed", "cancelled"].contains(&transfer["status"].as_str().unwrap());
            if ended
                && MODELS
                    .iter()
                    .any(|model| target.ends_with(&folder(model, NEWEST)))
            {
                let path = format!("/v1/transfers/{}/retry", transfer["id"].as_str().unwrap());
                app.post(&path, &json!({}), &[]).await.ok(202);
                left += 1;
            }
        }
        if left == 0 {
            return;
        }
        let no_more = CancellationToken::new();
        no_more.cancel();
        worker(app.clone(), no_more, 1000 + round).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_the_end_every_fine_tune_has_one_result_on_the_newest_base() {
    let app = Arc::new(App::open().await);
    people(&app).await;
    let (mut couriers, mut workers) = (JoinSet::new(), JoinSet::new());
    let no_more = CancellationToken::new();
    for (i, model) in MODELS.into_iter().enumerate() {
        for seed in 0..2 {
            couriers.spawn(courier(app.clone(), model, seed + 10 * i as u64));
        }
    }
    for seed in 0..WORKERS {
        workers.spawn(worker(app.clone(), no_more.clone(), 100 + seed));
    }
    couriers.join_all().await;
    no_more.cancel();
    workers.join_all().await;
    retry_the_newest(&app).await;

    for model in MODELS {
        for i in 0..FINE_TUNES {
            check_fine_tune(&app, &format!("{model}-{i}"), i % 2 == 0).await;
        }
    }
    let retunes = all(&app, "/v1/retunes?").await;
    assert!(retunes.len() <= MODELS.len() * VERSIONS.len());
    for retune in &retunes {
        assert!(retune["finished_at"].is_string(), "it ended: {retune}");
    }
    let kinds = app.registry_events().await;
    let count = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    assert_eq!(
        count("base_model.version.created"),
        MODELS.len() * (1 + VERSIONS.len())
    );
    assert_eq!(count("retune.created"), retunes.len());
    assert!(count("retune.completed") >= retunes.len());
}

async fn check_fine_tune(app: &App, name: &str, promotes: bool) {
    let versions = all(app, &format!("/v1/fine_tunes/{name}/versions?")).await;
    let mut by_base: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, version) in versions.iter().enumerate() {
        assert_eq!(
            version["version"],
            versions.len() - i,
            "numbers have no gap"
        );
        *by_base
            .entry(version["base_version"].as_str().unwrap())
            .or_default() += 1;
    }
    assert!(
        by_base.values().all(|count| *count == 1),
        "{name}: {by_base:?}"
    );
    let newest = versions
        .iter()
        .find(|version| version["base_version"] == NEWEST);
    let newest = newest.unwrap_or_else(|| panic!("{name} has a result on the newest"));
    let production = app
        .get(&format!("/v1/fine_tunes/{name}/aliases/production"))
        .await;
    if !promotes {
        production.problem(404, "not_found");
    } else if newest["verdict"] == "published" {
        assert_eq!(
            production.ok(200).json()["version"],
            newest["version"],
            "{name}"
        );
    } else if production.status.is_success() {
        assert_eq!(production.json()["verdict"], "published", "{name}");
    }
}
