//! `retune cancel`: asks a transfer to stop.

use std::process::ExitCode;

use super::{
    client::{Client, Connection},
    id_prefix::IdPrefix,
    watch::word,
};

/// Cancel a transfer; one that runs stops before its next timestep.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The transfer's id, or at least its first eight digits.
    pub id: IdPrefix,
    /// Print the transfer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::open(args.connection)?;
    let id = args.id.resolve(&client, "transfers").await?;
    let seen = client.cancel(id.into()).await?;
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&seen.document)?);
    } else {
        outln!("{} {}", seen.transfer.id, word(&seen.transfer.status));
    }
    Ok(ExitCode::SUCCESS)
}
