//! `retune migrate`: brings the schema up to date, and nothing else.

use std::process::ExitCode;

use serde_json::json;

use crate::{config::Settings, service::database::Database};

/// Bring the database's schema up to date.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// No database, or a step that fails.
pub fn run(args: &Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let json = args.json;
    super::on_database(settings, |_migrated| async move {
        if json {
            println!("{}", json!({"schema": Database::schema_version()}));
        } else {
            eprintln!("the schema is up to date");
        }
        Ok(ExitCode::SUCCESS)
    })
}
