//! A report as lines for a terminal.

use std::fmt::Write;

use serde_json::Value;

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
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
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
pub fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".into(), |share| format!("{:.1} %", 100.0 * share))
}

/// The candidates of a report with the baselines they are measured against.
pub fn candidates(report: &Value) -> String {
    let mut rows = vec![
        ["", "validation", "test", "step", "alpha", "gradients", "seconds"]
            .map(String::from)
            .to_vec(),
    ];
    for (name, label) in
        [("source_tuned", "old tuned model"), ("target_before", "new base as it is")]
    {
        let scores = &report["baselines"][name];
        let cells = [percent(&scores["validation"]["accuracy"]), percent(&scores["accuracy"])];
        rows.push([vec![label.to_owned()], cells.to_vec()].concat());
    }
    for one in report["candidates"].as_array().into_iter().flatten() {
        let method = one["method"].as_str().unwrap_or("?");
        let seconds = report["timing"]["methods"][method].as_f64();
        rows.push(vec![
            method.to_owned(),
            percent(&one["validation"]["accuracy"]),
            percent(&one["test"]["accuracy"]),
            one["step"].to_string(),
            one["alpha"].to_string(),
            one["sample_gradients"].to_string(),
            seconds.map_or_else(|| "-".into(), |s| format!("{s:.2}")),
        ]);
    }
    let tuned = &report["fine_tune"];
    if tuned.is_object() {
        rows.push(vec![
            "  + fine-tuning".to_owned(),
            percent(&tuned["validation"]["accuracy"]),
            percent(&tuned["test"]["accuracy"]),
            String::new(),
            String::new(),
            tuned["sample_gradients"].to_string(),
            report["timing"]["fine_tune_seconds"]
                .as_f64()
                .map_or_else(|| "-".into(), |s| format!("{s:.2}")),
        ]);
    }
    columns(&rows)
}

/// Verdict, recommendation and warnings.
pub fn verdict(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    // A rejected model is no success: nothing that reads as one stands beside it.
    let end = match report["verdict"].as_str() {
        Some("rejected") => "rejected, no model was published; best candidate",
        _ => "published; winner",
    };
    let mut lines = vec![format!(
        "{end} {}; recommendation: {}",
        text(&report["winner"]),
        text(&report["recommendation"]["action"]),
    )];
    let reasons = report["recommendation"]["reasons"].as_array().into_iter().flatten();
    lines.extend(reasons.map(|reason| format!("  {}", text(reason))));
    let warnings = report["warnings"].as_array().into_iter().flatten();
    lines.extend(warnings.map(|warning| format!("  warning: {}", text(warning))));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_padded_to_the_widest_cell() {
        let rows = [vec![String::new(), "test".into()], vec!["fgmt".into(), "9".into()]];
        assert_eq!(columns(&rows), "      test\nfgmt     9\n");
        assert_eq!(left(&rows), "      test\nfgmt  9\n");
    }

    #[test]
    fn a_report_becomes_a_table() {
        let report = json!({"candidates": [{"method": "fgmt", "validation": {"accuracy": 0.5}, "test": null,
            "step": 3, "alpha": 1.0, "sample_gradients": 20}], "timing": {"methods": {"fgmt": 0.25}},
            "verdict": "published", "winner": "fgmt", "recommendation": {"action": "transfer", "reasons": ["good"]}});
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
