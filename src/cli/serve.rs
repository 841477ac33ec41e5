//! `retune serve`: the interface, the dashboard and the workers by one command.
//!
//! Order of events: database (private or named), schema, keys, port, workers, the line on stdout.
//! At the end: no new requests, workers hand back, open requests get a deadline, database.

use std::{
    ffi::OsString, io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{net::TcpListener, runtime, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Retention, Settings},
    service::{
        api,
        arrivals::Looker,
        dashboard,
        database::{Database, api_keys, workers},
        listener, metrics, queue,
        registry::{attempts, clock, evaluations, retention},
        state::AppState,
        webhooks::{self, Sender},
        worker::processes::{self, Program},
    },
};

/// Beyond the worker's own grace of five seconds.
const WORKER_SHUTDOWN_GRACE: Duration = Duration::from_secs(8);

/// How often a sign of life is given, by which outages of the database are noticed.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How often what is old is forgotten.
const PRUNE_INTERVAL: Duration = Duration::from_hours(1);

/// Serve the HTTP interface and the dashboard, with worker processes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address and port; port 0 picks a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Worker processes.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// No database, no port, or an open address without any key.
pub fn run(
    args: &Args,
    config: Option<PathBuf>,
    mut settings: Settings,
) -> anyhow::Result<ExitCode> {
    settings.http.listen = args.listen.unwrap_or(settings.http.listen);
    settings.worker.processes = args.workers.unwrap_or(settings.worker.processes);
    let cluster = super::name_database(&mut settings)?.map(Arc::new);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let shutdown = super::on_signal()?;
        let keeper = super::keep(cluster.clone(), shutdown.clone());
        let served = serve(Arc::new(settings), config, &shutdown).await;
        shutdown.cancel();
        // What ended the database ended the service.
        keeper
            .await?
            .context("the service has ended with its database")
            .and(served)
    });

    runtime.shutdown_timeout(Duration::from_secs(1));
    super::close(cluster.and_then(Arc::into_inner));
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(
    settings: Arc<Settings>,
    config: Option<PathBuf>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    // Before anything is counted.
    metrics::recorder();
    let database = Database::connect(&settings).await?;
    database.migrate().await?;
    let open = may_run_open(&database, settings.http.listen).await?;
    let storage = super::open_storage(&settings)?;
    // Its workers would find that one after the other.
    super::open_signer(&settings.signing)?;
    let listener = TcpListener::bind(settings.http.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.http.listen))?;

    let address = listener.local_addr()?;

    let mut background = start_workers(&settings, config, &database, shutdown)?;
    spawn_upkeep(&settings, &database, shutdown, &mut background);
    let sender = Sender::new(database.clone(), &settings.webhooks, webhooks::lookup())?;
    background.spawn(queue::drive(sender, shutdown.clone()));
    let looker = Looker::new(database.clone(), storage.clone(), Arc::clone(&settings));
    background.spawn(queue::drive(looker, shutdown.clone()));

    let state = AppState::open(
        database.clone(),
        storage,
        Arc::clone(&settings),
        open,
        shutdown.clone(),
    );
    let router = api::router(state.clone(), |api| dashboard::router(state, api));
    announce(address)?;
    let serving = listener::serve(listener, router, &settings.http, shutdown.clone());
    let limit = settings.http.shutdown_timeout;
    tokio::select! {
        () = serving => {}
        () = after(shutdown, limit) => tracing::warn!("requests were still open at the end"),
    }

    shutdown.cancel();
    while background.join_next().await.is_some() {}
    // A connection that is still listening does not hold up the end.
    let _ = time::timeout(Duration::from_secs(1), database.pool.close()).await;
    Ok(())
}

/// Starts what is done from time to time, by the service itself.
fn spawn_upkeep(
    settings: &Arc<Settings>,
    database: &Database,
    shutdown: &CancellationToken,
    background: &mut JoinSet<()>,
) {
    background.spawn(sweep(
        Arc::clone(settings),
        database.clone(),
        shutdown.clone(),
    ));
    background.spawn(prune(
        settings.retention,
        database.clone(),
        shutdown.clone(),
    ));
    background.spawn(figures(shutdown.clone()));

    background.spawn(keep_time(
        settings.worker.lease,
        database.clone(),
        shutdown.clone(),
    ));
}

/// Refuses an address that others reach as long as no key exists. True: no key is asked for.
async fn may_run_open(database: &Database, listen: SocketAddr) -> anyhow::Result<bool> {
    if api_keys::any_exists(database).await? {
        return Ok(false);
    }
    if !listen.ip().is_loopback() {
        bail!(
            "{listen} can be reached by others and there is no API key yet: make one by \
             `retune keys create`, or listen on 127.0.0.1"
        );
    }

    tracing::warn!(
        "there is no API key: until one is made, everyone on this machine may do everything"
    );
    Ok(true)
}

/// The one line on stdout, for whoever started us.
fn announce(address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "retune listening on http://{address}")?;
    stdout.flush()
}

fn start_workers(
    settings: &Settings,
    config: Option<PathBuf>,
    database: &Database,
    shutdown: &CancellationToken,
) -> anyhow::Result<JoinSet<()>> {
    let mut arguments: Vec<OsString> = vec!["work".into(), "--data-dir".into()];
    arguments.push(settings.data_dir().into());
    if let Some(file) = config {
        arguments.extend(["--config".into(), file.into()]);
    }

    let program = Program {
        path: std::env::current_exe().context("cannot find our own program")?,
        arguments,
        database_url: settings.database.url.clone(),
        scratch: settings.scratch_dir(),
        shutdown_grace: WORKER_SHUTDOWN_GRACE,
    };
    let mut background = JoinSet::new();

    for _ in 0..settings.worker.processes {
        background.spawn(processes::keep_one(
            program.clone(),
            database.clone(),
            settings.worker.retry_policy(),
            shutdown.clone(),
        ));
    }

    Ok(background)
}

/// Tidies up after dead workers, anyone's, every so often.
async fn sweep(settings: Arc<Settings>, database: Database, shutdown: CancellationToken) {
    let mut every = time::interval(settings.worker.sweep);
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        match attempts::sweep(&database, settings.worker.retry_policy()).await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "leases had run out"),
            Err(error) => tracing::warn!(%error, "cannot sweep; trying again"),
        }
        match attempts::give_up_unreadable(&database, settings.worker.unreadable).await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "no worker could read these specifications"),
            Err(error) => tracing::warn!(%error, "cannot give up what nobody reads; trying again"),
        }
        match evaluations::expire(&database).await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "evaluations did not come by their deadlines"),
            Err(error) => tracing::warn!(%error, "cannot end overdue evaluations; trying again"),
        }
        if let Err(error) = workers::remove_silent(&database).await {
            tracing::debug!(%error, "cannot forget silent workers");
        }
    }
}

/// Gives signs of life, also while no worker does.
async fn keep_time(lease: Duration, database: Database, shutdown: CancellationToken) {
    let mut every = time::interval(HEARTBEAT_INTERVAL);
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        if let Err(error) = clock::tick(&database, lease).await {
            tracing::debug!(%error, "no sign of life could be given");
        }
    }
}

/// Forgets what is old enough, every so often.
async fn prune(keep: Retention, database: Database, shutdown: CancellationToken) {
    let mut every = time::interval(PRUNE_INTERVAL);
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        match retention::prune(&database, keep).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old history was forgotten"),
            Err(error) => tracing::warn!(%error, "cannot forget old history; trying again"),
        }
    }
}

/// The recorder gathers latencies until someone tidies them up, whether or not they are asked for.
async fn figures(shutdown: CancellationToken) {
    let mut every = time::interval(Duration::from_secs(10));
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        metrics::recorder().run_upkeep();
    }
}

async fn after(shutdown: &CancellationToken, limit: Duration) {
    shutdown.cancelled().await;
    time::sleep(limit).await;
}
