//! What α by group brings on top of one α for everything, by method and relation of the bases: accuracy on the test
//! split, and what each has cost.

use std::{error::Error, path::Path};

use serde_json::{Value, json};

use super::{
    automatic::{self, Done},
    case::{Budget, Case, Relation, Setting},
    row::images,
};

const NETWORKS: [&str; 4] = ["mlp-512", "vit", "conv8", "resnet18"];
const RELATIONS: [Relation; 2] = [Relation::Continued, Relation::Independent];
const METHODS: [&str; 5] = ["identity", "weight_matching", "fgmt", "bico", "functional"];
const SEEDS: u64 = 2;

/// Prints a row for every network, relation, seed and method; `only` is a part of a row's first cells.
///
/// # Errors
/// When data are missing, values overflow or a job fails.
pub fn measure(data: &Path, only: &str) -> Result<(), Box<dyn Error>> {
    println!(
        "| network, bases, seed | method | old tuned | one α | by group | taken | passes of one, by group |"
    );
    println!("|---|---|---:|---:|---:|---|---:|");
    let [learned, judged] = images(data, "fashion")?;
    for seed in 0..SEEDS {
        for network in NETWORKS {
            for relation in RELATIONS {
                let name = format!("{network}, {}, {seed}", relation.name());
                if !name.contains(only) {
                    continue;
                }
                let budget = Budget::of(network);
                let setting = Setting {
                    network,
                    budget,
                    relation,
                    seed,
                };
                let case = Case::trained(&learned, &judged, setting)?;
                for method in METHODS {
                    println!("| {name} | {method} | {} |", compared(&case, method)?);
                }
            }
        }
    }
    Ok(())
}

/// The cells of a method.
fn compared(case: &Case, method: &str) -> Result<String, Box<dyn Error>> {
    let [one, by_group] = ["search", "by_group"].map(|alpha| {
        let options =
            json!({"seed": case.seed, "timesteps": case.budget.timesteps, "alpha": alpha});
        automatic::run(case, &json!({"methods": [method], "options": options}))
    });
    let (one, by_group) = (one?, by_group?);
    Ok(format!(
        "{:.1} | {:.1} | {:.1} | {} | {}, {}",
        100.0 * number(&one.report["baselines"]["source_tuned"]["accuracy"]),
        100.0 * tested(&one),
        100.0 * tested(&by_group),
        by_group.report["candidates"][0]["by_group"]["taken"],
        passes(&one),
        passes(&by_group),
    ))
}

fn tested(done: &Done) -> f64 {
    number(&done.report["candidates"][0]["test"]["accuracy"])
}

/// Forward passes; a gradient is three.
fn passes(done: &Done) -> f64 {
    let candidate = &done.report["candidates"][0];
    number(&candidate["sample_forwards"]) + 3.0 * number(&candidate["sample_gradients"])
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
