//! The rows as Markdown: means over the seeds that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write,
    fs,
    path::Path,
};

use serde_json::Value;

use super::{judgement, picture};

/// Rows of one data set, network and relation.
pub type Groups = BTreeMap<(String, String, String), Vec<Value>>;
/// Rows of one width.
pub type Widths = BTreeMap<u64, Vec<Value>>;

/// Published accuracies (Chijiwa, ICLR 2024, tables 1 and 2), for comparison: full-size networks.
const PUBLISHED: [[&str; 7]; 3] = [
    [
        "MNIST, 2-MLP of width 4096, random init",
        "97.7",
        "–",
        "97.9",
        "–",
        "–",
        "–",
    ],
    [
        "CIFAR-10, Conv8, random init",
        "61.9",
        "76.7",
        "78.2",
        "78.3",
        "91.1",
        "–",
    ],
    [
        "ImageNet → CUB, ResNet-18",
        "0.8",
        "–",
        "20.4",
        "30.1",
        "69.5",
        "49.1 (17.3, 8.4)",
    ],
];

/// Writes `evidence.md`, `evidence.svg` and `width.svg` beside the folder of rows.
///
/// # Errors
/// When a row cannot be read or a file not be written.
pub fn write(rows: &Path) -> Result<(), Box<dyn Error>> {
    let (groups, widths) = read(rows)?;
    let beside = rows.parent().ok_or("the rows lie in a folder")?;
    fs::write(beside.join("evidence.md"), markdown(&groups, &widths)?)?;
    fs::write(beside.join("evidence.svg"), picture::of_groups(&groups)?)?;
    fs::write(beside.join("width.svg"), picture::of_widths(&widths)?)?;
    Ok(())
}

/// The rows of the table, and by width those of the figure.
fn read(rows: &Path) -> Result<(Groups, Widths), Box<dyn Error>> {
    let (mut groups, mut widths) = (Groups::new(), Widths::new());
    let mut files: Vec<_> = fs::read_dir(rows)?
        .map(|f| f.map(|f| f.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();
    for file in files {
        let row: Value = serde_json::from_slice(&fs::read(file)?)?;
        let [network, data, relation] = ["network", "data", "relation"]
            .map(|key| row[key].as_str().unwrap_or_default().to_owned());
        if let Some(width) = network.strip_prefix("mlp1-") {
            widths.entry(width.parse()?).or_default().push(row);
        } else {
            groups
                .entry((network, data, relation))
                .or_default()
                .push(row);
        }
    }
    Ok((groups, widths))
}

/// The mean of what there is; `None` of nothing.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The mean over the rows of what stands at a JSON pointer.
pub fn mean_of(rows: &[Value], pointer: &str) -> Option<f64> {
    mean(rows.iter().map(|row| row.pointer(pointer)?.as_f64()))
}

/// The mean over the rows of a figure of one contender.
fn mean_of_contender(rows: &[Value], name: &str, key: &str) -> Option<f64> {
    mean(rows.iter().map(|row| contender(row, name)?[key].as_f64()))
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |v| format!("{:.1}", 100.0 * v))
}

pub fn contender<'a>(row: &'a Value, name: &str) -> Option<&'a Value> {
    row["contenders"]
        .as_array()?
        .iter()
        .find(|c| c["name"] == name)
}

/// Names in the order of the first row.
fn names(rows: &[Value]) -> Vec<String> {
    let first = rows.first().and_then(|row| row["contenders"].as_array());
    let names = first
        .into_iter()
        .flatten()
        .filter_map(|contender| contender["name"].as_str());
    names.map(str::to_owned).collect()
}

fn markdown(groups: &Groups, widths: &Widths) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(HEAD);
    for ((network, data, relation), rows) in groups {
        let seeds = rows.len();
        writeln!(
            text,
            "| **{network}** | {data} | {relation} | *{seeds} seed{}: keep old {}, target untouched {}, \
             full fine-tuning {}* | | | | | | |",
            if seeds == 1 { "" } else { "s" },
            percent(mean_of(rows, "/keep_old")),
            percent(mean_of(rows, "/target_untouched")),
            percent(mean_of(rows, "/full_fine_tuning/accuracy")),
        )?;
        for name in names(rows) {
            writeln!(
                text,
                "| | | | {name} | {} | {} | {} | {} | {} | {} | {} |",
                percent(mean_of_contender(rows, &name, "accuracy")),
                percent(mean_of_contender(rows, &name, "recovery")),
                percent(mean_of_contender(rows, &name, "after_epoch")),
                reached(rows, &name, "90"),
                reached(rows, &name, "95"),
                reached(rows, &name, "100"),
                percent(mean_of_contender(rows, &name, "negative_flips")),
            )?;
        }
        writeln!(
            text,
            "| | | | **auto**: {} | {} | | {} | | | | {} |",
            decisions(rows),
            percent(mean_of(rows, "/auto/transferred")),
            percent(mean_of(rows, "/auto/accuracy")),
            percent(mean_of(rows, "/auto/negative_flips")),
        )?;
    }
    write_summary(&mut text, groups)?;
    judgement::write(&mut text, groups)?;
    write_widths(&mut text, widths)?;
    text.push_str(PUBLISHED_HEAD);
    for row in PUBLISHED {
        writeln!(text, "| {} |", row.join(" | "))?;
    }
    let all: Vec<&Value> = groups
        .values()
        .flatten()
        .chain(widths.values().flatten())
        .collect();
    writeln!(
        text,
        "\nMachine: {}; {}.",
        listed(&all, "machine"),
        listed(&all, "date")
    )?;
    Ok(text)
}

/// The different texts that the rows have there.
fn listed(rows: &[&Value], key: &str) -> String {
    let texts: BTreeSet<&str> = rows.iter().filter_map(|row| row[key].as_str()).collect();
    texts.into_iter().collect::<Vec<_>>().join(", ")
}

const HEAD: &str = "# Evidence\n\nWritten by `make bench-evidence` from the rows in `evidence/`. Accuracies and flips in per cent of the test split, \
means over seeds; `conv8` and `resnet18` have a quarter of their width. *Gradients, CPU s* are what it takes to reach that share of full \
fine-tuning's accuracy, everything counted, with a look after every epoch; – where as many \
epochs as full fine-tuning has do not reach it in every seed.\n\n\
| network | data | new base | contender | before training | recovery | after one epoch | to 90 % | to 95 % | to 100 % | negative flips |\n\
|---|---|---|---|---|---|---|---|---|---|---|\n";

const PUBLISHED_HEAD: &str = "\n## Published\n\nChijiwa (ICLR 2024), full-size networks; after one epoch: FGMT (identity, fine-tuning alone).\n\n\
| case | identity | GMT | FGMT | oracle | trained | after one epoch |\n|---|---|---|---|---|---|---|\n";

/// Gradients and CPU seconds, where every seed reaches the share.
fn reached(rows: &[Value], name: &str, share: &str) -> String {
    let reaches: Option<Vec<&Value>> = rows
        .iter()
        .map(|row| Some(&contender(row, name)?["reach"][share]))
        .collect();
    let reaches = reaches.unwrap_or_default();
    match (
        mean_of_all(&reaches, "gradients"),
        mean_of_all(&reaches, "seconds"),
    ) {
        (Some(gradients), Some(seconds)) => format!("{gradients:.0}, {seconds:.1} s"),
        _ => "–".into(),
    }
}

/// The mean of a figure that all have; `None` where one lacks it.
fn mean_of_all(values: &[&Value], key: &str) -> Option<f64> {
    let figures: Option<Vec<f64>> = values.iter().map(|value| value[key].as_f64()).collect();
    let figures = figures.filter(|figures| !figures.is_empty())?;
    Some(figures.iter().sum::<f64>() / figures.len() as f64)
}

/// What `auto` did, by seed.
fn decisions(rows: &[Value]) -> String {
    let decisions = rows.iter().map(|row| {
        let auto = &row["auto"];
        let method = auto["method"].as_str().unwrap_or("–");
        let action = auto["recommendation"]["action"].as_str().unwrap_or("–");
        let verdict = if auto["published"] == true {
            ""
        } else {
            " (rejected)"
        };
        format!("{method} → {action}{verdict}")
    });
    decisions.collect::<Vec<_>>().join("; ")
}

/// Means over data sets and seeds: before training, after one epoch.
fn write_summary(text: &mut String, groups: &Groups) -> Result<(), Box<dyn Error>> {
    let mut merged = BTreeMap::<(&str, &str), Vec<Value>>::new();
    for ((network, data, relation), rows) in groups {
        // The row that a test repeats is no part of the evidence.
        if data != "shipped" {
            merged
                .entry((network, relation))
                .or_default()
                .extend(rows.iter().cloned());
        }
    }
    writeln!(
        text,
        "\n## In short\n\nMeans over data sets and seeds; before training, after one epoch.\n"
    )?;
    let heads: Vec<String> = merged
        .iter()
        .map(|((network, relation), rows)| format!("{network} {relation} ({} rows)", rows.len()))
        .collect();
    writeln!(
        text,
        "| | {} |\n|---{}|",
        heads.join(" | "),
        "|---".repeat(heads.len())
    )?;

    let references = merged.values().map(|rows| {
        let kept = percent(mean_of(rows, "/keep_old"));
        format!(
            "{kept} / {}",
            percent(mean_of(rows, "/full_fine_tuning/accuracy"))
        )
    });
    let references: Vec<String> = references.collect();
    writeln!(
        text,
        "| keep old / full fine-tuning | {} |",
        references.join(" | ")
    )?;

    for name in merged
        .values()
        .next()
        .map(|rows| names(rows))
        .unwrap_or_default()
    {
        let cells = merged.values().map(|rows| {
            let before = percent(mean_of_contender(rows, &name, "accuracy"));
            format!(
                "{before}, {}",
                percent(mean_of_contender(rows, &name, "after_epoch"))
            )
        });
        let cells: Vec<String> = cells.collect();
        writeln!(text, "| {name} | {} |", cells.join(" | "))?;
    }
    Ok(())
}

fn write_widths(text: &mut String, widths: &Widths) -> Result<(), Box<dyn Error>> {
    writeln!(
        text,
        "\n## Over widths\n\nOne hidden layer, independent bases, Fashion-MNIST; before training (`width.svg`).\n"
    )?;
    let names = widths
        .values()
        .next()
        .map(|rows| names(rows))
        .unwrap_or_default();
    writeln!(text, "| width | seeds | keep old | {} |", names.join(" | "))?;
    writeln!(text, "|---|---|---|{}", "---|".repeat(names.len()))?;
    for (width, rows) in widths {
        let kept = percent(mean_of(rows, "/keep_old"));
        let values: Vec<String> = names
            .iter()
            .map(|name| percent(accuracy(rows, name)))
            .collect();
        writeln!(
            text,
            "| {width} | {} | {kept} | {} |",
            rows.len(),
            values.join(" | ")
        )?;
    }
    Ok(())
}

/// The mean accuracy of a contender before training.
pub fn accuracy(rows: &[Value], name: &str) -> Option<f64> {
    mean_of_contender(rows, name, "accuracy")
}
