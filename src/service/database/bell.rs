//! Rings when the database notifies. Without a listening connection it only waits.

use std::{future::Future, time::Duration};

use sqlx::postgres::PgListener;
use tokio::time;

use super::Database;

/// An ear for one channel, on a connection of its own.
#[derive(Debug)]
pub struct Bell {
    channel: &'static str,
    listener: Option<PgListener>,
}

impl Bell {
    /// A bell that does not listen yet.
    pub fn on(channel: &'static str) -> Self {
        Self { channel, listener: None }
    }

    /// Listens from now on, if it did not. Where that fails, waiting is by time alone.
    pub async fn listen(&mut self, database: &Database) {
        if self.listener.is_some() {
            return;
        }
        let Ok(mut listener) = PgListener::connect_with(&database.pool).await else { return };
        if listener.listen(self.channel).await.is_ok() {
            self.listener = Some(listener);
        }
    }

    /// Until a ring, the end of `poll`, or `end`.
    pub async fn wait(&mut self, poll: Duration, end: impl Future<Output = ()>) {
        let lost = tokio::select! {
            rung = Self::ring(self.listener.as_mut()) => rung.is_err(),
            () = time::sleep(poll) => false,
            () = end => false,
        };
        if lost {
            self.listener = None;
            // Not at once again: the database may be restarting.
            time::sleep(poll.min(Duration::from_secs(1))).await;
        }
    }

    async fn ring(listener: Option<&mut PgListener>) -> Result<(), sqlx::Error> {
        match listener {
            Some(listener) => listener.try_recv().await.map(|_| ()),
            None => std::future::pending().await,
        }
    }
}
