//! What the database must be before anything is done with it: this program's schema, and its rights.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migrator};

use super::{
    Database,
    pooling::{self, PoolingError},
    rights::{self, RightsError},
};

/// The schema, embedded in the binary.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// PostgreSQL's `insufficient_privilege`.
const DENIED: &str = "42501";
/// PostgreSQL's `undefined_table`.
const NO_TABLE: &str = "42P01";
/// PostgreSQL's `invalid_schema_name`: no schema may be used at all.
const NO_SCHEMA: &str = "3F000";

/// Why the database cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error(transparent)]
    Pooling(#[from] PoolingError),
    #[error(
        "the schema cannot be brought up to date: the database user {user} may not change it ({cause}). {way_out}"
    )]
    MayNotChange {
        user: String,
        cause: String,
        way_out: String,
    },
    #[error("the schema cannot be brought up to date: {0}")]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Rights(#[from] RightsError),
    #[error("the database cannot be asked: {0}")]
    Query(#[from] sqlx::Error),
}

/// Whether the service can work with its database.
#[derive(Debug)]
pub enum Readiness {
    Ready,
    /// Older or newer than this program.
    OtherSchema,
    /// A right is missing, or rows are hidden: what and how to mend it.
    Rights(RightsError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    Ours,
    Other,
    /// This user may not even look.
    Denied,
}

impl Database {
    /// Brings the schema up to this version and the rights in order. Safe to run from several processes
    /// at once. Where the schema is up to date already, its owner need not be the one who asks.
    ///
    /// # Errors
    /// [`SchemaError`], each with the way out.
    pub async fn migrate(&self) -> Result<(), SchemaError> {
        pooling::refuse_shared(&self.pool).await?;
        let mut applied = self.applied().await?;
        if applied == Applied::Denied {
            rights::put_in_order(&self.pool).await?;
            applied = self.applied().await?;
        }
        if applied != Applied::Ours
            && let Err(error) = MIGRATIONS.run(&self.pool).await
        {
            return Err(self.explained(error).await);
        }

        rights::put_in_order(&self.pool).await?;
        rights::probe(self).await?;

        Ok(())
    }

    /// The last step of the schema of this program.
    pub fn schema_version() -> Option<i64> {
        MIGRATIONS.iter().map(|step| step.version).max()
    }

    /// Whether the database answers, has this version's schema, and gives its rows to the service and to
    /// a tenant.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn is_ready(&self) -> Result<Readiness, sqlx::Error> {
        if self.applied().await? == Applied::Other {
            return Ok(Readiness::OtherSchema);
        }

        let looked = match rights::check(&self.pool).await {
            Ok(()) => rights::probe(self).await,
            missing => missing,
        };

        match looked {
            Ok(()) => Ok(Readiness::Ready),
            // The database has spoken: it is there, and says why not.
            Err(RightsError::Query(error)) if error.as_database_error().is_none() => Err(error),
            Err(error) => Ok(Readiness::Rights(error)),
        }
    }

    async fn applied(&self) -> Result<Applied, sqlx::Error> {
        // Not checked at compile time: the table is the migrator's, not the schema's.
        let last: Result<Option<i64>, _> =
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&self.pool)
                .await;
        match last {
            Ok(last) if last == Self::schema_version() => Ok(Applied::Ours),
            Ok(_) => Ok(Applied::Other),
            Err(error) if is_denied(&error) => Ok(Applied::Denied),
            Err(error) if code(&error).as_deref() == Some(NO_TABLE) => Ok(Applied::Other),
            Err(error) => Err(error),
        }
    }

    /// A step that this user may not run says who may.
    async fn explained(&self, error: MigrateError) -> SchemaError {
        let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = &error
        else {
            return error.into();
        };
        if !(is_denied(cause) || code(cause).as_deref() == Some(NO_SCHEMA)) {
            return error.into();
        }

        match self.way_out().await {
            Ok((user, way_out)) => SchemaError::MayNotChange {
                user,
                cause: cause.to_string(),
                way_out,
            },
            Err(_) => error.into(),
        }
    }

    /// This user, and what somebody else must do for it.
    async fn way_out(&self) -> Result<(String, String), sqlx::Error> {
        let (user, bypasses): (String, bool) = sqlx::query_as(
            "SELECT quote_ident(rolname), rolbypassrls AND NOT rolsuper FROM pg_roles
             WHERE rolname = current_user",
        )
        .fetch_one(&self.pool)
        .await?;

        let found: Option<(String, String, bool)> = sqlx::query_as(
            "SELECT quote_ident(n.nspname), quote_ident(pg_get_userbyid(c.relowner)::text),
                    has_schema_privilege(n.oid, 'USAGE')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relname = '_sqlx_migrations' AND c.relkind = 'r' LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;

        let way_out = match found.filter(|(_, owner, _)| !(bypasses && *owner == user)) {
            Some((schema, owner, false)) => {
                format!("Let {owner} run: GRANT USAGE ON SCHEMA {schema} TO {user}")
            }
            Some((_, owner, true)) => format!(
                "Run `retune migrate` once with a DATABASE_URL of {owner}, who owns the tables; then {user} \
                 can go on"
            ),
            // It would have to become another role, as superusers do, which only they may arrange.
            None if bypasses => format!(
                "A user with BYPASSRLS that is no superuser cannot be kept within a tenant: let a superuser run \
                 ALTER ROLE {user} NOBYPASSRLS, or name another user"
            ),
            None => format!(
                "Let the owner of the database run: GRANT USAGE, CREATE ON SCHEMA public TO {user}"
            ),
        };

        Ok((user, way_out))
    }
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn is_denied(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(DENIED)
}
