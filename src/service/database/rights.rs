//! Row-level security, policies, roles and grants: what a dump, a restore or another database user can
//! lose, put in order at every start.
//!
//! Roles belong to the server and do not travel with a dump; grants and policies that name a role are
//! lost with it. The schema's own steps run once, so that none of this can be left to them. Order of
//! events: one query of the catalogue says what is missing and by which statement it comes back
//! (`rights.sql`); each statement is run; the query is asked again, until nothing is missing. Another
//! start may do the same at the same time: each statement does nothing that the other could not have
//! done. What this user may not mend is refused, with the statements for somebody who may.

use std::fmt;

use sqlx::{AssertSqlSafe, PgPool};

use super::Database;
use crate::{contract::ids::TenantId, service::domain::access::DEFAULT_TENANT};

/// What is granted to a role can be seen only once the role is there: two rounds, and one for another
/// process that mends at the same time.
const ROUNDS: usize = 4;

/// A right that this user, or the role that it becomes, does not have.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Missing {
    /// The right, for people.
    pub right_text: String,
    /// What gives it, run by somebody who may.
    pub statement: String,
}

/// Why the database cannot be worked with by this user.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    #[error(
        "the database user {user} sees no table of the schema: let its owner run `GRANT USAGE ON SCHEMA … \
         TO {user}`, or set its search_path"
    )]
    NoSchema { user: String },
    #[error(
        "the database user {user} lacks rights ({cause}): {missing}. Run `retune migrate` as the owner of the \
         tables or as a superuser, or let one of them run:{statements}"
    )]
    Missing {
        user: String,
        cause: String,
        missing: Listed,
        statements: Statements,
    },
    #[error("{}", .0.detail())]
    Hidden(Hidden),
    #[error(transparent)]
    Query(#[from] sqlx::Error),
}

/// Rows that must be seen and are not, although every right is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    FromTheService,
    FromTheTenant,
}

impl Hidden {
    fn detail(self) -> String {
        let who = match self {
            Self::FromTheService => "the service",
            Self::FromTheTenant => "the default tenant",
        };
        format!(
            "the row of the default tenant is hidden from {who}: a policy of the table tenants is not ours, or \
             the row is gone. Look at `\\d tenants`, or restore the table"
        )
    }
}

/// The rights that are missing, the first of them by name.
#[derive(Debug)]
pub struct Listed(Vec<String>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 3;
        f.write_str(&self.0[..self.0.len().min(NAMED)].join("; "))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Every statement that is needed, ready to be pasted.
#[derive(Debug)]
pub struct Statements(Vec<String>);

impl fmt::Display for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in &self.0 {
            write!(f, "\n  {statement};")?;
        }
        Ok(())
    }
}

/// Gives what is missing, as far as this user may.
///
/// # Errors
/// [`RightsError::Missing`] names what it may not give.
pub async fn put_in_order(pool: &PgPool) -> Result<(), RightsError> {
    let mut cause = None;
    for _ in 0..ROUNDS {
        let missing = missing(pool).await?;
        if missing.is_empty() {
            return Ok(());
        }
        cause = mend(pool, &missing).await;
    }

    let why = cause.map_or_else(
        || "PostgreSQL granted nothing".to_owned(),
        |error| said(&error),
    );
    refuse(pool, why).await
}

/// Looks for what is missing, and changes nothing.
///
/// # Errors
/// [`RightsError::Missing`] names it.
pub async fn check(pool: &PgPool) -> Result<(), RightsError> {
    refuse(
        pool,
        "the service was not started since they were lost".to_owned(),
    )
    .await
}

async fn refuse(pool: &PgPool, cause: String) -> Result<(), RightsError> {
    let missing = missing(pool).await?;
    if missing.is_empty() {
        return Ok(());
    }

    let (rights, statements) = missing
        .into_iter()
        .map(|missing| (missing.right_text, missing.statement))
        .unzip();

    Err(RightsError::Missing {
        user: user(pool).await?,
        cause,
        missing: Listed(rights),
        statements: Statements(statements),
    })
}

/// What the user whom `pool` belongs to lacks.
///
/// # Errors
/// [`RightsError::NoSchema`] when it sees no table at all.
pub async fn missing(pool: &PgPool) -> Result<Vec<Missing>, RightsError> {
    let seen: bool = sqlx::query_scalar("SELECT to_regclass('transfers') IS NOT NULL")
        .fetch_one(pool)
        .await?;
    if !seen {
        return Err(RightsError::NoSchema {
            user: user(pool).await?,
        });
    }
    // Not checked at compile time: it reads the catalogue.
    Ok(sqlx::query_as(include_str!("rights.sql"))
        .fetch_all(pool)
        .await?)
}

/// Runs each statement; the first refusal, if there was one.
async fn mend(pool: &PgPool, missing: &[Missing]) -> Option<sqlx::Error> {
    let mut refused = None;
    for Missing {
        right_text,
        statement,
    } in missing
    {
        // Made by the database itself, with its names quoted.
        match sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(pool)
            .await
        {
            Ok(_) => tracing::info!(statement, "the database lacked {right_text}; it was given"),
            Err(error) => refused = refused.or(Some(error)),
        }
    }

    refused
}

/// Looks at the same row as the service and as a tenant.
///
/// # Errors
/// [`RightsError::Hidden`] where a policy hides it, or from the database.
pub async fn probe(database: &Database) -> Result<(), RightsError> {
    const ROW: &str = "SELECT id FROM tenants WHERE id = $1";
    let row = sqlx::query_scalar::<_, TenantId>(ROW).bind(DEFAULT_TENANT);
    if row.fetch_optional(&database.pool).await?.is_none() {
        return Err(RightsError::Hidden(Hidden::FromTheService));
    }

    let mut scope = database.scope(DEFAULT_TENANT).await?;
    let row = sqlx::query_scalar::<_, TenantId>(ROW).bind(DEFAULT_TENANT);
    if row.fetch_optional(&mut *scope).await?.is_none() {
        return Err(RightsError::Hidden(Hidden::FromTheTenant));
    }

    Ok(())
}

async fn user(pool: &PgPool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT quote_ident(current_user)")
        .fetch_one(pool)
        .await
}

/// The database's own words, without the driver's before them.
fn said(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .map_or_else(|| error.to_string(), |error| error.message().to_owned())
}
