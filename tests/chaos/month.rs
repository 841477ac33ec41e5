//! A month: three base models, forty fine-tunes, twelve new versions by every route, under faults.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Failure,
    arrivals::{Arrival, ROUTES, Route, folder},
    case::{self, uri},
    client::Client,
    faults::Injected,
    fleet::is_defect,
    month_check::{self, Finding},
    receiver::{Received, Receiver},
    run::{Plan, strike},
    world::World,
};

pub const MODELS: [&str; 3] = ["llama", "bert", "vit"];
/// `1` is what the fine-tunes were tuned from.
const VERSIONS: [&str; 4] = ["1.1", "1.9", "1.10", "2"];
pub const NEWEST: &str = "2";
pub const FINE_TUNES: usize = 40;
const MODES: [&str; 4] = ["promote", "publish", "promote", "propose"];
const COURIERS: usize = 3;
/// As often as a folder may be listed.
const POLL_SECONDS: u32 = 30;
/// Everything has come to its end by then.
const PATIENCE: Duration = Duration::from_mins(8);

/// A fine-tune, by its number.
pub fn name(number: usize) -> String {
    format!("{}-{number}", MODELS[number % MODELS.len()])
}

pub fn mode(number: usize) -> &'static str {
    MODES[number % MODES.len()]
}

/// Whether its gate lets any result through.
pub fn may_pass(number: usize) -> bool {
    !number.is_multiple_of(5)
}

/// What a month found.
#[derive(Debug)]
pub struct Outcome {
    pub injected: Vec<Injected>,
    pub finding: Finding,
    pub received: Received,
    pub seconds: f64,
}

/// What a month's tasks share.
struct Month {
    world: Arc<World>,
    tokens: Vec<String>,
    seed: u64,
}

/// Plays the month in `folder`; of the plan, its size, pace and number of faults count.
pub async fn play(plan: &Plan, folder: &Path) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let world = Arc::new(World::open(folder, &plan.size).await?);
    let receiver = Receiver::start(plan.size.seed).await?;
    let tokens = people(&world, &receiver).await?;
    let month = Arc::new(Month {
        world: Arc::clone(&world),
        tokens,
        seed: plan.size.seed,
    });
    let mut couriers = JoinSet::new();
    for courier in 0..COURIERS {
        couriers.spawn(deliver(Arc::clone(&month), courier));
    }
    let over = AtomicBool::new(false);
    let quiet = async {
        while let Some(done) = couriers.join_next().await {
            done??;
        }
        let done = settled(&month).await;
        over.store(true, Ordering::SeqCst);
        done
    };
    // Faults go on until there is nothing left for them to hit.
    let (injected, quiet) = tokio::join!(strike(&world, plan, &over), quiet);
    quiet?;
    let received = told(&world, &receiver).await?;
    let answers = month.world.book.answers();
    let mut finding = month_check::find(&world, &received, &answers).await?;
    drop(month);
    let world = Arc::into_inner(world).ok_or("a task still runs")?;
    for (role, status) in world.fleet.stop().await? {
        if is_defect(status) {
            finding
                .wrong
                .push(format!("{role:?} ended by itself: {status}"));
        }
    }
    Ok(Outcome {
        injected: injected?,
        finding,
        received,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// What people do before the month begins; the tokens of the models' addresses.
async fn people(world: &World, receiver: &Receiver) -> Result<Vec<String>, Failure> {
    let client = Client::new(&world.urls, &world.book)?;
    let put =
        async |path: &str, body: Value| client.ask(Method::PUT, path, Some(("", &body))).await;
    let hook = json!({"url": receiver.url});
    let made = put("/v1/webhook_endpoints/everything", hook).await?;
    receiver.expect(made["secret"].as_str().ok_or("a secret")?);
    let mut tokens = Vec::new();
    for model in MODELS {
        case::put_model(&world.store, &folder(model, "1"), case::model(1)).await?;
        put(&format!("/v1/base_models/{model}"), json!({})).await?;
        let first = json!({"version": "1", "uri": uri(&format!("{}/", folder(model, "1")))});
        let path = format!("/v1/base_models/{model}");
        client
            .ask(
                Method::POST,
                &format!("{path}/versions"),
                Some(("", &first)),
            )
            .await?;
        let is_listed = |arrival: &Arrival| arrival.model == model && arrival.route == Route::Poll;
        let poll = arrivals().iter().any(is_listed).then_some(POLL_SECONDS);
        let prefix = json!({"prefix": uri(&format!("bases/{model}/")), "poll_seconds": poll});
        let path = format!("{path}/inbound_tokens");
        let made = client.ask(Method::POST, &path, Some(("", &prefix))).await?;
        tokens.push(made["token"].as_str().ok_or("a token")?.to_owned());
    }
    for number in 0..FINE_TUNES {
        let gate = if may_pass(number) { 0.01 } else { 0.99 };
        let body = json!({
            "base_model": MODELS[number % MODELS.len()], "base_version": "1",
            "trajectory": uri("tuned/"), "data": {"train": uri("train.safetensors")},
            "spec": {"methods": ["weight_matching"], "gate": {"min": gate}, "output": uri("out/"),
                "options": {"alpha": 1.0, "seed": number}},
            "policy": {"on": "new_version", "mode": mode(number)},
        });
        put(&format!("/v1/fine_tunes/{}", name(number)), body).await?;
    }
    Ok(tokens)
}

/// The arrivals of a month: each version of each model by a route of its own, all routes twice.
fn arrivals() -> Vec<Arrival> {
    let all = MODELS
        .into_iter()
        .flat_map(|model| VERSIONS.map(|version| (model, version)));
    let route = |i: usize| ROUTES[i % ROUTES.len()];
    all.enumerate()
        .map(|(i, (model, version))| Arrival {
            model,
            version,
            route: route(i),
        })
        .collect()
}

/// One courier: its share of the arrivals in any order, every second one twice.
async fn deliver(month: Arc<Month>, courier: usize) -> Result<(), Failure> {
    let client = Client::new(&month.world.urls, &month.world.book)?;
    let mut rng = ChaCha8Rng::seed_from_u64(month.seed);
    rng.set_stream(courier as u64 + 1);
    let own = || {
        arrivals()
            .into_iter()
            .enumerate()
            .filter(|(i, _)| i % COURIERS == courier)
    };
    let mut news: Vec<(usize, Arrival)> = own().chain(own().filter(|(i, _)| i % 2 == 0)).collect();
    news.shuffle(&mut rng);
    let mut landed = BTreeSet::new();
    for (i, arrival) in news {
        if landed.insert(i) {
            case::put_model(
                &month.world.store,
                &arrival.folder(),
                case::model(10 + i as u64),
            )
            .await?;
        }
        let model = MODELS
            .iter()
            .position(|model| *model == arrival.model)
            .ok_or("a model")?;
        arrival
            .announce(&client, &month.world.urls, &month.tokens[model])
            .await?;
        tokio::time::sleep(Duration::from_secs_f64(12.0 * rng.random::<f64>())).await;
    }
    Ok(())
}

/// Until every version is registered and every retune has ended.
async fn settled(month: &Month) -> Result<(), Failure> {
    let versions = (MODELS.len() * (1 + VERSIONS.len())) as i64;
    let question = "SELECT (SELECT count(*) FROM base_model_versions)
                        - (SELECT count(*) FROM retunes WHERE finished_at IS NULL) * 1000
                        - (SELECT count(*) FROM transfers WHERE finished_at IS NULL) * 1000";
    wait(
        &month.world,
        question,
        versions,
        "versions, retunes and transfers",
    )
    .await
}

/// Until every delivery has ended.
async fn told(world: &World, receiver: &Receiver) -> Result<Received, Failure> {
    let question = "SELECT count(*) FROM deliveries WHERE status = 'pending'";
    wait(world, question, 0, "deliveries").await?;
    Ok(receiver.received())
}

async fn wait(
    world: &World,
    question: &'static str,
    wanted: i64,
    what: &str,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < PATIENCE {
        // The database may be away just now.
        last = sqlx::query_scalar::<_, i64>(question)
            .fetch_one(&world.pool)
            .await
            .ok()
            .or(last);
        if last == Some(wanted) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(format!("{what} do not come to an end: {last:?} instead of {wanted}").into())
}
