//! What `auto` promises, against the rows.

use std::{error::Error, fmt::Write};

use serde_json::Value;

use super::table::{Groups, contender};

/// Whether `auto` kept its three promises, row by row.
pub fn write(text: &mut String, groups: &Groups) -> Result<(), Box<dyn Error>> {
    writeln!(text, "\n## What `auto` promises\n")?;
    let (mut rows, mut behind, mut worse, mut misled) = (0, Vec::new(), Vec::new(), Vec::new());
    for ((network, data, relation), group) in groups {
        for row in group {
            rows += 1;
            let name = format!("{network} {data} {relation} seed {}", row["seed"]);
            let best = best_candidate(row);
            let auto = row["auto"]["transferred"].as_f64().unwrap_or_default();
            if best.1 - auto > 0.01 {
                behind.push(format!(
                    "{name}: {} by {:.1}",
                    best.0,
                    100.0 * (best.1 - auto)
                ));
            }
            let kept = row["keep_old"].as_f64().unwrap_or_default();
            let result = row["auto"]["accuracy"].as_f64().unwrap_or_default();
            if row["auto"]["published"] == true && result < kept {
                worse.push(format!("{name}: {:.1} below", 100.0 * (kept - result)));
            }
            let ahead = training_alone(row).unwrap_or_default() - result;
            let advice = row["auto"]["recommendation"]["action"]
                .as_str()
                .unwrap_or("–");
            let alone_advised = ["retrain", "keep_old"].contains(&advice);
            if ahead.abs() > 0.01 && alone_advised != (ahead > 0.0) {
                misled.push(format!(
                    "{name}: {advice}, training alone {:+.1}",
                    100.0 * ahead
                ));
            }
        }
    }
    writeln!(
        text,
        "Of {rows} rows: more than a point behind the best method before training: {}. \
        Published though worse than keeping the old model: {}. Advised against what training alone \
        at `auto`'s cost, its epoch included, came to on the test split, more than a point apart: {}.",
        counted(&behind),
        counted(&worse),
        counted(&misled)
    )?;
    Ok(())
}

/// How many there are, and which.
fn counted(items: &[String]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    format!("{} ({})", items.len(), items.join("; "))
}

/// Plain training at the winner's cost and an epoch, on the test split; where the transfer was good
/// enough to try none, at FGMT's.
fn training_alone(row: &Value) -> Option<f64> {
    let is_tried = row["auto"]["few_shot"].is_number();
    let tried = row["auto"]["fine_tune_only"].as_f64().filter(|_| is_tried);
    tried.or_else(|| contender(row, "few-shot fine-tuning")?["after_epoch"].as_f64())
}

/// The best of what `auto` may choose, on the test split.
fn best_candidate(row: &Value) -> (String, f64) {
    const METHODS: [&str; 10] = [
        "identity",
        "identity, orthogonal shift",
        "weight matching",
        "GMT",
        "FGMT",
        "gradfix",
        "gradfix on weight matching",
        "gradfix on FGMT",
        "bico",
        "theseus",
    ];
    let accuracies = METHODS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), contender(row, name)?["accuracy"].as_f64()?)));
    accuracies
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or_default()
}
