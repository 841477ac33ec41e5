//! The run as files below `benches/results/`.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    Failure,
    run::{Outcome, Plan},
    table::{self, Line, lines},
};

/// Writes the table, and the same as JSON, with where they come from.
/// Which run it was is in `name`.
pub fn write(name: &str, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
    let date = time::OffsetDateTime::now_utc().date();
    let (commit, machine) = (commit(), machine());
    let mut record = record(plan, outcome);
    record["date"] = json!(date.to_string());
    record["commit"] = json!(commit);
    record["machine"] = json!(machine);
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    fs::write(results.join(format!("{name}-{date}.json")), format!("{record:#}\n"))?;
    let head = format!(
        "# {}\n\nWritten by `make chaos`. Seed {}, {date}, commit {commit}, {machine}.\n\n",
        if name == "chaos" { "Chaos run" } else { "Rolling restart" },
        plan.size.seed
    );
    fs::write(results.join(format!("{name}-{date}.md")), head + &table::markdown(plan, outcome))?;
    Ok(())
}

fn record(plan: &Plan, outcome: &Outcome) -> Value {
    let line = |line: Line| {
        json!({"fault": line.name, "injected": line.injected, "touched": line.touched,
            "requests": line.requests, "recovery_seconds": line.recovery})
    };
    let judgement = &outcome.judgement;
    json!({
        "seed": plan.size.seed,
        "lease_seconds": plan.size.lease.as_secs_f64(),
        "serves": plan.size.serves, "own_workers": plan.size.own_workers, "works": plan.size.works,
        "seconds": outcome.seconds,
        "transfers": outcome.evidence.submitted.len(),
        "answers": outcome.evidence.answers,
        "ends_by_themselves": outcome.restarts,
        "faults": lines(outcome).into_iter().map(line).collect::<Vec<_>>(),
        "lost": judgement.lost, "published_twice": judgement.published_twice,
        "otherwise_wrong": judgement.other,
    })
}

/// The commit that was run, marked where files differ from it.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".into())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{cores} cores of {}", model.map_or("an unknown processor", |(_, name)| name))
}
