//! Transfers of a tiny network through a service: claims, submissions, polls, memory.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use retune::{
    artifacts::tensors,
    engine::tensors::{Checkpoint, HostTensor},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinSet;

use crate::{AT_ONCE, Failure, rate, served::Served};

/// Submitted one after the other to idle workers.
const LATENCIES: usize = 200;
/// Queued while polls are counted.
const BACKLOG: usize = 600;
const POLLING: Duration = Duration::from_secs(5);

#[expect(clippy::too_many_lines, reason = "one figure after the other")]
pub(crate) async fn service(folder: &Path, database: &str) -> Result<(), Failure> {
    let spec = job(folder)?;
    let served = Served::start(folder, database, 2)?;
    let http = reqwest::Client::new();
    let transfers = format!("{}/v1/transfers", served.url);
    let submit = async || -> Result<String, Failure> {
        let answer = http
            .post(&transfers)
            .json(&spec)
            .send()
            .await?
            .error_for_status()?;
        let body: Value = answer.json().await?;
        Ok(body["id"].as_str().ok_or("an id")?.to_owned())
    };
    let finished = async |id: &str| -> Result<Value, Failure> {
        loop {
            let wait = http.get(format!("{transfers}/{id}?wait=30")).send().await?;
            let body: Value = wait.error_for_status()?.json().await?;
            match body["status"].as_str() {
                Some("succeeded") => return Ok(body),
                Some("queued" | "running") => {}
                _ => return Err(format!("it ended otherwise: {body}").into()),
            }
        }
    };
    // Idle: started, and nothing asked but its health.
    http.get(format!("{}/readyz", served.url))
        .send()
        .await?
        .error_for_status()?;
    println!("idle, two workers              {:8.0} MB", served.memory()?);
    let mut latencies = Vec::with_capacity(LATENCIES);
    for _ in 0..LATENCIES {
        let done = finished(&submit().await?).await?;
        let at = |key: &str| -> Result<OffsetDateTime, Failure> {
            Ok(OffsetDateTime::parse(
                done[key].as_str().ok_or("a time")?,
                &Rfc3339,
            )?)
        };
        latencies.push((at("started_at")? - at("created_at")?).as_seconds_f64() * 1e3);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((LATENCIES - 1) as f64 * share) as usize];
    println!(
        "claim latency, p50 / p99       {:8.1} / {:.1} ms",
        at(0.5),
        at(0.99)
    );

    let begun = Instant::now();
    let mut last = String::new();
    for _ in 0..BACKLOG {
        last = submit().await?;
    }
    println!(
        "submitted over HTTP, one client{:8.0} /s",
        rate(BACKLOG, begun)
    );
    let polls = polls(&http, &format!("{transfers}/{last}")).await?;
    println!("status polls while jobs run    {polls:8.0} /s");
    println!("busy, two workers              {:8.0} MB", served.memory()?);
    finished(&last).await?;
    println!(
        "tiny transfers, submit to end  {:8.0} /s",
        rate(BACKLOG, begun)
    );
    Ok(())
}

/// Answers in a second on eight connections.
async fn polls(http: &reqwest::Client, url: &str) -> Result<f64, Failure> {
    let (count, go_on) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (http, url) = (http.clone(), url.to_owned());
        let (count, go_on) = (Arc::clone(&count), Arc::clone(&go_on));
        tasks.spawn(async move {
            while go_on.load(Ordering::Relaxed) {
                http.get(&url)
                    .send()
                    .await?
                    .error_for_status()?
                    .bytes()
                    .await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), reqwest::Error>(())
        });
    }
    tokio::time::sleep(POLLING).await;
    go_on.store(false, Ordering::Relaxed);
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Three tiny models, and a job that needs no data.
fn job(folder: &Path) -> Result<Value, Failure> {
    let config = json!({"model_type": "graph", "input": {"kind": "features", "shape": [4]},
        "nodes": [{"op": "linear", "param": "fc1"}, {"op": "relu"}, {"op": "linear", "param": "fc2"}]});
    for (shift, name) in ["old", "tuned", "new"].into_iter().enumerate() {
        let tensor = |tensor: &str, shape: &[usize]| {
            let count: usize = shape.iter().product();
            let value = |i: usize| ((i * 7 + shift * 3) % 11) as f32 / 11.0 - 0.5;
            (
                tensor.to_owned(),
                HostTensor::from_f32(shape.to_vec(), (0..count).map(value).collect()),
            )
        };
        let model: Checkpoint = [
            tensor("fc1.weight", &[8, 4]),
            tensor("fc1.bias", &[8]),
            tensor("fc2.weight", &[3, 8]),
            tensor("fc2.bias", &[3]),
        ]
        .into_iter()
        .collect();
        fs::create_dir_all(folder.join(name))?;
        fs::write(folder.join(name).join("config.json"), config.to_string())?;
        fs::write(
            folder.join(name).join("model.safetensors"),
            tensors::to_bytes(&model),
        )?;
    }
    let at = |name: &str| format!("file://{}/{name}/", folder.display());
    Ok(
        json!({"source": {"base": at("old"), "trajectory": at("tuned")},
        "target": {"base": at("new")}, "methods": ["weight_matching"], "output": at("out")}),
    )
}
