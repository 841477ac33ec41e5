//! What a user pays until the tuned new base is good enough, everything counted, beside plain training.
//!
//! A row is a pair of bases with a tuning of so many images. Its ways are plain training alone, `auto` with the
//! labelled images, and `auto` with a few images without labels (the validation split has none
//! then, either). After `auto` the same training goes on from what it has
//! published, or from the new base where it says that training alone is better. The learning rate is the best of
//! three by validation, for nothing, and the same for all. The curve is looked at on the whole test split after every
//! eighth of an epoch; the looks are not counted. A forward pass is a third of a gradient.
//!
//! Beside it stands few-shot training on as many *labelled* images as `auto` had without labels, the best of three rates and
//! two lengths by the whole validation split, for nothing.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use retune::engine::{tensors::Checkpoint, training::FineTunePlan, transfer::STATISTICS_SAMPLES};
use serde_json::{Value, json};

use super::{
    automatic,
    bench::Bench,
    case::{BATCH, Budget, Case, Relation, Setting, checkpoint, plan, train},
    images::Images,
    row::{commit, machine},
    spent::{Spent, cpu_seconds, gradients},
};

/// Shares of full fine-tuning's accuracy.
const SHARES: [&str; 2] = ["0.90", "0.95"];
const LOOKS_PER_EPOCH: usize = 8;
/// Images without labels.
const FEW: [usize; 2] = [64, 256];
/// Passes over few labelled images.
const FEW_EPOCHS: [usize; 2] = [8, 30];
const SEEDS: u64 = 3;
/// From the cheapest, with the sizes of their tunings.
const NETWORKS: [(&str, &[usize]); 4] = [
    ("mlp-512", &[256, 2048, 16384]),
    ("vit", &[256, 2048]),
    ("conv8", &[512]),
    ("resnet18", &[512]),
];
const RELATIONS: [Relation; 2] = [Relation::Continued, Relation::Independent];

/// One row.
struct Row<'d> {
    network: &'static str,
    tune: usize,
    relation: Relation,
    seed: u64,
    data: &'d str,
}

impl Row<'_> {
    fn name(&self) -> String {
        let Self {
            data,
            network,
            tune,
            relation,
            seed,
        } = self;
        format!("{data}-{network}-{tune}-{}-{seed}", relation.name())
    }
}

/// Measures the rows whose name contains `only` and that are not below `results` yet, then writes the table beside them.
///
/// # Errors
/// When a file cannot be read or written, or a job fails.
pub fn measure(data: &Path, results: &Path, only: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(results)?;
    for row in rows().filter(|row| row.name().contains(only)) {
        let file = results.join(format!("{}.json", row.name()));
        if file.exists() {
            continue;
        }
        eprintln!("{}", row.name());
        let record = of_row(&row, data)?;
        let part = file.with_extension("part");
        fs::write(&part, format!("{record:#}\n"))?;
        fs::rename(part, file)?;
    }
    table(results)
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    (0..SEEDS).flat_map(|seed| {
        NETWORKS.into_iter().flat_map(move |(network, sizes)| {
            sizes.iter().flat_map(move |&tune| {
                RELATIONS.into_iter().flat_map(move |relation| {
                    ["fashion", "mnist"].into_iter().map(move |data| Row {
                        network,
                        tune,
                        relation,
                        seed,
                        data,
                    })
                })
            })
        })
    })
}

fn of_row(row: &Row<'_>, data: &Path) -> Result<Value, Box<dyn Error>> {
    let folder = data.join(row.data);
    let (learned, judged) = (
        Images::read(&folder, "train")?,
        Images::read(&folder, "t10k")?,
    );
    let setting = Setting {
        network: row.network,
        budget: Budget {
            tune: row.tune,
            ..Budget::of(row.network)
        },
        relation: row.relation,
        seed: row.seed,
    };
    let case = Case::trained(&learned, &judged, setting)?;
    let bench = Bench::new(&case)?;

    let mut ways = vec![way(
        "plain training",
        &bench,
        &case.new_base,
        Spent::default(),
        Value::Null,
    )];
    let labelled = automatic::run(&case, &json!({"gate": {"min": 0.0}}))?;
    ways.push(after_auto("auto, labels", &bench, &labelled)?);
    let mut few_shot = BTreeMap::new();
    for samples in FEW.into_iter().filter(|samples| *samples <= row.tune) {
        let gate = json!({"gate": {"metric": "agreement", "min": 0.0}});
        let few = case.train.part(0, samples).unlabelled();
        let few = case.with(few, case.validation.unlabelled());
        let done = automatic::run(&few, &gate)?;
        ways.push(after_auto(
            &format!("auto, {samples} inputs"),
            &bench,
            &done,
        )?);
        few_shot.insert(samples.to_string(), few_shot_accuracy(&bench, samples));
    }

    Ok(json!({
        "data": row.data, "network": row.network, "tune": row.tune, "relation": row.relation, "seed": row.seed,
        "command": format!("cargo bench --bench evidence -- --data DIR --costs --only {}", row.name()),
        "commit": commit(), "date": time::OffsetDateTime::now_utc().date().to_string(), "machine": machine(),
        "keep_old": bench.kept.accuracy, "target_untouched": bench.untouched.accuracy,
        "full_fine_tuning": {"accuracy": bench.full.accuracy, "learning_rate": bench.full.learning_rate},
        "ways": ways, "few_shot": few_shot,
    }))
}

/// What a job has published, and what it cost.
fn after_auto(
    name: &str,
    bench: &Bench<'_>,
    done: &automatic::Done,
) -> Result<Value, Box<dyn Error>> {
    let report = &done.report;
    let cost = |what: &str| {
        let count = |kind: &str| report["cost"][what][kind].as_f64().unwrap_or_default();
        count("sample_gradients") + count("sample_forwards") / 3.0
    };
    let spent = Spent {
        gradients: cost("total"),
        seconds: report["timing"]["cpu_seconds"].as_f64().unwrap_or_default(),
    };
    let action = report["recommendation"]["action"].as_str();
    let start = match &done.model {
        Some(model) if !matches!(action, Some("retrain" | "keep_old")) => checkpoint(model)?,
        _ => bench.case.new_base.clone(),
    };
    let told = json!({
        "method": report["winner"], "recommendation": action, "choosing": cost("selection"),
        "passes": report["cost"]["selection"]["sample_forwards"],
    });
    Ok(way(name, bench, &start, spent, told))
}

/// A way to a model, and what it takes on top of `spent` to reach each share of full fine-tuning; null where as many
/// epochs do not.
fn way(name: &str, bench: &Bench<'_>, start: &Checkpoint, spent: Spent, told: Value) -> Value {
    let settled = bench
        .learner
        .with_statistics(start, &bench.train, STATISTICS_SAMPLES, BATCH);
    let before = bench.accuracy(&settled);
    let goals = SHARES.map(|share| share.parse::<f64>().unwrap_or(1.0) * bench.full.accuracy);
    let goal = goals[goals.len() - 1];
    // What was spent by each look, and its accuracy.
    let mut curve = vec![(spent, before)];
    if before < goal {
        curve.extend(looks(bench, start, spent, goal));
    }

    let reach = SHARES.iter().zip(goals).map(|(share, goal)| {
        let first = curve.iter().find(|(_, accuracy)| *accuracy >= goal);
        (
            (*share).to_owned(),
            first.map_or(Value::Null, |(spent, _)| spent.json()),
        )
    });
    let reach: serde_json::Map<_, _> = reach.collect();
    eprintln!("    {name:<18} {:5.1} % {reach:?}", 100.0 * before);
    json!({"name": name, "accuracy": before, "cost": spent.json(), "job": told, "reach": reach})
}

/// The training's looks up to the first that reaches the goal.
fn looks(bench: &Bench<'_>, start: &Checkpoint, spent: Spent, goal: f64) -> Vec<(Spent, f64)> {
    let full = bench.full_plan();
    let plan = FineTunePlan {
        snapshots: LOOKS_PER_EPOCH * full.epochs,
        ..full
    };
    let (before, begun) = (bench.learner.cost(), cpu_seconds());
    let tuned = train(&bench.learner, start, &bench.train, &plan);
    let whole = Spent {
        gradients: gradients(bench.learner.cost() - before),
        seconds: cpu_seconds() - begun,
    };

    let mut looks = Vec::new();
    for (step, model) in &tuned.snapshots {
        let share = *step as f64 / tuned.steps as f64;
        let spent = Spent {
            gradients: spent.gradients + share * whole.gradients,
            seconds: spent.seconds + share * whole.seconds,
        };
        let settled = bench
            .learner
            .with_statistics(model, &bench.train, STATISTICS_SAMPLES, BATCH);
        let accuracy = bench.accuracy(&settled);
        looks.push((spent, accuracy));
        if accuracy >= goal {
            break;
        }
    }
    looks
}

/// Plain training on so many labelled images, on the test split.
fn few_shot_accuracy(bench: &Bench<'_>, samples: usize) -> f64 {
    let Budget {
        learning_rates,
        optimizer,
        ..
    } = bench.case.budget;
    let few = bench.train.subset(&(0..samples).collect::<Vec<_>>());
    let mut best = (f64::MIN, 0.0);
    for epochs in FEW_EPOCHS {
        for rate in learning_rates {
            let plan = plan(epochs, optimizer, rate, bench.case.seed);
            let model = train(&bench.learner, &bench.case.new_base, &few, &plan).checkpoint;
            let chosen = bench.learner.evaluate(&model, &bench.validation).accuracy;
            if chosen > best.0 {
                best = (chosen, bench.accuracy(&model));
            }
        }
    }
    best.1
}

/// Writes `costs.md` beside the folder of rows: medians over data sets and seeds.
fn table(results: &Path) -> Result<(), Box<dyn Error>> {
    let mut groups = BTreeMap::<_, Vec<Value>>::new();
    let mut files: Vec<_> = fs::read_dir(results)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files {
        if file.path().extension().is_some_and(|end| end == "json") {
            let row: Value = serde_json::from_slice(&fs::read(file.path())?)?;
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
            let reached = |share: &str| {
                let reached = ways.iter().filter(|way| way["reach"][share].is_object());
                format!("{}/{}", reached.count(), ways.len())
            };
            let few = name
                .strip_prefix("auto, ")
                .and_then(|n| n.strip_suffix(" inputs"));
            let few = few.map(|n| percent(rows.iter().map(|row| &row["few_shot"][n])));
            text += &format!(
                "| {} | {} | {} | {} | {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                relation.trim_matches('"'),
                network.trim_matches('"'),
                tune.unwrap_or_default(),
                rows.len(),
                percent(rows.iter().map(|row| &row["keep_old"])),
                percent(ways.iter().map(|way| &way["accuracy"])),
                few.unwrap_or_default(),
                reached("0.90"),
                over_plain("0.90", "gradients"),
                over_plain("0.90", "seconds"),
                reached("0.95"),
                over_plain("0.95", "gradients"),
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
training in gradients, and in processor seconds; everything that the job spent is counted.\n\n\
| new base | network | tuned on | rows | way | old tuned | before | few-shot | to 90 % | × gradients | × seconds | to 95 % | × gradients | × seconds |\n\
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

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
