//! `retune tenants`: who shares this installation, directly in the database.

use std::process::ExitCode;

use serde_json::json;
use time::format_description::well_known::Rfc3339;

use crate::{config::Settings, service::database::tenants};

/// Who shares this installation; `retune keys create --tenant` adds one.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the tenants.
    List {
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// No database.
pub fn run(command: &Command, settings: Settings) -> anyhow::Result<ExitCode> {
    let Command::List { json } = *command;
    super::on_database(settings, |database| async move {
        let tenants = tenants::list(&database).await?;
        if json {
            println!("{}", json!({"data": tenants, "next": null}));
            return Ok(ExitCode::SUCCESS);
        }
        println!("{:36}  {:20}  NAME", "ID", "CREATED");
        for tenant in tenants {
            let created = tenant.created_at.replace_nanosecond(0)?.format(&Rfc3339)?;
            println!("{}  {created}  {}", tenant.id, tenant.name);
        }
        Ok(ExitCode::SUCCESS)
    })
}
