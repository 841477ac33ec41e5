//! Hears which transfers change: one listening connection a process, many receivers.
//!
//! Notifications are a shortcut, never the truth: they stay out behind a transaction-mode pooler
//! and while the connection is renewed. So [`TransferId::ANY`] is broadcast every few seconds, and after
//! each renewal: it means "anything may have changed, look yourself".

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::{sync::broadcast, task::JoinHandle, time};

use super::Database;
use crate::contract::ids::TransferId;

/// Receivers that fall further behind than this see `Lagged`, which also means "look yourself".
const CAPACITY: usize = 1024;

/// How often everyone looks for themselves.
const POLL: Duration = Duration::from_secs(2);

/// Listens for changed transfers on behalf of the process. Dropping it ends the listening.
#[derive(Debug)]
pub struct Changes {
    sender: broadcast::Sender<TransferId>,
    task: JoinHandle<()>,
}

impl Changes {
    /// Starts listening, on a connection of its own from the pool.
    pub fn listen(database: &Database) -> Self {
        let (sender, _) = broadcast::channel(CAPACITY);
        let task = tokio::spawn(run(database.clone(), sender.clone()));
        Self { sender, task }
    }

    /// From now on: ids of changed transfers, and nil for "any of them".
    pub fn subscribe(&self) -> broadcast::Receiver<TransferId> {
        self.sender.subscribe()
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(database: Database, sender: broadcast::Sender<TransferId>) {
    let mut listener = None;
    let mut poll = time::interval(POLL);
    loop {
        if listener.is_none() {
            listener = listen(&database).await;
            // Whatever happened before went unheard.
            announce(&sender, TransferId::ANY);
        }
        tokio::select! {
            changed = next(&mut listener) => match changed {
                Ok(id) => announce(&sender, id),
                Err(error) => {
                    tracing::debug!(%error, "the listening connection was lost; polling until it is back");
                    listener = None;
                    poll.tick().await;
                }
            },
            _ = poll.tick() => announce(&sender, TransferId::ANY),
        }
    }
}

/// Nobody listening is no fault.
fn announce(sender: &broadcast::Sender<TransferId>, id: TransferId) {
    let _ = sender.send(id);
}

async fn listen(database: &Database) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(&database.pool).await.ok()?;
    listener.listen("transfers").await.ok()?;
    Some(listener)
}

/// The next changed transfer; for ever pending without a listener.
async fn next(listener: &mut Option<PgListener>) -> Result<TransferId, sqlx::Error> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    match listener.try_recv().await? {
        Some(notification) => Ok(notification.payload().parse().unwrap_or(TransferId::ANY)),
        None => Ok(TransferId::ANY),
    }
}
