//! `retune work`: one worker process, for a database that others share.

use std::{io::Read, process::ExitCode, sync::Arc, thread};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Settings,
    contract::ids::WorkerId,
    pipeline,
    service::{
        database::Database,
        worker::{self, Worker},
    },
};

/// To claim and record, and to listen for work; the heartbeat has its own.
const CONNECTIONS: u32 = 3;

/// Work on queued transfers, one at a time, without serving HTTP.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name given by `serve`, which holds our stdin open for as long as it lives.
    #[arg(long, hide = true)]
    child_id: Option<WorkerId>,
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
        keeper.await?.context("the worker has ended with its database").and(worked)
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

    let id = args.child_id.unwrap_or_else(WorkerId::generate);
    let worker = Worker {
        id,
        database: database.clone(),
        database_url: url,
        storage: super::open_storage(&settings)?,
        // One of its own: a predecessor that lost its lease may still be about.
        scratch: settings.scratch_dir().join(id.to_string()),
        cache: settings.cache_dir(),
        settings: settings.worker,
    };
    Box::pin(worker::run(worker, shutdown.clone())).await;
    database.pool.close().await;
    Ok(())
}

/// Ends the work when the pipe from the parent closes.
fn end_with_stdin(shutdown: CancellationToken) -> std::io::Result<()> {
    thread::Builder::new().name("lifeline".into()).stack_size(64 << 10).spawn(move || {
        let mut ignored = [0_u8; 64];
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        shutdown.cancel();
    })?;
    Ok(())
}
