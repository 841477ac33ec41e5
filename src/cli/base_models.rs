//! `retune base-models`: base models, their versions and aliases, on a service.

use std::{path::PathBuf, process::ExitCode};

use reqwest::Method;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    client::Client,
    remote::{Remote, Window},
    submit,
};

/// Base models, their versions and aliases.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List base models, newest first.
    List {
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        remote: Remote,
    },
    /// Register a base model, or describe it anew.
    Put {
        name: String,
        /// Its description, licence and metadata, a JSON file; `-` reads standard input.
        #[arg(value_name = "FILE.json|-")]
        description: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Register a version; fine-tunes that follow the base model are carried over.
    AddVersion(NewVersion),
    /// Delete a base model, or a version of it, on which nothing lives; the models stay in storage.
    Delete {
        name: String,
        /// Only this version.
        #[arg(long)]
        version: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the versions of a base model, newest arrival first.
    Versions {
        name: String,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show where an alias stands, or move it.
    Alias {
        name: String,
        alias: String,
        /// Where it is to stand; fine-tunes that follow the alias are carried over.
        version: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// List what was announced as a version, and what became of it.
    Arrivals {
        name: String,
        /// Only those of this status.
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Register a version; fine-tunes that follow the base model are carried over.
#[derive(Debug, clap::Args)]
pub struct NewVersion {
    name: String,
    version: String,
    /// The folder of the model, as the service reaches it.
    uri: String,
    /// The version that it was made from.
    #[arg(long, value_name = "VERSION")]
    parent: Option<String>,
    #[arg(long)]
    licence: Option<String>,
    /// From when on it should not be used: `2027-01-31T00:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = time_of)]
    retires_at: Option<OffsetDateTime>,
    #[command(flatten)]
    remote: Remote,
}

fn time_of(text: &str) -> Result<OffsetDateTime, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339)
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service, an unreadable file.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { window, remote } => list(window, &remote).await,
        Command::Put {
            name,
            description,
            remote,
        } => {
            let body = description.map_or_else(|| Ok(json!({})), |file| submit::read(&file))?;
            let client = remote.client()?;
            remote.show(
                &client
                    .write(Method::PUT, &["base_models", &name], Some(&body))
                    .await?,
            )
        }
        Command::AddVersion(new) => add_version(new).await,
        Command::Delete {
            name,
            version,
            remote,
        } => delete(&name, version.as_deref(), &remote).await,
        Command::Versions {
            name,
            window,
            remote,
        } => versions(&name, window, &remote).await,
        Command::Alias {
            name,
            alias,
            version,
            remote,
        } => {
            let path = ["base_models", &name, "aliases", &alias];
            remote.show(&put_alias(&remote.client()?, &path, version).await?)
        }
        Command::Arrivals {
            name,
            status,
            window,
            remote,
        } => arrivals(&name, status, window, &remote).await,
    }
}

async fn list(window: Window, remote: &Remote) -> anyhow::Result<ExitCode> {
    let page = remote
        .client()?
        .read(&["base_models"], &window.query(&[]))
        .await?;
    let columns = [
        ("NAME", "/name"),
        ("VERSIONS", "/versions"),
        ("CREATED", "/created_at"),
    ];
    remote.show_page(&page, &columns)
}

async fn versions(name: &str, window: Window, remote: &Remote) -> anyhow::Result<ExitCode> {
    let path = ["base_models", name, "versions"];
    let page = remote.client()?.read(&path, &window.query(&[])).await?;
    let columns = [
        ("VERSION", "/version"),
        ("CREATED", "/created_at"),
        ("BYTES", "/size"),
        ("RETUNE", "/retune"),
        ("URI", "/uri"),
    ];
    remote.show_page(&page, &columns)
}

async fn arrivals(
    name: &str,
    status: Option<String>,
    window: Window,
    remote: &Remote,
) -> anyhow::Result<ExitCode> {
    let query = window.query(&[("status", status)]);
    let page = remote
        .client()?
        .read(&["base_models", name, "arrivals"], &query)
        .await?;
    let columns = [
        ("VERSION", "/version"),
        ("STATUS", "/status"),
        ("ANNOUNCED", "/announced_at"),
        ("URI", "/uri"),
        ("REASON", "/reason"),
    ];
    remote.show_page(&page, &columns)
}

async fn delete(name: &str, version: Option<&str>, remote: &Remote) -> anyhow::Result<ExitCode> {
    let mut path = vec!["base_models", name];
    path.extend(version.iter().flat_map(|version| ["versions", *version]));
    remote.client()?.delete(&path, &[]).await?;
    let done = json!({"name": name, "version": version, "state": "deleted"});
    remote.show_line(&done, &format!("{} deleted", version.unwrap_or(name)))
}

async fn put_alias(
    client: &Client,
    path: &[&str],
    version: Option<String>,
) -> anyhow::Result<serde_json::Value> {
    match version {
        None => client.read(path, &[]).await,
        Some(version) => {
            client
                .write(Method::PUT, path, Some(&json!({"version": version})))
                .await
        }
    }
}

async fn add_version(new: NewVersion) -> anyhow::Result<ExitCode> {
    let body = json!({
        "version": new.version, "uri": new.uri, "parent": new.parent, "licence": new.licence,
        "retires_at": new.retires_at.map(|end| end.format(&Rfc3339)).transpose()?,
    });
    let client = new.remote.client()?.patient();
    let added = client
        .write(
            Method::POST,
            &["base_models", &new.name, "versions"],
            Some(&body),
        )
        .await?;
    new.remote.show(&added)
}
