//! Renews the lease of one attempt, tells how it goes, and hears whether it should end.
//!
//! On an operating-system thread of its own with its own runtime and connections, so that neither a
//! computation that takes every core nor a full pool can delay it. It beats at the pace of the
//! settings; when a phase begins and when somebody wants to cancel, at once; and when the progress
//! moved, at most once a second, or more rarely where workers are many (`domain::fleet`). These hear of a
//! cancellation at their next beat. It ends when the attempt does, when the lease is lost, or when the
//! computation has not obeyed a cancellation for as long as a lease: then the transfer is not held for it
//! any longer, and the worker neither.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sqlx::postgres::PgListener;
use tokio::{runtime, time};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::{Worker, watch::Watch};
use crate::{
    config,
    pipeline::Stop,
    service::{
        database::{Database, transfers::leases::Claimed},
        domain::{fleet::Fleet, leases::Lease},
        registry::attempts::{self, Heard},
    },
};

/// The pace of attempts to connect.
const RECONNECT_EVERY: Duration = Duration::from_secs(1);
/// The pace at which it is looked whether the progress has moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One to beat, one to listen.
const CONNECTIONS: u32 = 2;

/// The running heartbeat. Dropped, it ends after the beat in flight.
pub struct Heartbeat {
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

struct Heart {
    url: String,
    lease: Lease<Claimed>,
    settings: config::Worker,
    fleet: Fleet,
    watch: Arc<Watch>,
    /// Since when the computation has been told to end.
    cancelled: Option<Instant>,
}

impl Heartbeat {
    /// Starts beating for `lease`, which `worker` holds.
    pub fn start(worker: &Worker, lease: Lease<Claimed>, watch: Arc<Watch>) -> io::Result<Self> {
        let end = CancellationToken::new();
        let ended = end.clone();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let heart = Heart {
            url: worker.database_url.clone(),
            lease,
            settings: worker.settings.clone(),
            fleet: worker.fleet.clone(),
            watch,
            cancelled: None,
        };
        let beating = heart.run().instrument(Span::current());
        let thread = thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || {
                runtime.block_on(ended.run_until_cancelled(beating));
            })?;

        Ok(Self {
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.end.cancel();
        // A panic in it has been reported by its thread.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Heart {
    async fn run(mut self) {
        let mut database = None;
        let mut listener = None;
        let mut last = Instant::now();
        loop {
            if database.is_none() {
                database = Database::connect_to(&self.url, CONNECTIONS).await.ok();
            }
            if !self.fleet.listens() {
                listener = None;
            } else if listener.is_none() {
                listener = listen(database.as_ref()).await;
            }
            let pause = if database.is_some() {
                self.settings.beat
            } else {
                RECONNECT_EVERY
            };
            self.wait(&mut listener, last + pause, last + self.fleet.tells_every())
                .await;
            last = Instant::now();
            let Some(connected) = &database else { continue };
            if !self.tell(connected).await {
                return;
            }
        }
    }

    /// Until a phase begins, somebody wants to cancel, or the next beat is due.
    async fn wait(&self, listener: &mut Option<PgListener>, due: Instant, tell: Instant) {
        tokio::select! {
            () = self.watch.news() => {}
            lost = wanted(listener.as_mut(), &self.lease) => if lost { *listener = None },
            () = self.due(due, tell) => {}
        }
    }

    /// Until `due`; from `tell` on, once a second, only until the progress has moved.
    async fn due(&self, due: Instant, tell: Instant) {
        time::sleep_until(tell.min(due).into()).await;
        while Instant::now() < due && !self.watch.has_changed() {
            time::sleep_until(due.min(Instant::now() + LOOK_EVERY).into()).await;
        }
    }

    /// Beats until everything is told; false when the lease is lost, or is to be.
    async fn tell(&mut self, database: &Database) -> bool {
        loop {
            let (report, more) = self.watch.report();
            let asked = Instant::now();
            let beat = attempts::beat(database, &self.lease, self.settings.lease, &report);
            match time::timeout(self.settings.beat, beat).await {
                Ok(Ok(heard)) if heard != Heard::Lost => {
                    self.watch.renew(asked + self.settings.lease);
                    if heard == Heard::Cancel && !self.cancel() {
                        return false;
                    }
                }
                // Given up, not lost: whoever records the end says so if it was lost before.
                Ok(Ok(_)) if self.watch.has_ended() => return false,
                Ok(Ok(_)) => {
                    tracing::warn!("the lease is lost; dropping the work");
                    self.watch.stop(Stop::HandedBack);
                    return false;
                }
                Ok(Err(error)) => tracing::warn!(%error, "a heartbeat failed"),
                Err(_) => tracing::warn!("a heartbeat was not answered in time"),
            }
            if !more {
                return true;
            }
        }
    }

    /// Tells the computation to end; false when it has not listened for as long as a lease.
    fn cancel(&mut self) -> bool {
        self.watch.stop(Stop::Cancelled);
        let since = *self.cancelled.get_or_insert_with(Instant::now);
        if since.elapsed() < self.settings.lease {
            return true;
        }

        tracing::error!(
            transfer = %self.lease.transfer,
            "the computation does not end though it was cancelled; it is left to itself"
        );

        self.watch.give_up();
        false
    }
}

async fn listen(database: Option<&Database>) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(&database?.pool).await.ok()?;
    listener.listen("transfer_cancelling").await.ok()?;
    Some(listener)
}

/// Until somebody wants this transfer cancelled (false) or the connection is lost (true).
async fn wanted(listener: Option<&mut PgListener>, lease: &Lease<Claimed>) -> bool {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };

    let ours = lease.transfer.to_string();
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) if notification.payload() == ours => return false,
            Ok(Some(_)) => {}
            // Renewed: something may have been missed meanwhile.
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}
