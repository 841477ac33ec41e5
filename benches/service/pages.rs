//! The pages of the dashboard over many transfers, and under many browsers.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use retune::service::{database::Database, registry::submit};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{AT_ONCE, Failure, queue::row, served::Served};

/// Transfers that the pages are made over.
const LISTED: usize = 10_000;
/// Requests of each page.
const LOOKS: usize = 30;
/// Browsers with a page open, and for how long.
const BROWSERS: usize = 500;
const BROWSING: Duration = Duration::from_secs(10);

/// Milliseconds of each page, then the memory under many browsers. Nobody works, so that nothing else is measured.
#[expect(clippy::too_many_lines, reason = "one figure after the other")]
pub(crate) async fn pages(folder: &Path, url: &str) -> Result<(), Failure> {
    let database = Database::connect_to(url, AT_ONCE as u32).await?;
    database.migrate().await?;
    for _ in 0..LISTED {
        submit::enqueue(&database, row()).await?;
    }
    database.pool.close().await;

    let served = Served::start(folder, url, 0)?;
    let http = reqwest::Client::new();
    let listed = http
        .get(format!("{}/v1/transfers?limit=1", served.url))
        .send()
        .await?;
    let listed: Value = listed.error_for_status()?.json().await?;
    let one = format!(
        "/transfers/{}",
        listed["data"][0]["id"].as_str().ok_or("an id")?
    );
    for page in [
        "/",
        "/transfers",
        "/transfers?status=queued",
        "/transfers?search=nothing",
        one.as_str(),
        "/retunes",
    ] {
        let mut times = Vec::with_capacity(LOOKS);
        for _ in 0..LOOKS {
            let begun = Instant::now();
            http.get(format!("{}{page}", served.url))
                .send()
                .await?
                .error_for_status()?
                .bytes()
                .await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let shown = page.split_at(page.len().min(28)).0;
        println!(
            "page {shown:28} {:5.1} ms, slowest {:.1}",
            times[LOOKS / 2],
            times[LOOKS - 1]
        );
    }

    let before = served.memory()?;
    let mut browsers = JoinSet::new();
    for _ in 0..BROWSERS {
        let address = format!("{}{one}", served.url);
        browsers.spawn(async move {
            // Each has a connection of its own.
            let (http, begun, mut busy) = (reqwest::Client::new(), Instant::now(), 0_usize);
            while begun.elapsed() < BROWSING {
                let answer = http.get(&address).send().await?;
                if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
                    busy += 1;
                } else {
                    answer.error_for_status()?.bytes().await?;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Ok::<_, reqwest::Error>(busy)
        });
    }
    tokio::time::sleep(BROWSING).await;
    println!(
        "{BROWSERS} open pages                 {:8.0} MB, {before:.0} before",
        served.memory()?
    );
    let mut busy = 0;
    while let Some(done) = browsers.join_next().await {
        busy += done??;
    }
    println!("answers that the service was too busy for: {busy}");
    Ok(())
}
