//! A report as lines for a terminal.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use crate::contract::{
    outcome::{Recommendation, Verdict},
    report::{Report, Scores, Standing},
};

/// Rows of text, padded to columns: names to the left, figures to the right; the first row is the head.
pub fn columns(rows: &[Vec<String>]) -> String {
    padded(rows, |column| column > 0)
}

/// Rows of text, padded to columns, all to the left; the first row is the head.
pub fn left(rows: &[Vec<String>]) -> String {
    padded(rows, |_| false)
}

fn padded(rows: &[Vec<String>], is_figure: impl Fn(usize) -> bool) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; count];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }

    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let (gap, width) = (if column == 0 { "" } else { "  " }, widths[column]);
            let _ = if is_figure(column) {
                write!(line, "{gap}{cell:>width$}")
            } else {
                write!(line, "{gap}{cell:<width$}")
            };
        }
        text += line.trim_end();
        text.push('\n');
    }

    text
}

/// A share as per cent, `-` where there is none.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".into(), |share| format!("{:.1} %", 100.0 * share))
}

/// The candidates of a report with the baselines they are measured against.
pub fn candidates(report: &Report) -> String {
    let (validation, test) = (heading(report, "validation"), heading(report, "test"));
    let mut rows = vec![
        [
            "",
            &validation,
            &test,
            "step",
            "alpha",
            "gradients",
            "seconds",
        ]
        .map(String::from)
        .to_vec(),
    ];
    let baselines = &report.baselines;

    for (scores, label) in [
        (&baselines.source_tuned, "old tuned model"),
        (&baselines.target_before, "new base as it is"),
    ] {
        let validation = scores.as_ref().and_then(|scores| scores.validation);
        let test = scores.as_ref().and_then(Standing::share);
        rows.push(vec![
            label.to_owned(),
            accuracy(validation.as_ref()),
            percent(test),
        ]);
    }

    for one in &report.candidates {
        let method = one.method.as_deref().unwrap_or("?");
        rows.push(vec![
            method.to_owned(),
            accuracy(one.validation.as_ref()),
            accuracy(one.test.as_ref()),
            number(one.step),
            number(one.alpha),
            number(one.sample_gradients),
            seconds(report.timing.methods.get(method).copied()),
        ]);
    }

    if let Some(tuned) = &report.fine_tune {
        rows.push(vec![
            "  + fine-tuning".to_owned(),
            accuracy(tuned.validation.as_ref()),
            accuracy(tuned.test.as_ref()),
            String::new(),
            String::new(),
            number(tuned.sample_gradients),
            seconds(report.timing.fine_tune_seconds),
        ]);
    }

    columns(&rows)
}

/// A split, and what is measured there if that is no accuracy.
fn heading(report: &Report, split: &str) -> String {
    let measured = report.metrics.measured.as_ref();
    if report.splits.lacks_labels(split) {
        format!("{split} agreement")
    } else if measured.is_some_and(|measured| measured.r2.is_some()) {
        format!("{split} R²")
    } else {
        split.to_owned()
    }
}

fn accuracy(scores: Option<&Scores>) -> String {
    percent(scores.and_then(Scores::share))
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.2}"))
}

/// As JSON has it.
fn number(value: Option<impl Serialize>) -> String {
    json!(value).to_string()
}

/// Verdict, recommendation and warnings.
pub fn verdict(report: &Report) -> Vec<String> {
    // A rejected model is no success: nothing that reads as one stands beside it.
    let end = match report.verdict {
        Some(Verdict::Rejected) => "rejected, no model was published; best candidate",
        _ => "published; winner",
    };
    let winner = if report.winner.is_empty() {
        "-"
    } else {
        &report.winner
    };

    let action = report
        .recommendation
        .action
        .map_or("-", Recommendation::name);
    let mut lines = vec![format!("{end} {winner}; recommendation: {action}")];
    lines.extend((!report.decision.sentence.is_empty()).then(|| {
        format!(
            "  {} {}",
            report.decision.sentence, report.decision.next_step
        )
    }));

    lines.extend(
        report
            .recommendation
            .reasons
            .iter()
            .map(|reason| format!("  {reason}")),
    );
    lines.extend(
        report
            .warnings
            .iter()
            .map(|warning| format!("  warning: {warning}")),
    );

    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_padded_to_the_widest_cell() {
        let rows = [
            vec![String::new(), "test".into()],
            vec!["fgmt".into(), "9".into()],
        ];
        assert_eq!(columns(&rows), "      test\nfgmt     9\n");
        assert_eq!(left(&rows), "      test\nfgmt  9\n");
    }

    #[test]
    fn a_report_becomes_a_table() {
        let report = json!({"candidates": [{"method": "fgmt", "validation": {"accuracy": 0.5}, "test": null,
            "step": 3, "alpha": 1.0, "sample_gradients": 20}], "timing": {"methods": {"fgmt": 0.25}},
            "verdict": "published", "winner": "fgmt", "recommendation": {"action": "transfer", "reasons": ["good"]}});
        let report: Report = serde_json::from_value(report).unwrap();
        let text = candidates(&report);
        assert!(
            text.lines().any(|line| line.starts_with("fgmt")
                && line.contains("50.0 %")
                && line.ends_with("0.25")),
            "{text}"
        );

        assert_eq!(
            verdict(&report),
            ["published; winner fgmt; recommendation: transfer", "  good"]
        );
    }
}
