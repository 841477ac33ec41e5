//! `retune retry`: queues a failed or cancelled transfer again.

use std::process::ExitCode;

use reqwest::Method;

use super::{id_prefix::IdPrefix, remote::Remote};

/// Queue a failed or cancelled transfer again, with its attempts counted anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id, or at least its first eight digits.
    id: IdPrefix,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.remote.client()?;
    let id = args.id.resolve(&client, "transfers").await?.to_string();
    let transfer = client
        .write(Method::POST, &["transfers", &id, "retry"], None)
        .await?;
    args.remote.show_line(&transfer, &format!("{id} queued"))
}
