//! `retune doctor`: looks at what an installation stands on, and says what is wrong and how to mend it.
//!
//! It runs where `serve` or `work` runs, with the same settings, and changes nothing: the one thing that it writes is
//! an empty object under each root, which it removes. A root's folder that is not there yet is made, as the service
//! would.

mod database;
mod disk;
mod finding;
mod signing;
mod storage;

use std::process::ExitCode;

use serde_json::json;

use super::{close, name_database, small_runtime};
use crate::config::Settings;
use finding::{Finding, State};

/// Look at the database, the roots of storage, the disk, the signing key, the workers and the clock; exit 1 where something is wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the system refuses a thread.
pub fn run(args: &Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let findings = look(settings)?;
    let is_well = findings
        .iter()
        .all(|finding| finding.state != State::Trouble);
    if args.json {
        outln!("{}", json!({"ok": is_well, "findings": findings}));
    } else {
        for finding in &findings {
            outln!("{finding}");
        }
    }

    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn look(mut settings: Settings) -> anyhow::Result<Vec<Finding>> {
    let mut findings = disk::look(&settings);
    findings.extend(signing::look(&settings));
    // May start the private server, which is left as it was found.
    let cluster = match name_database(&mut settings) {
        Ok(cluster) => cluster,
        Err(error) => {
            let mend =
                "set DATABASE_URL, or install PostgreSQL and name its programs in RETUNE_PG_BIN";
            findings.push(Finding::trouble("database", format!("{error:#}"), mend));
            None
        }
    };

    small_runtime()?.block_on(async {
        findings.extend(storage::look(&settings).await);
        if !settings.database.url.is_empty() {
            findings.extend(database::look(&settings).await);
        }
    });
    close(cluster);

    Ok(findings)
}
