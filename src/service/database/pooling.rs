//! Whether a pooler stands between us and the server, and shares its connections between transactions.
//!
//! A listening connection, a prepared statement and a lock of the migrator belong to one connection of
//! the server. `PgBouncer`'s `pool_mode = session` keeps them; `transaction` and `statement` hand the
//! connection to somebody else between two of our sentences. That shows late and as something else
//! ("prepared statement does not exist"), so that it is looked for at the start.

use sqlx::{Connection, PgConnection, PgPool, Row};

#[derive(Debug, thiserror::Error)]
pub enum PoolingError {
    #[error(
        "DATABASE_URL leads to a pooler that shares connections between transactions (PgBouncer's \
         `pool_mode = transaction` or `statement`), with which notifications, prepared statements and the lock \
         of the schema's steps are lost. Set `pool_mode = session` for this database, or name PostgreSQL itself"
    )]
    Shared,
    #[error("the database cannot be asked: {0}")]
    Query(#[from] sqlx::Error),
}

/// Asks on two connections which process of the server answers. Each has its own, and keeps it, unless
/// they are shared: while one waits between two sentences, the other is given the same.
///
/// # Errors
/// [`PoolingError::Shared`], or from the database.
pub async fn refuse_shared(pool: &PgPool) -> Result<(), PoolingError> {
    let mut one = pool.acquire().await?;
    let mut other = PgConnection::connect_with(&pool.connect_options()).await?;

    let before = backend(&mut one).await?;
    begin(&mut other).await?;
    let second = backend(&mut other).await?;
    // The second has a connection for as long as its transaction is open. If the first one's was taken by
    // a third meanwhile, the first is given another now.
    let is_shared = before == second || backend(&mut one).await? != before;
    other.close().await?;
    if is_shared {
        Err(PoolingError::Shared)
    } else {
        Ok(())
    }
}

async fn begin(connection: &mut PgConnection) -> Result<(), PoolingError> {
    match sqlx::raw_sql("BEGIN").execute(connection).await {
        Ok(_) => Ok(()),
        // PgBouncer's `statement` has no transactions at all, and says so.
        Err(error) if error.to_string().contains("pooling mode") => Err(PoolingError::Shared),
        Err(error) => Err(error.into()),
    }
}

/// By the simple protocol: a prepared statement is what a shared connection loses.
async fn backend(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()::text")
        .fetch_one(connection)
        .await?;
    row.try_get(0)
}
