//! `retune delete`: removes a transfer that has ended.

use std::process::ExitCode;

use serde_json::json;

use super::{id_prefix::IdPrefix, remote::Remote};

/// Delete a transfer that has ended, with its events.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id, or at least its first eight digits.
    id: IdPrefix,
    /// Delete the files of its result too.
    #[arg(long)]
    files: bool,
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
    client
        .delete(&["transfers", &id], &[("files", args.files.to_string())])
        .await?;

    args.remote.show_line(
        &json!({"id": id, "state": "deleted"}),
        &format!("{id} deleted"),
    )
}
