//! The evidence table: every method, and what one would do without it, on real image pairs.
//!
//! ```text
//! cargo bench --bench evidence -- --data DIR [--only TEXT] [--auto | --table]     # or: make bench-evidence
//! ```
//!
//! `DIR` holds `mnist/` and `fashion/` with their idx files. A row is a data set, a network, a
//! relation of the bases and a seed; it is one JSON file under `benches/results/evidence/`, and rows
//! that are there are not measured again. `--auto` measures again, of the rows that are there, what
//! `auto` came to; `--table` writes the tables from the rows alone. `--costs` measures what a user pays
//! until a model is good enough, by rows of its own under `benches/results/costs/`. `--groups` prints what α by group brings.
//! `--functional DIR` prints what each rule of `functional` gives, on pairs that are kept in that folder; on the same
//! pairs, `--touchup DIR` what each part of the touch-up gives after a transfer, and `--decisions DIR` how often a recommendation on few samples is
//! wrong. One row, of the images shipped with the demo, is measured again by `test.rs`.

mod automatic;
mod bench;
mod case;
mod contender;
mod costs;
mod costs_table;
mod decisions;
mod functional;
mod groups;
mod images;
mod judgement;
mod measure;
mod networks;
mod picture;
mod row;
mod spent;
mod table;
mod touchup;

use std::{error::Error, fs, path::Path};

use case::Case;
use contender::Field;
use row::{Row, commit, rows};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/evidence");
    fs::create_dir_all(&results)?;
    // Of what was built, as long as the checkout stands still before the first row.
    let commit = commit();
    if let Some(cases) = argument("--functional") {
        let data = argument("--data").ok_or("--data DIR: the folder with fashion/")?;
        let only = argument("--only").unwrap_or_default();
        return functional::measure(Path::new(&data), Path::new(&cases), &only);
    }
    if std::env::args().any(|a| a == "--costs") {
        return costs(&results.with_file_name("costs"), &commit);
    }
    if std::env::args().any(|a| a == "--groups") {
        let data = argument("--data").ok_or("--data DIR: the folder with fashion/")?;
        return groups::measure(Path::new(&data), &argument("--only").unwrap_or_default());
    }
    if let Some(cases) = argument("--decisions") {
        return decisions::measure(Path::new(&cases), &argument("--only").unwrap_or_default());
    }
    if let Some(cases) = argument("--touchup") {
        let data = argument("--data").ok_or("--data DIR: the folder with fashion/")?;
        let only = argument("--only").unwrap_or_default();
        return touchup::measure(Path::new(&data), Path::new(&cases), &only);
    }
    if !std::env::args().any(|a| a == "--table") {
        let data = argument("--data").ok_or("--data DIR: the folder with mnist/ and fashion/")?;
        let only = argument("--only").unwrap_or_default();
        let again = std::env::args().any(|a| a == "--auto");
        let wanted =
            |row: &Row| row.name().contains(&only) && !(again && row.field == Field::Widths);
        for row in rows().filter(wanted) {
            let file = results.join(format!("{}.json", row.name()));
            if file.exists() != again {
                continue;
            }
            eprintln!("{}", row.name());
            let record = if again {
                let kept: Value = serde_json::from_slice(&fs::read(&file)?)?;
                with_auto(kept, &row.case(Path::new(&data))?, &commit)?
            } else {
                row.measure(Path::new(&data), &commit)?
            };
            keep(&file, &record)?;
        }
    }
    table::write(&results)
}

/// Measures what rows of the costs are not there yet, and writes their table.
fn costs(results: &Path, commit: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(results)?;
    if !std::env::args().any(|a| a == "--table") {
        let data = argument("--data").ok_or("--data DIR: the folder with mnist/ and fashion/")?;
        let only = argument("--only").unwrap_or_default();
        for row in costs::rows().filter(|row| row.name().contains(&only)) {
            let file = results.join(format!("{}.json", row.name()));
            if !file.exists() {
                eprintln!("{}", row.name());
                keep(&file, &row.measure(Path::new(&data), commit)?)?;
            }
        }
    }
    costs_table::write(results)
}

/// Writes a row whole or not at all: one that is there counts as measured.
fn keep(file: &Path, record: &Value) -> Result<(), Box<dyn Error>> {
    let part = file.with_extension("part");
    fs::write(&part, format!("{record:#}\n"))?;
    Ok(fs::rename(part, file)?)
}

/// The record of a case, with what `auto` comes to now.
fn with_auto(mut record: Value, case: &Case, commit: &str) -> Result<Value, Box<dyn Error>> {
    record["auto"] = automatic::measure(case)?;
    record["auto"]["commit"] = commit.into();
    Ok(record)
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and_then(|_| arguments.next())
}
