//! `retune demo`: the main job from end to end, on real data, with nothing to set up.
//!
//! Order of events: start a service of our own; train an old base, its customisation and a new base
//! (`case`); store them where the service may read; submit the transfer over HTTP and watch it;
//! train the new base plainly for comparison; print the table; say where everything is. The story
//! goes to stderr, table and places to stdout. No row is left out, whatever the seed gives.

mod case;
mod comparison;
mod images;
mod service;
mod training;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    client::{Client, Connection, Seen},
    table, watch,
};
use crate::{
    config::Settings,
    contract::report::Report,
    service::{domain::transfers::Status, private_cluster},
};
use case::{Case, FEW, fresh_folder};
use comparison::Row;
use service::Service;
use training::{BATCH, Network, Trainer, WIDTH};

/// Learning rate of the epoch after the transfer; stated, not searched.
const AFTERWARDS: f64 = 0.02;

/// As shells name the end by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Show everything on real data: two bases, a stored trajectory, a transfer over HTTP, a table.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where everything is left; by default `demo` under the data dir.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Another seed makes other bases and another tuning.
    #[arg(long, env = "SEED", value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Leave the service and its dashboard up until Ctrl-C.
    #[arg(long)]
    keep_serving: bool,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

/// Ctrl-C or SIGTERM.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Runs the demo.
///
/// # Errors
/// No PostgreSQL, a folder that cannot be written, a transfer that failed.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| settings.data_dir().join("demo"));
    let dir = std::path::absolute(&dir).with_context(|| dir.display().to_string())?;
    private_cluster::create_folder(&dir)?;

    // One thread more than ours, which computes: it hears Ctrl-C.
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let stop = super::on_signal()?;
        let starting = Service::start(&dir, &settings.database.pg_bin);
        let mut service = stop
            .run_until_cancelled(starting)
            .await
            .ok_or(Interrupted)??;
        let demo = Demo {
            args,
            dir: &dir,
            stop: &stop,
        };
        let done = Box::pin(demo.tell(&mut service)).await;
        service.stop().await?;
        done
    });

    match done {
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(INTERRUPTED)),
        done => done.map(|()| ExitCode::SUCCESS),
    }
}

/// One run.
struct Demo<'a> {
    args: &'a Args,
    dir: &'a Path,
    stop: &'a CancellationToken,
}

impl Demo<'_> {
    async fn tell(&self, service: &mut Service) -> anyhow::Result<()> {
        let seed = self.args.seed;
        tellln!("Fashion-MNIST at 14 × 14, a network of {WIDTH} hidden units, seed {seed}");
        let network = Network::describe()?;
        let trainer = Trainer::new(&network, self.stop)?;
        let case = Case::make(&network, &trainer, seed)?;
        let folder = fresh_folder(&self.dir.join("objects"), seed)?;
        case.store(&network, &folder)?;
        let connection = Connection {
            url: service.url.clone(),
            api_key: None,
        };

        let client = Client::open(connection)?;
        tellln!("  submitting to {}", service.url);
        let methods = ["identity", "weight_matching", "fgmt"];
        let job = specification(&folder, &methods, seed);
        let (done, report) = self.transfer(&client, &job).await?;
        let mut rows = comparison::of_report(&report, &case.tuned)?;

        if report.winner != "fgmt" {
            // The epoch went to the winner; the table shows FGMT with one, too.
            let job = specification(&folder, &["fgmt"], seed);
            let (_, report) = self.transfer(&client, &job).await?;
            rows.push(comparison::with_epoch(&report)?);
        }

        let budget = rows.last().map_or(0, |row| row.sample_gradients);
        let (plain, rate) = comparison::plain(&case, &trainer, seed, budget)?;
        rows.extend(plain);
        let (_, unlabelled) = self
            .transfer(&client, &without_labels(&folder, seed))
            .await?;
        let unlabelled = comparison::without_labels(&case, &trainer, seed, &unlabelled)?;
        self.show(
            &Tables {
                rows: &rows,
                unlabelled: &unlabelled,
                rate,
            },
            &report,
        );

        self.places(&done, &folder, service);
        if self.args.keep_serving {
            tellln!("serving until Ctrl-C");
            self.stop
                .run_until_cancelled(service.ended())
                .await
                .unwrap_or(Ok(()))?;
        }

        Ok(())
    }

    /// Submits a transfer, draws its progress and reads its report.
    async fn transfer(&self, client: &Client, spec: &Value) -> anyhow::Result<(Seen, Report)> {
        let work = async {
            let seen = client.submit(spec, &Uuid::new_v4().to_string()).await?;
            let seen = watch::to_the_end(client, seen, self.args.json).await?;
            if seen.transfer.status != Status::Succeeded {
                bail!("{}", watch::ending(&seen.transfer));
            }
            let report = client.report(seen.transfer.id).await?;
            Ok((seen, report))
        };
        self.stop
            .run_until_cancelled(work)
            .await
            .ok_or(Interrupted)?
    }

    fn show(&self, tables: &Tables, report: &Report) {
        let Tables {
            rows,
            unlabelled,
            rate,
        } = tables;
        if self.args.json {
            let seed = self.args.seed;
            outln!(
                "{:#}",
                json!({"seed": seed, "rows": rows, "without_labels": unlabelled})
            );
            return;
        }

        outln!("\n{}", comparison::lines(rows));
        outln!(
            "Accuracy on 1500 turned test images that chose nothing. Plain fine-tuning had the best \
             of the rates\n{:?} on the validation images ({rate}; the search is not counted), the \
             epoch after a transfer {AFTERWARDS}.\n",
            comparison::RATES,
        );
        outln!("No labels at all: the transfer sees {FEW} images and nothing else.\n");
        outln!("{}", comparison::lines(unlabelled));
        for line in table::verdict(report) {
            outln!("{line}");
        }
    }

    fn places(&self, seen: &Seen, folder: &Path, service: &Service) {
        let uri = seen
            .transfer
            .result
            .as_ref()
            .map_or("", |result| result.uri.as_str());
        let result = uri
            .strip_prefix("file://")
            .unwrap_or(uri)
            .trim_end_matches('/');
        let text = format!(
            "\nmodel      {result}/model.safetensors\nreport     {result}/report.json\n\
             inputs     {}\n",
            folder.display(),
        );
        let dashboard = if self.args.keep_serving {
            format!("dashboard  {}transfers/{}\n", service.url, seen.transfer.id)
        } else {
            let dir = self.dir.display();
            format!("dashboard  retune serve --data-dir {dir}   (or demo --keep-serving)\n")
        };

        if self.args.json {
            tell!("{text}{dashboard}");
        } else {
            out!("{text}{dashboard}");
        }
    }
}

/// What is shown.
struct Tables<'a> {
    rows: &'a [Row],
    unlabelled: &'a [Row],
    /// Of plain fine-tuning.
    rate: f64,
}

/// The same transfer with a few images and none of their labels. The test images keep theirs, for the table.
fn without_labels(folder: &Path, seed: u64) -> Value {
    let mut job = specification(folder, &["identity", "weight_matching", "functional"], seed);
    let root = format!("file://{}", folder.display());
    job["data"]["train"] = json!(format!("{root}/data/unlabelled.safetensors"));
    job["data"]["validation"] = Value::Null;
    job["fine_tune"] = Value::Null;
    job
}

/// The job, as anyone would submit it.
fn specification(folder: &Path, methods: &[&str], seed: u64) -> Value {
    let root = format!("file://{}", folder.display());
    json!({
        "source": {"base": format!("{root}/old-base/"), "trajectory": format!("{root}/trajectory/")},
        "target": {"base": format!("{root}/new-base/")},
        "data": {"train": format!("{root}/data/train.safetensors"),
                 "validation": format!("{root}/data/validation.safetensors"),
                 "test": format!("{root}/data/test.safetensors")},
        "methods": methods,
        "options": {"seed": seed},
        "fine_tune": {"epochs": 1, "learning_rate": AFTERWARDS, "batch_size": BATCH},
        "output": format!("{root}/results/"),
        "metadata": {"demo": "turned clothes", "seed": seed.to_string()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::spec::Spec;

    #[test]
    fn the_job_is_one_that_the_service_accepts() {
        let value = specification(Path::new("/demo/objects/seed-0"), &["identity", "fgmt"], 0);
        let spec = Spec::from_json(&value).unwrap();
        assert_eq!(
            spec.source.trajectory,
            "file:///demo/objects/seed-0/trajectory/"
        );
        // As many gradients as one epoch has samples: see `case::TRAIN`.
        assert_eq!(
            2 * spec.options.batch_size * spec.options.timesteps,
            case::TRAIN
        );
        let spec = Spec::from_json(&without_labels(Path::new("/demo/objects/seed-0"), 0)).unwrap();
        assert_eq!(
            (spec.data.unwrap().validation, spec.fine_tune),
            (None, None)
        );
    }
}
