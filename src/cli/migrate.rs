//! `retune migrate`: brings the schema up to date, and nothing else.

use std::process::ExitCode;

use crate::config::Settings;

/// Bring the database's schema up to date.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// No database, or a step that fails.
pub fn run(_args: &Args, settings: Settings) -> anyhow::Result<ExitCode> {
    super::on_database(settings, |_migrated| async {
        eprintln!("the schema is up to date");
        Ok(ExitCode::SUCCESS)
    })
}
