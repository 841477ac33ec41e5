//! `retune fine-tunes`: fine-tunes, their versions and where those stand, on a service.

use std::{path::PathBuf, process::ExitCode};

use reqwest::Method;
use serde_json::json;

use super::{
    remote::{Remote, Window},
    submit,
};

/// Fine-tunes, their versions, promotion and rollback.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List fine-tunes, newest first.
    List {
        /// Only those of this base model.
        #[arg(long, value_name = "NAME")]
        base_model: Option<String>,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a fine-tune.
    Show {
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Register a fine-tune, or change it.
    Put {
        name: String,
        /// Its base, trajectory, job and policy, a JSON file; `-` reads standard input.
        #[arg(value_name = "SPEC.json|-")]
        spec: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the versions of a fine-tune, newest first.
    Versions {
        name: String,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a fine-tune with its versions and aliases; the results stay in storage.
    Delete {
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Move an alias onto a version.
    Promote(Move),
    /// Move an alias back from a version to where it stood before.
    Rollback(Move),
    /// Let only administrators move an alias; results that a policy would move it to wait for one of them.
    Protect(Protection),
    /// Let everyone who may submit move an alias again, and policies.
    Unprotect(Protection),
}

/// Which alias of which fine-tune.
#[derive(Debug, clap::Args)]
pub struct Protection {
    name: String,
    #[arg(long, default_value = "production")]
    alias: String,
    #[command(flatten)]
    remote: Remote,
}

/// Which alias of which fine-tune, and the version.
#[derive(Debug, clap::Args)]
pub struct Move {
    name: String,
    /// Its number.
    version: u32,
    #[arg(long, default_value = "production")]
    alias: String,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service, an unreadable file.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List {
            base_model,
            window,
            remote,
        } => {
            let query = window.query(&[("base_model", base_model)]);
            let page = remote.client()?.read(&["fine_tunes"], &query).await?;
            let columns = [
                ("NAME", "/name"),
                ("BASE MODEL", "/base_model"),
                ("BASE VERSION", "/base_version"),
                ("ON", "/policy/on"),
                ("MODE", "/policy/mode"),
                ("CREATED", "/created_at"),
            ];
            remote.show_page(&page, &columns)
        }
        Command::Show { name, remote } => {
            remote.show(&remote.client()?.read(&["fine_tunes", &name], &[]).await?)
        }
        Command::Put { name, spec, remote } => {
            let body = submit::read(&spec)?;
            let client = remote.client()?;
            remote.show(
                &client
                    .write(Method::PUT, &["fine_tunes", &name], Some(&body))
                    .await?,
            )
        }
        Command::Versions {
            name,
            window,
            remote,
        } => {
            let path = ["fine_tunes", &name, "versions"];
            let page = remote.client()?.read(&path, &window.query(&[])).await?;
            let columns = [
                ("VERSION", "/version"),
                ("STATE", "/state"),
                ("BASE VERSION", "/base_version"),
                ("CREATED", "/created_at"),
                ("URI", "/uri"),
            ];
            remote.show_page(&page, &columns)
        }
        Command::Delete { name, remote } => {
            remote.client()?.delete(&["fine_tunes", &name], &[]).await?;
            remote.show_line(
                &json!({"name": name, "state": "deleted"}),
                &format!("{name} deleted"),
            )
        }
        Command::Promote(it) => relocate(it, "promote").await,
        Command::Rollback(it) => relocate(it, "rollback").await,
        Command::Protect(it) => protect(it, true).await,
        Command::Unprotect(it) => protect(it, false).await,
    }
}

async fn relocate(it: Move, how: &str) -> anyhow::Result<ExitCode> {
    let number = it.version.to_string();
    let path = ["fine_tunes", &it.name, "versions", &number, how];
    let body = json!({"alias": it.alias});
    it.remote.show(
        &it.remote
            .client()?
            .write(Method::POST, &path, Some(&body))
            .await?,
    )
}

async fn protect(it: Protection, protected: bool) -> anyhow::Result<ExitCode> {
    let path = ["fine_tunes", &it.name, "aliases", &it.alias];
    let body = json!({"protected": protected});
    it.remote.show(
        &it.remote
            .client()?
            .write(Method::PUT, &path, Some(&body))
            .await?,
    )
}
