//! `retune openapi`: the API's description, without a server.

use std::process::ExitCode;

/// Print the OpenAPI document.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// A document that cannot be written as JSON.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    outln!(
        "{}",
        serde_json::to_string_pretty(crate::service::api::openapi())?
    );
    Ok(ExitCode::SUCCESS)
}
