//! Works off a queue that is leased from the database: transfers, deliveries, announcements and listings.
//!
//! Order of events: listen, claim as many entries as there is room for, work on each in a task of its
//! own, and wait where there was none: for a notification, for the end of an entry, or for the queue's
//! poll interval. A queue with many processes wakes one of those that wait: each says that it waits, and
//! looks once more, because what was queued meanwhile woke others.
//!
//! Each entry is held under a lease, and whoever works on it records what came of it under the lease's
//! token. At the end nothing more is claimed, and what is under way may go on for a while; what is aborted
//! then keeps its lease until that runs out, and somebody else works on it.

mod listener;

use std::{future::Future, iter, time::Duration};

use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::{
    database::Database,
    domain::leases::{Lease, Waiting},
};

pub use listener::Listener;

/// A queue whose entries are claimed under a lease.
pub trait Queue: Clone + Send + Sync + 'static {
    /// Everything that work on one entry needs.
    type Entry: Send + 'static;

    /// Where the database notifies of what is due whoever can do it.
    const CHANNEL: &'static str;

    /// What is claimed, as the log calls it.
    const NAME: &'static str;

    fn database(&self) -> &Database;

    /// Whether this process listens to notifications. Otherwise it finds what is due by looking.
    fn listens(&self) -> bool {
        true
    }

    /// Where the database wakes this process alone.
    fn own_channel(&self) -> Option<String> {
        None
    }

    /// Most entries worked on at once by this process.
    fn limit(&self) -> usize;

    /// The longest wait between two claims while there is room.
    fn poll(&self) -> Duration;

    /// How long work may go on after the end; `None` for as long as it takes.
    fn shutdown_grace(&self) -> Option<Duration>;

    /// Claims up to `limit` entries that are due.
    fn claim(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Lease<Self::Entry>>, sqlx::Error>> + Send;

    /// Says that this process found nothing; `listens`: that it may be woken.
    fn say_waiting(
        &self,
        _listens: bool,
    ) -> impl Future<Output = Result<Waiting, sqlx::Error>> + Send {
        async { Ok(Waiting::alone()) }
    }

    /// Works on an entry and records what came of it. Whether it ends early at `shutdown` is its own affair.
    fn work(
        self,
        lease: Lease<Self::Entry>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

/// Works until `shutdown`. Errors of the database are waited out.
pub async fn drive<Q: Queue>(queue: Q, shutdown: CancellationToken) {
    let mut listener = Listener::on(iter::once(Q::CHANNEL.to_owned()).chain(queue.own_channel()));
    let mut open = JoinSet::new();
    while !shutdown.is_cancelled() {
        // Before the claim: what is written between claim and waiting is notified already.
        if queue.listens() {
            listener.listen(queue.database()).await;
        } else {
            listener.close();
        }
        while open.try_join_next().is_some() {}

        let room = queue.limit().saturating_sub(open.len());
        let mut claimed = claim(&queue, room).await;
        if claimed.is_empty() {
            let waiting = if room == 0 {
                Waiting::alone()
            } else {
                say_waiting(&queue, listener.is_connected()).await
            };
            if waiting.is_new {
                claimed = claim(&queue, room).await;
            }
            if claimed.is_empty() {
                let longest = waiting.longest_wait(queue.poll());
                listener
                    .wait(longest, end_of_one(&mut open, &shutdown))
                    .await;
            }
        }
        for one in claimed {
            open.spawn(queue.clone().work(one, shutdown.clone()));
        }
    }

    finish(open, queue.shutdown_grace()).await;
}

async fn claim<Q: Queue>(queue: &Q, limit: usize) -> Vec<Lease<Q::Entry>> {
    if limit == 0 {
        return Vec::new();
    }

    queue.claim(limit).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot look for {}; trying again", Q::NAME);
        Vec::new()
    })
}

async fn say_waiting<Q: Queue>(queue: &Q, listens: bool) -> Waiting {
    queue.say_waiting(listens).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "could not say that this process waits for {}", Q::NAME);
        Waiting::alone()
    })
}

/// Until an entry ends, which may make room for another, or the end of all.
async fn end_of_one(open: &mut JoinSet<()>, shutdown: &CancellationToken) {
    tokio::select! {
        Some(_) = open.join_next() => {}
        () = shutdown.cancelled() => {}
    }
}

/// Until every entry has ended, at most for so long.
async fn finish(mut open: JoinSet<()>, grace: Option<Duration>) {
    let ended = async { while open.join_next().await.is_some() {} };
    match grace {
        // What is aborted when the set is dropped keeps its lease until that runs out.
        Some(grace) => {
            let _ = time::timeout(grace, ended).await;
        }
        None => ended.await,
    }
}
