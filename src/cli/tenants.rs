//! `retune tenants`: who shares this installation and how much each may use, directly in the database.

use std::{process::ExitCode, str::FromStr};

use anyhow::Context;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use crate::{
    config::Settings,
    service::{
        database::{
            Database,
            tenants::{self, NewQuotas},
        },
        domain::access::Tenant,
        registry::tenant_settings,
    },
};

/// Who shares this installation; `retune keys create --tenant` adds one.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the tenants.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Give a tenant quotas of its own; those not named stay, and `default` is what the settings say.
    Quotas {
        name: String,
        /// Transfers that may wait at once.
        #[arg(long, value_name = "N|default")]
        queued_transfers: Option<Bound<i32>>,
        /// Seconds that workers may compute within 24 hours.
        #[arg(long, value_name = "N|default")]
        compute_seconds_per_day: Option<Bound<i64>>,
        /// Bytes of results that may be written within 24 hours.
        #[arg(long, value_name = "N|default")]
        result_bytes_per_day: Option<Bound<i64>>,
        #[arg(long)]
        json: bool,
    },
}

/// A number from 0 on; none is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<N>(Option<N>);

impl<N: FromStr + Default + PartialOrd> FromStr for Bound<N> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "default" {
            return Ok(Self(None));
        }
        let number = text.parse().ok().filter(|number| *number >= N::default());
        number
            .map(|number| Self(Some(number)))
            .ok_or("a whole number from 0 on, or default")
    }
}

/// Runs the command.
///
/// # Errors
/// No database, or no such tenant.
pub fn run(command: &Command, settings: Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { json } => {
            let json = *json;
            super::on_database(
                settings,
                |database| async move { list(&database, json).await },
            )
        }
        Command::Quotas {
            name,
            queued_transfers,
            compute_seconds_per_day,
            result_bytes_per_day,
            json,
        } => {
            let (name, json) = (name.clone(), *json);
            let quotas = NewQuotas {
                queued_transfers: queued_transfers.map(|bound| bound.0),
                compute_seconds_per_day: compute_seconds_per_day.map(|bound| bound.0),
                result_bytes_per_day: result_bytes_per_day.map(|bound| bound.0),
            };
            super::on_database(settings, |database| async move {
                let tenant = tenant_settings::set_quotas(&database, &name, quotas).await?;
                show(
                    &tenant.with_context(|| format!("there is no tenant {name}"))?,
                    json,
                );
                Ok(ExitCode::SUCCESS)
            })
        }
    }
}

async fn list(database: &Database, json: bool) -> anyhow::Result<ExitCode> {
    let tenants = tenants::list(database).await?;
    if json {
        outln!("{}", json!({"data": tenants, "next": null}));
        return Ok(ExitCode::SUCCESS);
    }

    outln!("{:36}  {:20}  NAME", "ID", "CREATED");
    for tenant in tenants {
        let created = tenant.created_at.replace_nanosecond(0)?.format(&Rfc3339)?;
        outln!("{}  {created}  {}", tenant.id, tenant.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(tenant: &Tenant, json: bool) {
    if json {
        outln!("{}", json!(tenant));
        return;
    }

    let rows = [
        ("queued_transfers", tenant.queued_transfers.map(i64::from)),
        ("compute_seconds_per_day", tenant.compute_seconds_per_day),
        ("result_bytes_per_day", tenant.result_bytes_per_day),
    ];
    for (name, bound) in rows {
        outln!(
            "{name:24}  {}",
            bound.map_or_else(|| "default".to_owned(), |n| n.to_string())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_count_or_the_default() {
        assert_eq!("0".parse(), Ok(Bound(Some(0i32))));
        assert_eq!("default".parse(), Ok(Bound::<i64>(None)));
        for faulty in ["-1", "", "many", "2147483648"] {
            assert!(faulty.parse::<Bound<i32>>().is_err(), "{faulty}");
        }
    }
}
