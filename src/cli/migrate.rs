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
    let is_private = settings.database.url.is_empty();
    super::on_database(settings, |migrated| async move {
        if json {
            outln!("{}", json!({"schema": Database::schema_version()}));
        } else {
            tellln!("the schema is up to date");
        }
        // Written nowhere else, and needed for a back-up.
        let reached = migrated.pool.connect_options();
        if let Some(sockets) = reached.get_socket().filter(|_| is_private) {
            let (sockets, user) = (sockets.display(), reached.get_username());
            let database = reached.get_database().unwrap_or(user);
            tellln!(
                "the private database, while it runs: psql --host {sockets} --username {user} {database}"
            );
        }
        Ok(ExitCode::SUCCESS)
    })
}
