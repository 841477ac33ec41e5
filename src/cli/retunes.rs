//! `retune retunes`: all transfers of one occasion, on a service.

use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    id_prefix::IdPrefix,
    remote::{Remote, Window},
};

/// Retunes: all transfers of one new base version, of an alias that moved, or of a wish.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List retunes, newest first.
    List {
        /// Only those of this status.
        #[arg(long)]
        status: Option<String>,
        /// Only those onto this base model.
        #[arg(long, value_name = "NAME")]
        base_model: Option<String>,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a retune.
    Show(One),
    /// Begin a retune by hand: onto a registered version, or onto locations.
    Start(Start),
    /// Let none of its waiting transfers begin; what runs goes on.
    Pause(One),
    /// Let them begin again.
    Resume(One),
    /// Cancel its transfers.
    Cancel(One),
}

/// Which retune.
#[derive(Debug, clap::Args)]
pub struct One {
    /// Its id, or at least the first eight digits.
    id: IdPrefix,
    #[command(flatten)]
    remote: Remote,
}

/// Begin a retune by hand: onto a registered version, or onto locations.
#[derive(Debug, clap::Args)]
pub struct Start {
    /// What to carry over; may be given repeatedly, needed with `--target`.
    #[arg(long = "fine-tune", value_name = "NAME")]
    fine_tunes: Vec<String>,
    /// The folder of a model to carry onto; may be given repeatedly.
    #[arg(
        long = "target",
        value_name = "URI",
        conflicts_with = "base_model",
        requires = "fine_tunes"
    )]
    targets: Vec<String>,
    /// Carry onto a version of this base model.
    #[arg(
        long,
        value_name = "NAME",
        requires = "version",
        required_unless_present = "targets"
    )]
    base_model: Option<String>,
    /// See `--base-model`.
    #[arg(long, requires = "base_model")]
    version: Option<String>,
    /// Transfers at work at once.
    #[arg(long, value_name = "N")]
    max_concurrent: Option<u32>,
    /// Seconds of computing after which no further transfer begins.
    #[arg(long, value_name = "SECONDS")]
    max_compute_seconds: Option<u32>,
    /// Makes a repeated call harmless; drawn at random when absent.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Start {
    /// As the service takes it; what is not given is left out.
    fn body(&self) -> Value {
        let mut body = Map::new();
        if !self.fine_tunes.is_empty() {
            body.insert("fine_tunes".into(), json!(self.fine_tunes));
        }

        if !self.targets.is_empty() {
            body.insert("targets".into(), json!(self.targets));
        }

        if let (Some(base_model), Some(version)) = (&self.base_model, &self.version) {
            body.insert("base_model".into(), json!(base_model));
            body.insert("version".into(), json!(version));
        }

        let limits = json!({
            "max_concurrent": self.max_concurrent,
            "max_compute_seconds": self.max_compute_seconds,
        });
        body.insert("limits".into(), limits);
        body.into()
    }
}

/// Runs the command.
///
/// # Errors
/// A refusal, no service.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List {
            status,
            base_model,
            window,
            remote,
        } => {
            let query = window.query(&[("status", status), ("base_model", base_model)]);
            let page = remote.client()?.read(&["retunes"], &query).await?;
            let columns = [
                ("ID", "/id"),
                ("STATUS", "/status"),
                ("REASON", "/reason"),
                ("BASE MODEL", "/base_model"),
                ("VERSION", "/base_version"),
                ("SUCCEEDED", "/counts/succeeded"),
                ("FAILED", "/counts/failed"),
                ("CREATED", "/created_at"),
            ];
            remote.show_page(&page, &columns)
        }
        Command::Show(One { id, remote }) => {
            let client = remote.client()?;
            let id = id.resolve(&client, "retunes").await?.to_string();
            remote.show(&client.read(&["retunes", &id], &[]).await?)
        }
        Command::Start(start) => {
            let client = start.remote.client()?;
            let key = start.idempotency_key.clone();
            let key = key.unwrap_or_else(|| Uuid::new_v4().to_string());
            let begun = client.begin_retune(&start.body(), &key).await?;
            start.remote.show(&begun)
        }
        Command::Pause(one) => steer(one, "pause").await,
        Command::Resume(one) => steer(one, "resume").await,
        Command::Cancel(one) => steer(one, "cancel").await,
    }
}

async fn steer(One { id, remote }: One, how: &str) -> anyhow::Result<ExitCode> {
    let client = remote.client()?;
    let id = id.resolve(&client, "retunes").await?.to_string();
    remote.show(
        &client
            .write(Method::POST, &["retunes", &id, how], None)
            .await?,
    )
}
