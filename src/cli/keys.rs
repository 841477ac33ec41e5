//! `retune keys`: makes, lists and withdraws API keys, directly in the database.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use serde_json::json;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::id_prefix::IdPrefix;
use crate::{
    config::Settings,
    contract::ids::{KeyId, TenantId},
    service::{
        database::{Database, api_keys, tenants},
        domain::access::{ApiKey, Role},
        registry::keys,
    },
};

/// The tenant that every installation has.
const DEFAULT_NAME: &str = "default";

/// Make, list and withdraw API keys.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a key and print it; it is shown this once. A service that runs open because there was no key
    /// asks for one from then on, within five seconds.
    Create {
        /// What the key is for.
        #[arg(long, default_value = "command line")]
        name: String,
        #[arg(long, value_enum, default_value = "admin")]
        role: Role,
        /// Refuse the key after so many days.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
        expires_in: Option<u32>,
        /// Whose transfers the key reaches; a tenant of a new name is added.
        #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
        tenant: String,
        #[arg(long)]
        json: bool,
    },
    /// List the keys; their secrets are not kept.
    List {
        /// Whose keys.
        #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
        tenant: String,
        #[arg(long)]
        json: bool,
    },
    /// Withdraw a key.
    Revoke {
        /// As `list` shows it, or at least the first eight digits.
        id: IdPrefix,
        /// Whose keys.
        #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
        tenant: String,
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// No database, or no such key.
pub fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    super::on_database(settings, |database| async move {
        match command {
            Command::Create {
                name,
                role,
                expires_in,
                tenant,
                json,
            } => {
                let days = expires_in.map(|days| Duration::days(days.into()));
                let expires_at = days.map(|days| OffsetDateTime::now_utc() + days);
                ensure!(!tenant.trim().is_empty(), "a tenant's name is not empty");
                let tenant = tenants::add(&database, tenant.trim()).await?;
                let (key, secret) =
                    keys::create(&database, &name, tenant, role, expires_at).await?;
                show_made(&key, &secret, json);
            }
            Command::List { tenant, json } => {
                list(&database, known(&database, &tenant).await?, json).await?;
            }
            Command::Revoke { id, tenant, json } => {
                let tenant = known(&database, &tenant).await?;
                let id = if let Some(id) = id.whole() {
                    KeyId(id)
                } else {
                    let keys = api_keys::list(&database, tenant, None, i64::MAX).await?;
                    KeyId(id.only_one_of(keys.into_iter().map(|key| key.id.0), "key")?)
                };
                ensure!(
                    keys::revoke(&database, tenant, id).await?,
                    "no key has the id {id}"
                );
                if json {
                    outln!("{}", json!({"id": id, "state": "withdrawn"}));
                } else {
                    tellln!("withdrawn");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn show_made(key: &ApiKey, secret: &str, json: bool) {
    if json {
        outln!("{}", json!({"key": key, "secret": secret}));
    } else {
        tellln!("a key with the role {:?}; it is shown this once:", key.role);
        outln!("{secret}");
    }
}

async fn known(database: &Database, tenant: &str) -> anyhow::Result<TenantId> {
    let id = tenants::named(database, tenant).await?;
    id.with_context(|| format!("no tenant is called {tenant}"))
}

async fn list(database: &Database, tenant: TenantId, json: bool) -> anyhow::Result<()> {
    let keys = api_keys::list(database, tenant, None, i64::MAX).await?;
    if json {
        outln!("{}", json!({"data": keys, "next": null}));
        return Ok(());
    }

    outln!(
        "{:36}  {:15}  {:6}  {:20}  {:9}  NAME",
        "ID",
        "PREFIX",
        "ROLE",
        "CREATED",
        "STATE"
    );
    for key in keys {
        let created = key.created_at.replace_nanosecond(0)?.format(&Rfc3339)?;
        let role = format!("{:?}", key.role).to_lowercase();
        outln!(
            "{}  {}  {role:6}  {created}  {:9}  {}",
            key.id,
            key.prefix,
            state(&key),
            key.name
        );
    }
    Ok(())
}

fn state(key: &ApiKey) -> &'static str {
    match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "withdrawn",
        (None, Some(end)) if end <= OffsetDateTime::now_utc() => "expired",
        (None, _) => "holds",
    }
}
