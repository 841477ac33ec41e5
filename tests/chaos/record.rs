//! The run as files below `benches/results/`.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    Failure,
    faults::Injected,
    month,
    run::{Outcome, Plan},
    table::{Line, lines},
};

/// Prints the table and writes it, and the same as JSON, with where they come from.
pub fn write(
    name: &str,
    title: &str,
    table: &str,
    mut record: Value,
    commit: &str,
) -> Result<(), Failure> {
    println!("{table}");
    let (date, machine) = (time::OffsetDateTime::now_utc().date(), machine());
    let seed = record["seed"].clone();
    record["date"] = json!(date.to_string());
    record["commit"] = json!(commit);
    record["machine"] = json!(machine);
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    fs::write(
        results.join(format!("{name}-{date}.json")),
        format!("{record:#}\n"),
    )?;
    let head = format!(
        "# {title}\n\nWritten by `make chaos`. Seed {seed}, {date}, commit {commit}, {machine}.\n\n"
    );
    fs::write(results.join(format!("{name}-{date}.md")), head + table)?;
    Ok(())
}

/// What a run found.
pub fn of_run(plan: &Plan, outcome: &Outcome) -> Value {
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

fn faults(injected: &[Injected]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for fault in injected {
        *counts.entry(fault.kind.name()).or_default() += 1;
    }
    counts
}

/// What a month found.
pub fn of_month(plan: &Plan, outcome: &month::Outcome) -> Value {
    let month::Outcome {
        finding, received, ..
    } = outcome;
    json!({
        "seed": plan.size.seed, "lease_seconds": plan.size.lease.as_secs_f64(),
        "seconds": outcome.seconds, "faults": faults(&outcome.injected),
        "fine_tunes": month::FINE_TUNES, "results": finding.results,
        "on_the_newest": finding.on_the_newest, "retunes": finding.retunes,
        "transfers": finding.transfers, "attempts": finding.attempts,
        "alias_moves": finding.alias_moves, "events": finding.events, "posts": received.posts,
        "unsound_posts": received.unsound, "wrong": finding.wrong,
    })
}

/// The same as Markdown.
pub fn month_table(plan: &Plan, outcome: &month::Outcome) -> String {
    let month::Outcome {
        finding, received, ..
    } = outcome;
    let mut text = String::from("| | |\n|---|---:|\n");
    let delivered = received.events.len();
    for (what, count) in [
        ("fine-tunes", month::FINE_TUNES.to_string()),
        (
            "with one result on the newest base",
            finding.on_the_newest.to_string(),
        ),
        ("results in all", finding.results.to_string()),
        ("retunes", finding.retunes.to_string()),
        (
            "transfers (attempts)",
            format!("{} ({})", finding.transfers, finding.attempts),
        ),
        ("alias moves", finding.alias_moves.to_string()),
        (
            "events (delivered and verified)",
            format!("{} ({delivered})", finding.events),
        ),
        (
            "posts (of which did not verify)",
            format!("{} ({})", received.posts, received.unsound),
        ),
        ("faults", outcome.injected.len().to_string()),
        ("wrong", finding.wrong.len().to_string()),
    ] {
        text.push_str(&format!("| {what} | {count} |\n"));
    }
    let kinds: Vec<String> = faults(&outcome.injected)
        .iter()
        .map(|(kind, n)| format!("{n} × {kind}"))
        .collect();
    text.push_str(&format!(
        "\nFaults: {}. Lease {} s; {:.0} s in all.\n",
        kinds.join(", "),
        plan.size.lease.as_secs_f64(),
        outcome.seconds
    ));
    for fault in &finding.wrong {
        text.push_str(&format!("- {fault}\n"));
    }
    text
}

/// The commit that is run, marked where files differ from it.
pub fn commit() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".into())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!(
        "{cores} cores of {}",
        model.map_or("an unknown processor", |(_, name)| name)
    )
}
