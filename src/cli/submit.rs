//! `retune submit`: hands a specification to a service.

use std::{io::Read, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::Value;
use uuid::Uuid;

use super::{
    client::{Client, Connection, Refused},
    plain_paths,
    retry_until::RetryUntil,
    watch,
};

/// Submit a job to a service. Plain paths in it are files of this machine, where the service reads them too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The specification, a JSON file; `-` reads standard input.
    #[arg(value_name = "SPEC.json|-")]
    pub spec: PathBuf,
    /// Stay and show the progress until the transfer ends.
    #[arg(long)]
    pub wait: bool,
    /// Makes a repeated call harmless; drawn at random when absent.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the transfer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Runs the command.
///
/// # Errors
/// An unreadable specification, a refusal, no service.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut spec = read(&args.spec)?;
    let paths = plain_paths::resolve(&mut spec);
    let client = Client::open(args.connection)?;
    let key = args
        .idempotency_key
        .unwrap_or_else(|| Uuid::new_v4().to_string());
    let mut retry = RetryUntil::default();
    let seen = loop {
        match client.submit(&spec, &key).await {
            Ok(seen) => break seen,
            // The key makes the second try harmless.
            Err(error) if args.wait && error.is::<Refused>() => retry.wait_out(error).await?,
            Err(error) => return Err(plain_paths::explain(&client, error, &paths).await),
        }
    };

    if args.wait {
        if !args.json {
            outln!("{}", seen.transfer.id);
        }
        return watch::follow(&client, seen, args.json).await;
    }

    if args.json {
        outln!("{}", serde_json::to_string_pretty(&seen.document)?);
    } else {
        outln!("{}", seen.transfer.id);
    }

    Ok(ExitCode::SUCCESS)
}

/// Reads a JSON document from a file or, for `-`, from standard input.
///
/// # Errors
/// An unreadable file, or one that is not JSON.
pub fn read(path: &std::path::Path) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin()
            .read_to_end(&mut text)
            .context("cannot read standard input")?;
    } else {
        text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}
