//! `retune work`: one worker process, for a database that others share.

use std::{
    future::Future, io::Read, net::SocketAddr, process::ExitCode, sync::Arc, thread, time::Duration,
};

use anyhow::Context;
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Settings},
    contract::ids::WorkerId,
    pipeline,
    service::{
        api,
        database::Database,
        domain::fleet::Fleet,
        listener,
        metrics::{self, Relay},
        worker::{self, Worker},
    },
};

/// To claim and record, and to listen for work; the heartbeat has its own.
const CONNECTIONS: u32 = 3;

/// How often what was counted is written to the parent.
const RELAY_INTERVAL: Duration = Duration::from_secs(1);

/// How often the recorder's readings are tidied up.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// Work on queued transfers, one at a time, without serving HTTP.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name given by `serve`, which holds our stdin open for as long as it lives.
    #[arg(long, hide = true)]
    child_id: Option<WorkerId>,
    /// Address and port for `/healthz` and `/metrics`; none: they are not served.
    #[arg(long, value_name = "ADDR", conflicts_with = "child_id")]
    metrics_listen: Option<SocketAddr>,
}

/// Works until SIGTERM, SIGINT or the end of the parent.
///
/// # Errors
/// No database.
pub fn run(args: &Args, mut settings: Settings) -> anyhow::Result<ExitCode> {
    // A device that computes wrong would publish guesses.
    pipeline::checked_device()?;
    let cluster = super::name_database(&mut settings)?.map(Arc::new);
    let worked = super::small_runtime()?.block_on(async {
        let shutdown = super::on_signal()?;
        let keeper = super::keep(cluster.clone(), shutdown.clone());
        let worked = Box::pin(work(args, settings, &shutdown)).await;
        shutdown.cancel();
        // What ended the database ended the work.
        keeper
            .await?
            .context("the worker has ended with its database")
            .and(worked)
    });
    super::close(cluster.and_then(Arc::into_inner));
    worked.map(|()| ExitCode::SUCCESS)
}

async fn work(args: &Args, settings: Settings, shutdown: &CancellationToken) -> anyhow::Result<()> {
    if args.child_id.is_some() {
        end_with_stdin(shutdown.clone())?;
    }

    let url = settings.database.url.clone();
    let database = Database::connect_to(&url, CONNECTIONS).await?;
    if args.child_id.is_none() {
        database.migrate().await?;
    }

    let relay = args.child_id.map(|_| relay_figures()).transpose()?;
    let served = match args.metrics_listen {
        Some(address) => {
            let serving = serve_figures(address, &database, &settings.http, shutdown).await?;
            Some(tokio::spawn(serving))
        }
        None => None,
    };

    let id = args.child_id.unwrap_or_else(WorkerId::generate);
    let worker = Worker {
        id,
        database: database.clone(),
        database_url: url,
        storage: super::open_storage(&settings)?,
        // One of its own: a predecessor that lost its lease may still be about.
        scratch: settings.scratch_dir().join(id.to_string()),
        cache: settings.cache_dir(),
        signer: super::open_signer(&settings.signing)?.map(Arc::new),
        settings: settings.worker,
        fleet: Fleet::default(),
    };
    Box::pin(worker::run(worker, shutdown.clone())).await;
    if let Some(relay) = relay {
        // A parent that has gone wants nothing any more.
        let _ = relay.write(&mut std::io::stdout().lock());
    }

    if let Some(served) = served {
        served.abort();
    }
    database.pool.close().await;
    Ok(())
}

/// Writes what this process counts to its parent, every second. On a thread of its own: a parent that does not read
/// holds up nothing else.
fn relay_figures() -> anyhow::Result<Relay> {
    let relay = Relay::install().context("another recorder of figures is installed")?;
    let written = relay.clone();
    thread::Builder::new()
        .name("figures".into())
        .stack_size(256 << 10)
        .spawn(move || {
            while written.write(&mut std::io::stdout().lock()).is_ok() {
                thread::sleep(RELAY_INTERVAL);
            }
        })?;

    Ok(relay)
}

/// Answers `/healthz` and `/metrics` there; what it returns runs until `shutdown`.
async fn serve_figures(
    address: SocketAddr,
    database: &Database,
    settings: &config::Http,
    shutdown: &CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "figures are served");

    let router = api::worker_router(database.clone());
    let (settings, shutdown) = (settings.clone(), shutdown.clone());
    Ok(async move {
        let upkeep = tokio::spawn(tidy_figures());
        listener::serve(listener, router, &settings, shutdown).await;
        upkeep.abort();
    })
}

/// The recorder gathers readings until someone tidies them up, whether or not they are asked for.
async fn tidy_figures() {
    let mut every = time::interval(TIDY_INTERVAL);
    loop {
        every.tick().await;
        metrics::recorder().run_upkeep();
    }
}

/// Ends the work when the pipe from the parent closes.
fn end_with_stdin(shutdown: CancellationToken) -> std::io::Result<()> {
    thread::Builder::new()
        .name("lifeline".into())
        .stack_size(64 << 10)
        .spawn(move || {
            let mut ignored = [0_u8; 64];
            while std::io::stdin()
                .read(&mut ignored)
                .is_ok_and(|read| read > 0)
            {}
            shutdown.cancel();
        })?;
    Ok(())
}
