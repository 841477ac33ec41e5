//! Waits for notifications of the database. Without a listening connection it only waits for the time
//! to pass.

use std::{future::Future, time::Duration};

use sqlx::postgres::PgListener;
use tokio::time;

use crate::service::database::Database;

/// Listens on NOTIFY channels, over a dedicated connection.
#[derive(Debug)]
pub struct Listener {
    channels: Vec<String>,
    connection: Option<PgListener>,
}

impl Listener {
    /// A listener that is not connected yet.
    pub fn on(channels: impl IntoIterator<Item = String>) -> Self {
        Self {
            channels: channels.into_iter().collect(),
            connection: None,
        }
    }

    /// Listens from now on, if it did not. Where that fails, waiting is by time alone.
    pub async fn listen(&mut self, database: &Database) {
        if self.connection.is_some() {
            return;
        }

        let Ok(mut connection) = PgListener::connect_with(&database.pool).await else {
            return;
        };
        let channels = self.channels.iter().map(String::as_str);
        if connection.listen_all(channels).await.is_ok() {
            self.connection = Some(connection);
        }
    }

    /// Whether it hears of anything.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Listens no more.
    pub fn close(&mut self) {
        self.connection = None;
    }

    /// Until a notification, the end of `poll`, or `end`.
    pub async fn wait(&mut self, poll: Duration, end: impl Future<Output = ()>) {
        let lost = tokio::select! {
            notified = Self::notified(self.connection.as_mut()) => notified.is_err(),
            () = time::sleep(poll) => false,
            () = end => false,
        };
        if lost {
            self.connection = None;
            // Not at once again: the database may be restarting.
            time::sleep(poll.min(Duration::from_secs(1))).await;
        }
    }

    async fn notified(connection: Option<&mut PgListener>) -> Result<(), sqlx::Error> {
        match connection {
            Some(connection) => connection.try_recv().await.map(|_| ()),
            None => std::future::pending().await,
        }
    }
}
