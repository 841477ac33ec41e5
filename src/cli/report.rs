//! `retune report`: what a transfer tried, and what came of it.

use std::process::ExitCode;

use super::{id_prefix::IdPrefix, remote::Remote, table};
use crate::contract::report::Report;

/// Show the report of a finished transfer: the candidates, the verdict, the decision and its reasons.
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
/// A refusal, no service, no report.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.remote.client()?;
    let id = args.id.resolve(&client, "transfers").await?.to_string();
    let document = client.read(&["transfers", &id, "report"], &[]).await?;
    if args.remote.json() {
        return args.remote.show(&document);
    }

    let report: Report = serde_json::from_value(document)?;
    if let Some(name) = &report.name {
        outln!("{name}");
    }

    out!("{}", table::candidates(&report));
    for line in table::verdict(&report) {
        outln!("{line}");
    }

    Ok(ExitCode::SUCCESS)
}
