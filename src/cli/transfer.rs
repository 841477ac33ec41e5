//! `retune transfer`: one transfer, run here.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use serde_json::json;
use uuid::Uuid;

use super::{
    Judged,
    local::{Local, Watcher, failed, read_spec, refused},
    table,
};
use crate::{
    config::Settings,
    contract::{manifest::files, report::Report},
    pipeline::{self, Job, Outcome},
};

/// Run a transfer on this machine, without service or database: exit 0 when the model was published, 3
/// when it was rejected or neither samples nor a gate can tell (`collect`), 1 when the transfer failed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job specification; `-` reads stdin.
    #[arg(value_name = "SPEC.json")]
    spec: PathBuf,
    /// The name of the result's folder; a fresh one by default.
    #[arg(long)]
    id: Option<Uuid>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// # Errors
/// A specification that cannot be read.
pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let spec = read_spec(&args.spec).and_then(|spec| Ok(spec.check_local().map(|()| spec)?));
    let spec = match spec {
        Ok(spec) => spec,
        Err(error) => return refused(error, args.json),
    };
    let local = Local::open(settings)?;
    let watcher = Arc::new(Watcher::new());
    let interrupted = Arc::clone(&watcher);
    local.on_interrupt(move || interrupted.stop());
    let (storage, scratch) = (&local.storage, local.scratch.as_path());
    let id = args.id.unwrap_or_else(Uuid::now_v7);
    let cache = local.cache.as_deref();
    let progress = watcher.as_ref();
    let memory = pipeline::memory_limit(settings.worker.memory_bytes);
    let signer = super::open_signer(&settings.signing)?;
    let signer = signer.as_ref();
    let job = Job {
        id,
        spec: &spec,
        storage,
        scratch,
        cache,
        memory,
        signer,
        progress,
    };

    let done = pipeline::run(job);
    watcher.clear();
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(failure) => return Ok(failed(&failure, args.json)),
    };

    if args.json {
        outln!("{}", json!(outcome));
    } else {
        show(&local, &outcome);
    }

    let Outcome {
        verdict,
        recommendation,
        ..
    } = outcome;
    Ok(Judged {
        verdict,
        recommendation,
        has_gate: spec.gate.is_some(),
    }
    .exit_code())
}

fn show(local: &Local, outcome: &Outcome) {
    if let Some(report) = report(local, outcome) {
        out!("{}", table::candidates(&report));
        for line in table::verdict(&report) {
            outln!("{line}");
        }
    }
    outln!("{}", outcome.uri);
}

fn report(local: &Local, outcome: &Outcome) -> Option<Report> {
    // As a path, which may hold what a URI may not.
    let path = outcome.uri.strip_prefix("file://").unwrap_or(&outcome.uri);
    let folder = local.storage.check_location(path).ok()?;
    let place = folder.child(files::REPORT).ok()?;
    let bytes = local.storage.blocking().read_small(&place, 64 << 20).ok()?;
    Report::from_json(&bytes).ok()
}
