//! The rows of the costs as Markdown.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use serde_json::Value;

use super::row::SHIPPED;

/// Writes `costs.md` beside the folder of rows: medians over data sets and seeds.
#[expect(clippy::too_many_lines, reason = "a table, column by column")]
pub fn write(results: &Path) -> Result<(), Box<dyn Error>> {
    let mut groups = BTreeMap::<_, Vec<Value>>::new();
    let mut files: Vec<_> = fs::read_dir(results)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files {
        if file.path().extension().is_some_and(|end| end == "json") {
            let row: Value = serde_json::from_slice(&fs::read(file.path())?)?;
            // The row that a test repeats is no part of the evidence.
            if row["data"] == SHIPPED {
                continue;
            }
            let group = (
                row["relation"].to_string(),
                row["network"].to_string(),
                row["tune"].as_u64(),
            );
            groups.entry(group).or_default().push(row);
        }
    }

    let mut text = String::from(HEAD);
    for ((relation, network, tune), rows) in &groups {
        for name in [
            "plain training",
            "auto, labels",
            "auto, 64 inputs",
            "auto, 256 inputs",
        ] {
            let ways: Vec<&Value> = rows.iter().filter_map(|row| named(row, name)).collect();
            if ways.is_empty() {
                continue;
            }
            let over_plain = |share: &str, unit: &str| {
                let ratios = rows.iter().filter_map(|row| {
                    let at = |name: &str| named(row, name)?["reach"][share][unit].as_f64();
                    Some(at("plain training")? / at(name)?)
                });
                shown(median(ratios.collect()))
            };
            // As if the job had compared its result with nothing.
            let made_over_plain = |share: &str| {
                let ratios = rows.iter().filter_map(|row| {
                    let (plain, way) = (named(row, "plain training")?, named(row, name)?);
                    let reached = |way: &Value| way["reach"][share]["gradients"].as_f64();
                    let spared =
                        way["cost"]["gradients"].as_f64()? - way["job"]["making"].as_f64()?;
                    Some(reached(plain)? / (reached(way)? - spared))
                });
                shown(median(ratios.collect()))
            };
            let reached = |share: &str| {
                let reached = ways.iter().filter(|way| way["reach"][share].is_object());
                format!("{}/{}", reached.count(), ways.len())
            };
            let few = name
                .strip_prefix("auto, ")
                .and_then(|n| n.strip_suffix(" inputs"));
            let few = few.map(|n| percent(rows.iter().map(|row| &row["few_shot"][n])));
            text += &format!(
                "| {} | {} | {} | {} | {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                relation.trim_matches('"'),
                network.trim_matches('"'),
                tune.unwrap_or_default(),
                rows.len(),
                percent(rows.iter().map(|row| &row["keep_old"])),
                percent(ways.iter().map(|way| &way["accuracy"])),
                few.unwrap_or_default(),
                reached("0.90"),
                over_plain("0.90", "gradients"),
                made_over_plain("0.90"),
                over_plain("0.90", "seconds"),
                reached("0.95"),
                over_plain("0.95", "gradients"),
                made_over_plain("0.95"),
                over_plain("0.95", "seconds"),
            );
        }
    }
    let beside = results.parent().ok_or("the rows lie in a folder")?;
    fs::write(beside.join("costs.md"), text)?;
    Ok(())
}

const HEAD: &str = "# Whole costs\n\nWritten by `make bench-evidence ARGS=--costs` from the rows in `costs/`. Medians over data sets and seeds. \
*Before* is the accuracy of what was published before any training, in per cent of the test split; *few-shot* that of training on as many \
labelled images. *To 90 %*: in how many rows that share of full fine-tuning's accuracy was reached, how many times cheaper than by plain \
training in gradients, and in processor seconds; everything that the job spent is counted. *Made*: the same in gradients without what \
the job compares its result with, which is training alone and the test split.\n\n\
| new base | network | tuned on | rows | way | old tuned | before | few-shot | to 90 % | × gradients | × made | × seconds | to 95 % | × gradients | × made | × seconds |\n\
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

fn named<'r>(row: &'r Value, name: &str) -> Option<&'r Value> {
    let mut ways = row["ways"].as_array()?.iter();
    ways.find(|way| way["name"] == name)
}

fn percent<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    let values = values.filter_map(Value::as_f64).map(|share| 100.0 * share);
    shown(median(values.collect()))
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    let other = values.len() / 2;
    Some(f64::midpoint(values[middle], values[other]))
}
