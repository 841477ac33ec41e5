//! All SQL and nothing else, one file or folder per table. Use cases stand in `registry`, which calls the queries
//! within its transactions and records events and audit entries.
//!
//! Every transition of a transfer is one transaction of `registry`: the guarded `UPDATE`, the event and the
//! notification (by trigger) become visible together or not at all. Times are the database's. A
//! worker's writes name its lease token and must change one row. No transaction stays open while
//! anything is computed.
//!
//! What is done for a tenant names it in its query and runs in a [`Scope`], where the database itself
//! keeps the tenants apart. What serves all tenants (workers, senders, the sweep) runs outside.

pub mod api_keys;
pub mod arrivals;
pub(in crate::service) mod attempts;
pub mod audit_events;
pub mod base_models;
pub mod changes;
pub mod clock;
pub mod deliveries;
mod enum_labels;
pub mod events;
pub mod figures;
pub mod fine_tunes;
pub mod idempotency;
pub mod inbound_tokens;
pub mod me;
pub mod outage;
pub mod overview;
mod pooling;
pub mod quotas;
pub mod retunes;
pub mod rights;
mod schema;
pub mod tenants;
pub mod transfers;
pub mod webhook_endpoints;
pub mod workers;

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, Executor, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{config::Settings, contract::ids::TenantId};

pub use schema::{Readiness, SchemaError};

/// How long a query may wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How each connection begins. Not in the startup packet, where `PgBouncer` refuses what it does not know.
const FIRST_WORDS: &str = "\
    -- \"Already exists, skipping\" is no news.
    SET client_min_messages = warning;
    -- Nothing of ours thinks in the middle of a transaction. A process that was stopped there would
    -- keep its locks, and a transfer's next worker from it.
    SET idle_in_transaction_session_timeout = '10s'";

/// See [`Database::scope`].
pub type Scope = Transaction<'static, Postgres>;

/// The way to PostgreSQL; cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    pub pool: PgPool,
}

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "no database is named: set DATABASE_URL (postgres://user:password@host/name), or let \
         `retune serve` start its own"
    )]
    NotNamed,
    #[error("the database URL cannot be read ({0}); write postgres://user:password@host/name")]
    Url(sqlx::Error),
    #[error("the database does not answer: {0}; is DATABASE_URL right and the server up?")]
    Unreachable(sqlx::Error),
}

impl Database {
    /// Connects to `database.url` with at most `database.connections` connections.
    ///
    /// # Errors
    /// [`ConnectError`] when no URL is set, it cannot be read, or nobody answers there.
    pub async fn connect(settings: &Settings) -> Result<Self, ConnectError> {
        let url = &settings.database.url;
        if url.is_empty() {
            return Err(ConnectError::NotNamed);
        }
        Self::connect_to(url, settings.database.connections).await
    }

    /// Connects to `url`, `postgres://user@host/name` or `postgres://user@localhost/name?host=/dir`.
    ///
    /// # Errors
    /// As [`Database::connect`].
    pub async fn connect_to(url: &str, connections: u32) -> Result<Self, ConnectError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(ConnectError::Url)?
            .application_name("retune")
            // What every PostgreSQL since 12 does by itself; another word that PgBouncer refuses.
            .extra_float_digits(None);

        let pool = PgPoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(FIRST_WORDS).await.map(|_| ()) })
            })
            .connect_with(options)
            .await
            .map_err(ConnectError::Unreachable)?;

        Ok(Self { pool })
    }

    /// A transaction in which nothing of another tenant can be seen or written, whatever a query
    /// asks for (the policies of `migrations/*_access.sql`). It costs one round trip; a reader may
    /// drop it.
    ///
    /// # Errors
    /// From the database.
    pub async fn scope(&self, tenant: TenantId) -> Result<Scope, sqlx::Error> {
        // A UUID's text has nothing to quote.
        let begin = format!("BEGIN; SELECT enter_tenant('{tenant}')");
        self.pool.begin_with(AssertSqlSafe(begin)).await
    }
}
