//! The command line: reads it, loads the settings, hands over to one file a command.
//!
//! Exit codes: 0 done, 1 a job failed or was cancelled, 2 bad usage or input, 3 a job is done and its model
//! was rejected. Answers go to stdout, everything else to stderr, both by the macros of [`output`].

#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
pub mod output;

mod bar;
pub mod base_models;
pub mod cancel;
pub mod client;
pub mod completions;
pub mod convert;
mod database;
pub mod delete;
pub mod demo;
mod device_check;
pub mod doctor;
pub mod download;
pub mod evaluate;
pub mod events;
pub mod fine_tunes;
mod id_prefix;
pub mod keys;
pub mod list;
mod local;
pub mod migrate;
mod networks;
pub mod openapi;
mod plain_paths;
pub mod plan;
pub mod push;
mod remote;
pub mod report;
pub mod retry;
mod retry_until;
pub mod retunes;
pub mod serve;
pub mod show;
mod stores;
pub mod submit;
pub mod symmetry;
mod table;
pub mod tenants;
pub mod transfer;
pub mod verify;
pub mod watch;
pub mod work;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Settings,
    pipeline::{DeviceSettings, Recommendation, Verdict, choose_device},
    telemetry::{self, traces},
};

pub use database::{close, keep, name_database, on_database};
pub use stores::{open_signer, open_storage};

/// What the process exits with when something was wrong with its input or surroundings.
const REFUSED: u8 = 2;

/// What the process exits with when a job is done and its model was not published.
pub const REJECTED: u8 = 3;

/// Carries the tuning of a neural network over to a new base model.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// A settings file; `config/default.toml` in the sources shows every key.
    #[arg(long, global = true, value_name = "FILE", env = "RETUNE_CONFIG")]
    config: Option<PathBuf>,
    /// Where the service keeps its state.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Serve(serve::Args),
    Work(work::Args),
    Migrate(migrate::Args),
    Transfer(transfer::Args),
    Plan(plan::Args),
    Symmetry(symmetry::Args),
    Networks(networks::Args),
    Evaluate(evaluate::Args),
    Convert(convert::Args),
    Verify(verify::Args),
    Push(push::Args),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Keys(keys::Command),
    #[command(subcommand)]
    Tenants(tenants::Command),
    Submit(submit::Args),
    Watch(watch::Args),
    List(list::Args),
    Show(show::Args),
    Events(events::Args),
    Report(report::Args),
    Download(download::Args),
    Cancel(cancel::Args),
    Retry(retry::Args),
    Delete(delete::Args),
    #[command(subcommand)]
    BaseModels(base_models::Command),
    #[command(subcommand)]
    FineTunes(fine_tunes::Command),
    #[command(subcommand)]
    Retunes(retunes::Command),
    Openapi(openapi::Args),
    Completions(completions::Args),
    DeviceCheck(device_check::Args),
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    // Before anything speaks TLS; an error says that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    allow_many_files();
    // Exits with 2 on bad usage and 0 on --help.
    let cli = Cli::parse();
    let done = run(cli);
    traces::stop();
    let done = done.and_then(|code| {
        output::finish()
            .context("the answer cannot be written")
            .map(|()| code)
    });

    done.unwrap_or_else(|error| {
        // Where even this cannot be written, the exit code still says it.
        tellln!("retune: {error:#}");
        ExitCode::from(REFUSED)
    })
}

/// What a job came to.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub verdict: Verdict,
    pub recommendation: Option<Recommendation>,
    /// Its owner said what is enough.
    pub has_gate: bool,
}

impl Judged {
    /// How a command ends whose job is done: a model that was not published is no success to a script, nor one
    /// on which the samples could not decide, where no gate has.
    pub fn exit_code(self) -> ExitCode {
        let collects = self.recommendation == Some(Recommendation::Collect) && !self.has_gate;
        match self.verdict {
            Verdict::Published if !collects => ExitCode::SUCCESS,
            _ => ExitCode::from(REJECTED),
        }
    }
}

/// Models of many shards keep them open while they are transferred; the default of 1024 files is for
/// programs that wait by `select`.
fn allow_many_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it is refused, the limit stays as it is.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(cli.config.as_deref())?;
    if let Some(folder) = cli.data_dir {
        folder
            .to_str()
            .context("--data-dir is not UTF-8")?
            .clone_into(&mut settings.data_dir);
    }

    telemetry::start(&settings.log).context("log.level")?;
    if matches!(cli.command, Command::Serve(_) | Command::Work(_)) {
        // Work is worth more than its traces.
        if let Err(error) = traces::start() {
            tracing::warn!(%error, "no traces are exported");
        }
    }

    choose_device(DeviceSettings {
        choice: settings.worker.device,
        memory_bytes: settings.worker.device_memory_bytes,
    });

    match cli.command {
        Command::Demo(args) => demo::run(&args, &settings),
        Command::Serve(args) => serve::run(&args, cli.config, settings),
        Command::Work(args) => work::run(&args, settings),
        Command::Migrate(args) => migrate::run(&args, settings),
        Command::Transfer(args) => transfer::run(&args, &settings),
        Command::Plan(args) => plan::run(&args, &settings),
        Command::Symmetry(args) => symmetry::run(&args, &settings),
        Command::Networks(args) => Ok(networks::run(&args)),
        Command::Evaluate(args) => evaluate::run(&args, &settings),
        Command::Convert(args) => convert::run(&args),
        Command::Verify(args) => verify::run(&args, &settings),
        Command::Push(args) => push::run(&args, &settings),
        Command::Doctor(args) => doctor::run(&args, settings),
        Command::Keys(command) => keys::run(command, settings),
        Command::Tenants(command) => tenants::run(&command, settings),
        Command::Submit(args) => small_runtime()?.block_on(submit::run(args)),
        Command::Watch(args) => small_runtime()?.block_on(watch::run(args)),
        Command::List(args) => small_runtime()?.block_on(list::run(args)),
        Command::Show(args) => small_runtime()?.block_on(show::run(args)),
        Command::Events(args) => small_runtime()?.block_on(events::run(args)),
        Command::Report(args) => small_runtime()?.block_on(report::run(args)),
        Command::Download(args) => small_runtime()?.block_on(download::run(args)),
        Command::Cancel(args) => small_runtime()?.block_on(cancel::run(args)),
        Command::Retry(args) => small_runtime()?.block_on(retry::run(args)),
        Command::Delete(args) => small_runtime()?.block_on(delete::run(args)),
        Command::BaseModels(command) => small_runtime()?.block_on(base_models::run(command)),
        Command::FineTunes(command) => small_runtime()?.block_on(fine_tunes::run(command)),
        Command::Retunes(command) => small_runtime()?.block_on(retunes::run(command)),
        Command::Openapi(args) => openapi::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::DeviceCheck(args) => device_check::run(&args, &settings),
    }
}

/// A runtime that uses the calling thread alone, for commands that mostly wait.
///
/// # Errors
/// When the system refuses it.
pub fn small_runtime() -> std::io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Cancelled by SIGTERM or SIGINT. Call within a runtime.
///
/// # Errors
/// When the signals cannot be watched.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}
