//! The run as a table.

use std::{fmt::Write, time::Duration};

use super::{
    faults::Kind,
    recovery::{quantile, recoveries},
    run::{Outcome, Plan},
};

/// The line that recovery is judged by.
const TOOK_A_WORKER: &str = "that took a worker";

/// One line of the table.
pub struct Line {
    pub name: &'static str,
    pub injected: usize,
    pub touched: usize,
    pub requests: u64,
    /// p50, p99, largest; seconds.
    pub recovery: Option<[f64; 3]>,
}

/// A line a kind, then those that took a worker, then all.
pub fn lines(outcome: &Outcome) -> Vec<Line> {
    let found = recoveries(&outcome.injected, &outcome.steps);
    let line = |name, of: &dyn Fn(Kind) -> bool| {
        let faults = || outcome.injected.iter().filter(|fault| of(fault.kind));
        let mut times: Vec<Duration> = found
            .iter()
            .filter(|(kind, _)| of(**kind))
            .flat_map(|(_, t)| t.clone())
            .collect();
        times.sort();
        let at = |share| quantile(&times, share).map(|time| time.as_secs_f64());
        Line {
            name,
            injected: faults().count(),
            touched: faults().map(|fault| fault.touched.len()).sum(),
            requests: faults().map(|fault| fault.requests).sum(),
            recovery: at(0.5)
                .zip(at(0.99))
                .zip(at(1.0))
                .map(|((p50, p99), max)| [p50, p99, max]),
        }
    };
    let mut lines: Vec<Line> = Kind::all()
        .map(|kind| line(kind.name(), &|k| k == kind))
        .collect();
    lines.push(line(TOOK_A_WORKER, &Kind::takes_workers));
    lines.push(line("all", &|_| true));
    lines
}

/// The largest p99 that recovery has to keep, for a lease of this length: half as much again.
pub fn aim(lease: Duration) -> f64 {
    1.5 * lease.as_secs_f64()
}

/// p99 of the recovery from faults that took a worker, in seconds.
pub fn recovery_p99(outcome: &Outcome) -> Option<f64> {
    let lines = lines(outcome);
    Some(
        lines
            .iter()
            .find(|line| line.name == TOOK_A_WORKER)?
            .recovery?[1],
    )
}

/// As Markdown.
pub fn markdown(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::from(
        "| fault | injected | transfers touched | requests hit | recovery p50 / p99 / max, s |\n\
         |---|---:|---:|---:|---:|\n",
    );
    for line in lines(outcome) {
        let Line {
            name,
            injected,
            touched,
            requests,
            ..
        } = line;
        let requests = if requests > 0 {
            requests.to_string()
        } else {
            "–".into()
        };
        let times = line.recovery.map_or_else(
            || "–".into(),
            |[p50, p99, max]| format!("{p50:.1} / {p99:.1} / {max:.1}"),
        );
        text.push_str(&format!(
            "| {name} | {injected} | {touched} | {requests} | {times} |\n"
        ));
    }
    let judgement = &outcome.judgement;
    let _ = writeln!(
        text,
        "\n{} transfers, {} attempts; lost: {}, published twice: {}, otherwise wrong: {}. Answers: {}. \
        Processes that ended by themselves, without a panic, and were started again: {}. Lease {} s, \
        recovery p99 to be kept {:.0} s; {:.0} s in all.",
        outcome.evidence.submitted.len(),
        outcome
            .evidence
            .rows
            .iter()
            .map(|row| i64::from(row.attempt))
            .sum::<i64>(),
        judgement.lost.len(),
        judgement.published_twice.len(),
        judgement.other.len(),
        answers(outcome),
        outcome.restarts,
        plan.size.lease.as_secs_f64(),
        aim(plan.size.lease),
        outcome.seconds
    );
    for fault in judgement
        .lost
        .iter()
        .chain(&judgement.published_twice)
        .chain(&judgement.other)
    {
        let _ = writeln!(text, "- {fault}");
    }
    text
}

fn answers(outcome: &Outcome) -> String {
    let one = |(kind, count): (&String, &u64)| format!("{count} × {kind}");
    outcome
        .evidence
        .answers
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}
