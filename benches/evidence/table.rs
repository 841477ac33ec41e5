//! The rows as Markdown and as pictures: means over the seeds that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write,
    fs,
    path::Path,
};

use serde_json::Value;

/// Rows of one data set, network and relation.
type Groups = BTreeMap<(String, String, String), Vec<Value>>;
/// Rows of one width.
type Widths = BTreeMap<u64, Vec<Value>>;

/// Published accuracies (Chijiwa, ICLR 2024, tables 1 and 2), for comparison: full-size networks.
const PUBLISHED: [[&str; 7]; 3] = [
    ["MNIST, 2-MLP of width 4096, random init", "97.7", "–", "97.9", "–", "–", "–"],
    ["CIFAR-10, Conv8, random init", "61.9", "76.7", "78.2", "78.3", "91.1", "–"],
    ["ImageNet → CUB, ResNet-18", "0.8", "–", "20.4", "30.1", "69.5", "49.1 (17.3, 8.4)"],
];

/// Writes `evidence.md`, `evidence.svg` and `width.svg` beside the folder of rows.
///
/// # Errors
/// When a row cannot be read or a file not be written.
pub fn write(rows: &Path) -> Result<(), Box<dyn Error>> {
    let (groups, widths) = read(rows)?;
    let beside = rows.parent().ok_or("the rows lie in a folder")?;
    fs::write(beside.join("evidence.md"), markdown(&groups, &widths)?)?;
    fs::write(beside.join("evidence.svg"), picture(&groups)?)?;
    fs::write(beside.join("width.svg"), width_picture(&widths)?)?;
    Ok(())
}

/// The rows of the table, and by width those of the figure.
fn read(rows: &Path) -> Result<(Groups, Widths), Box<dyn Error>> {
    let (mut groups, mut widths) = (Groups::new(), Widths::new());
    let mut files: Vec<_> =
        fs::read_dir(rows)?.map(|f| f.map(|f| f.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();
    for file in files {
        let row: Value = serde_json::from_slice(&fs::read(file)?)?;
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        if let Some(width) = text("network").strip_prefix("mlp1-") {
            widths.entry(width.parse()?).or_default().push(row);
        } else {
            let group = (text("network"), text("data"), text("relation"));
            groups.entry(group).or_default().push(row);
        }
    }
    Ok((groups, widths))
}

/// The mean of what there is; `None` of nothing.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |v| format!("{:.1}", 100.0 * v))
}

fn contender<'a>(row: &'a Value, name: &str) -> Option<&'a Value> {
    row["contenders"].as_array()?.iter().find(|c| c["name"] == name)
}

/// Names in the order of the first row.
fn names(rows: &[Value]) -> Vec<String> {
    let first = rows.first().and_then(|row| row["contenders"].as_array());
    let name = |c: &Value| Some(c["name"].as_str()?.to_owned());
    first.into_iter().flatten().filter_map(name).collect()
}

fn markdown(groups: &Groups, widths: &Widths) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(HEAD);
    for ((network, data, relation), rows) in groups {
        let of = |key: &str| mean(rows.iter().map(|row| row[key].as_f64()));
        let full = mean(rows.iter().map(|row| row["full_fine_tuning"]["accuracy"].as_f64()));
        let seeds = rows.len();
        writeln!(
            text,
            "| **{network}** | {data} | {relation} | *{seeds} seed{}: keep old {}, target untouched {}, \
             full fine-tuning {}* | | | | | | |",
            if seeds == 1 { "" } else { "s" },
            percent(of("keep_old")),
            percent(of("target_untouched")),
            percent(full),
        )?;
        for name in names(rows) {
            let of = |key: &str| {
                percent(mean(rows.iter().map(|row| contender(row, &name)?[key].as_f64())))
            };
            let reach = |share: &str| reached(rows, &name, share);
            writeln!(
                text,
                "| | | | {name} | {} | {} | {} | {} | {} | {} | {} |",
                of("accuracy"),
                of("recovery"),
                of("after_epoch"),
                reach("90"),
                reach("95"),
                reach("100"),
                of("negative_flips"),
            )?;
        }
        writeln!(
            text,
            "| | | | **auto**: {} | {} | | {} | | | | {} |",
            decisions(rows),
            auto(rows, "transferred"),
            auto(rows, "accuracy"),
            auto(rows, "negative_flips")
        )?;
    }
    write_summary(&mut text, groups)?;
    write_judgement(&mut text, groups)?;
    write_widths(&mut text, widths)?;
    text.push_str(PUBLISHED_HEAD);
    for row in PUBLISHED {
        writeln!(text, "| {} |", row.join(" | "))?;
    }
    let all = || groups.values().flatten().chain(widths.values().flatten());
    let of = |key: &str| all().filter_map(|row| row[key].as_str().map(str::to_owned)).collect();
    let (machines, dates): (BTreeSet<String>, BTreeSet<String>) = (of("machine"), of("date"));
    let listed = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    writeln!(text, "\nMachine: {}; {}.", listed(machines), listed(dates))?;
    Ok(text)
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
    let of = |key: &str| {
        let values: Option<Vec<f64>> =
            rows.iter().map(|row| contender(row, name)?["reach"][share][key].as_f64()).collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    };
    match (of("gradients"), of("seconds")) {
        (Some(gradients), Some(seconds)) => format!("{gradients:.0}, {seconds:.1} s"),
        _ => "–".into(),
    }
}

fn auto(rows: &[Value], key: &str) -> String {
    percent(mean(rows.iter().map(|row| row["auto"][key].as_f64())))
}

/// What `auto` did, by seed.
fn decisions(rows: &[Value]) -> String {
    let one = |row: &Value| {
        let auto = &row["auto"];
        let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
        let verdict = if auto["published"] == true { "" } else { " (rejected)" };
        format!("{} → {}{verdict}", text(&auto["method"]), text(&auto["recommendation"]["action"]))
    };
    rows.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Means over data sets and seeds: before training, after one epoch.
fn write_summary(text: &mut String, groups: &Groups) -> Result<(), Box<dyn Error>> {
    let mut merged = BTreeMap::<(&str, &str), Vec<Value>>::new();
    for ((network, data, relation), rows) in groups {
        // The row that a test repeats is no part of the evidence.
        if data != "shipped" {
            merged.entry((network, relation)).or_default().extend(rows.iter().cloned());
        }
    }
    writeln!(
        text,
        "\n## In short\n\nMeans over data sets and seeds; before training, after one epoch.\n"
    )?;
    let head = |((network, relation), rows): (&(&str, &str), &Vec<Value>)| {
        format!("{network} {relation} ({} rows)", rows.len())
    };
    let heads: Vec<String> = merged.iter().map(head).collect();
    writeln!(text, "| | {} |\n|---{}|", heads.join(" | "), "|---".repeat(heads.len()))?;
    let of_column = |of: &dyn Fn(&[Value]) -> String| {
        merged.values().map(|rows| of(rows)).collect::<Vec<_>>().join(" | ")
    };
    let references = of_column(&|rows| {
        let of = |pointer: &str| {
            percent(mean(rows.iter().map(|row| row.pointer(pointer).and_then(Value::as_f64))))
        };
        format!("{} / {}", of("/keep_old"), of("/full_fine_tuning/accuracy"))
    });
    writeln!(text, "| keep old / full fine-tuning | {references} |")?;
    for name in merged.values().next().map(|rows| names(rows)).unwrap_or_default() {
        let cells = of_column(&|rows| {
            let of = |key: &str| {
                percent(mean(rows.iter().map(|row| contender(row, &name)?[key].as_f64())))
            };
            format!("{}, {}", of("accuracy"), of("after_epoch"))
        });
        writeln!(text, "| {name} | {cells} |")?;
    }
    Ok(())
}

/// Whether `auto` kept its three promises, row by row.
fn write_judgement(text: &mut String, groups: &Groups) -> Result<(), Box<dyn Error>> {
    writeln!(text, "\n## What `auto` promises\n")?;
    let (mut rows, mut behind, mut worse, mut misled) = (0, Vec::new(), Vec::new(), Vec::new());
    for ((network, data, relation), group) in groups {
        for row in group {
            rows += 1;
            let name = format!("{network} {data} {relation} seed {}", row["seed"]);
            let best = best_candidate(row);
            let auto = row["auto"]["transferred"].as_f64().unwrap_or_default();
            if best.1 - auto > 0.01 {
                behind.push(format!("{name}: {} by {:.1}", best.0, 100.0 * (best.1 - auto)));
            }
            let kept = row["keep_old"].as_f64().unwrap_or_default();
            let result = row["auto"]["accuracy"].as_f64().unwrap_or_default();
            if row["auto"]["published"] == true && result < kept {
                worse.push(format!("{name}: {:.1} below", 100.0 * (kept - result)));
            }
            let ahead = training_alone(row).unwrap_or_default() - result;
            let advice = row["auto"]["recommendation"]["action"].as_str().unwrap_or("–");
            let alone_advised = ["retrain", "keep_old"].contains(&advice);
            if ahead.abs() > 0.01 && alone_advised != (ahead > 0.0) {
                misled.push(format!("{name}: {advice}, training alone {:+.1}", 100.0 * ahead));
            }
        }
    }
    let list = |items: &[String]| {
        if items.is_empty() {
            "none".to_owned()
        } else {
            format!("{} ({})", items.len(), items.join("; "))
        }
    };
    writeln!(
        text,
        "Of {rows} rows: more than a point behind the best method before training: {}. \
        Published though worse than keeping the old model: {}. Advised against what training alone \
        at `auto`'s cost, its epoch included, came to on the test split, more than a point apart: {}.",
        list(&behind),
        list(&worse),
        list(&misled)
    )?;
    Ok(())
}

/// Plain training at the winner's cost and an epoch, on the test split; where the transfer was good
/// enough to try none, at FGMT's.
fn training_alone(row: &Value) -> Option<f64> {
    let few_shot = || contender(row, "few-shot fine-tuning")?["after_epoch"].as_f64();
    let tried = row["auto"]["few_shot"].is_number();
    row["auto"]["fine_tune_only"].as_f64().filter(|_| tried).or_else(few_shot)
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
    let accuracy =
        |name: &&str| Some((name.to_string(), contender(row, name)?["accuracy"].as_f64()?));
    let best = METHODS.iter().filter_map(accuracy).max_by(|a, b| a.1.total_cmp(&b.1));
    best.unwrap_or_default()
}

fn write_widths(text: &mut String, widths: &Widths) -> Result<(), Box<dyn Error>> {
    writeln!(
        text,
        "\n## Over widths\n\nOne hidden layer, independent bases, Fashion-MNIST; before training (`width.svg`).\n"
    )?;
    let names = widths.values().next().map(|rows| names(rows)).unwrap_or_default();
    writeln!(text, "| width | seeds | keep old | {} |", names.join(" | "))?;
    writeln!(text, "|---|---|---|{}", "---|".repeat(names.len()))?;
    for (width, rows) in widths {
        let kept = percent(mean(rows.iter().map(|row| row["keep_old"].as_f64())));
        let values: Vec<String> = names.iter().map(|name| percent(accuracy(rows, name))).collect();
        writeln!(text, "| {width} | {} | {kept} | {} |", rows.len(), values.join(" | "))?;
    }
    Ok(())
}

fn accuracy(rows: &[Value], name: &str) -> Option<f64> {
    mean(rows.iter().map(|row| contender(row, name)?["accuracy"].as_f64()))
}

const COLOURS: [(&str, &str); 6] = [
    ("identity", "#999999"),
    ("weight matching", "#e69f00"),
    ("FGMT as published", "#56b4e9"),
    ("FGMT", "#0072b2"),
    ("oracle", "#009e73"),
    ("random π", "#cc79a7"),
];

fn legend(svg: &mut String, names: &[(&str, &str)], y: usize) -> std::fmt::Result {
    for (i, (name, colour)) in names.iter().enumerate() {
        let x = 20 + 112 * i;
        writeln!(
            svg,
            "<circle cx='{x}' cy='{y}' r='4' fill='{colour}'/><text x='{}' y='{}'>{name}</text>",
            x + 8,
            y + 4
        )?;
    }
    Ok(())
}

fn open(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='sans-serif' \
        font-size='11'>\n<rect width='100%' height='100%' fill='white'/>\n"
    )
}

/// A line a group: accuracies before training from 0 to 100 %.
fn picture(groups: &Groups) -> Result<String, Box<dyn Error>> {
    let (left, span) = (210.0, 420.0);
    let mut svg = open(680, 60 + 18 * groups.len());
    legend(&mut svg, &COLOURS, 16)?;
    for (i, ((network, data, relation), rows)) in groups.iter().enumerate() {
        let y = 48 + 18 * i;
        writeln!(svg, "<text x='8' y='{}'>{network}, {data}, {relation}</text>", y + 4)?;
        writeln!(svg, "<line x1='{left}' x2='{}' y1='{y}' y2='{y}' stroke='#ddd'/>", left + span)?;
        let kept = mean(rows.iter().map(|row| row["keep_old"].as_f64())).unwrap_or_default();
        let x = left + span * kept;
        writeln!(
            svg,
            "<line x1='{x:.1}' x2='{x:.1}' y1='{}' y2='{}' stroke='black'/>",
            y - 6,
            y + 6
        )?;
        for (name, colour) in COLOURS {
            let Some(value) = accuracy(rows, name) else { continue };
            writeln!(
                svg,
                "<circle cx='{:.1}' cy='{y}' r='4' fill='{colour}'/>",
                left + span * value
            )?;
        }
    }
    Ok(svg + "</svg>\n")
}

/// Accuracy before training over the width, on a logarithmic axis.
fn width_picture(widths: &Widths) -> Result<String, Box<dyn Error>> {
    let mut svg = open(560, 330);
    let names: Vec<_> = COLOURS.into_iter().filter(|(name, _)| *name != "oracle").collect();
    legend(&mut svg, &names, 16)?;
    // Widths from 2⁵ to 2¹².
    let x = |width: u64| 50.0 + 68.0 * ((width as f64).log2() - 5.0);
    let y = |accuracy: f64| 300.0 - 260.0 * accuracy;
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        writeln!(
            svg,
            "<line x1='50' x2='526' y1='{0}' y2='{0}' stroke='#ddd'/><text x='12' y='{1}'>{2:.0} %</text>",
            y(share),
            y(share) + 4.0,
            100.0 * share
        )?;
    }
    for width in widths.keys() {
        writeln!(svg, "<text x='{}' y='318' text-anchor='middle'>{width}</text>", x(*width))?;
    }
    for (name, colour) in names {
        let points: Vec<(f64, f64)> = widths
            .iter()
            .filter_map(|(width, rows)| Some((x(*width), y(accuracy(rows, name)?))))
            .collect();
        let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(svg, "<polyline points='{}' fill='none' stroke='{colour}'/>", line.join(" "))?;
        for (x, y) in points {
            writeln!(svg, "<circle cx='{x:.1}' cy='{y:.1}' r='3' fill='{colour}'/>")?;
        }
    }
    Ok(svg + "</svg>\n")
}
