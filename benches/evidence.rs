//! The evidence table: every method, and what one would do without it, on real image pairs.
//!
//! ```text
//! cargo bench --bench evidence -- --data DIR [--only TEXT] [--table]     # or: make bench-evidence
//! ```
//!
//! `DIR` holds `mnist/` and `fashion/` with their idx files. A row is a data set, a network, a
//! relation of the bases and a seed; it is one JSON file under `benches/results/evidence/`, and rows
//! that are there are not measured again. `--table` writes the tables from the rows alone.

#[path = "evidence/automatic.rs"]
mod automatic;
#[path = "evidence/case.rs"]
mod case;
#[path = "evidence/images.rs"]
mod images;
#[path = "evidence/measure.rs"]
mod measure;
#[path = "evidence/networks.rs"]
mod networks;
#[path = "evidence/table.rs"]
mod table;

use std::{error::Error, fs, path::Path, process::Command};

use serde_json::{Value, json};

use case::{Case, Relation};
use images::Images;
use measure::Field;

const SEEDS: u64 = 3;
const DATA: [&str; 2] = ["mnist", "fashion"];
/// From the cheapest.
const NETWORKS: [&str; 4] = ["mlp-512", "vit", "conv8", "resnet18"];
/// One hidden layer, for the figure over widths.
const WIDTHS: [usize; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

fn main() -> Result<(), Box<dyn Error>> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/evidence");
    fs::create_dir_all(&results)?;
    // Of what was built, as long as the checkout stands still before the first row.
    let commit = commit();
    if !std::env::args().any(|a| a == "--table") {
        let data = argument("--data").ok_or("--data DIR: the folder with mnist/ and fashion/")?;
        let only = argument("--only").unwrap_or_default();
        for row in rows().filter(|row| row.name().contains(&only)) {
            let file = results.join(format!("{}.json", row.name()));
            if file.exists() {
                continue;
            }
            eprintln!("{}", row.name());
            let record = row.measure(Path::new(&data), &commit)?;
            // Whole or not at all: a row that is there counts as measured.
            let part = file.with_extension("part");
            fs::write(&part, format!("{record:#}\n"))?;
            fs::rename(part, file)?;
        }
    }
    table::write(&results)
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|a| a != name);
    arguments.next().and_then(|_| arguments.next())
}

/// What is measured at a time.
struct Row {
    data: &'static str,
    network: String,
    relation: Relation,
    seed: u64,
    field: Field,
}

/// Seed by seed, so that a bench that was ended early has something of everything.
fn rows() -> impl Iterator<Item = Row> {
    let one = |(seed, network, field): (u64, String, Field)| {
        let relations: &[Relation] = match field {
            Field::All => &Relation::ALL,
            Field::Widths => &[Relation::Independent],
        };
        let data: &[&str] = if field == Field::All { &DATA } else { &DATA[1..] };
        let pairs = relations.iter().flat_map(|r| data.iter().map(move |d| (*r, *d)));
        pairs
            .map(|(relation, data)| Row { data, network: network.clone(), relation, seed, field })
            .collect::<Vec<_>>()
    };
    (0..SEEDS).flat_map(move |seed| {
        let all = NETWORKS.map(|network| (seed, network.to_owned(), Field::All));
        let widths = WIDTHS.map(|width| (seed, format!("mlp1-{width}"), Field::Widths));
        all.into_iter().chain(widths).flat_map(one).collect::<Vec<_>>()
    })
}

impl Row {
    fn name(&self) -> String {
        format!("{}-{}-{}-{}", self.data, self.network, self.relation.name(), self.seed)
    }

    fn measure(&self, data: &Path, commit: &str) -> Result<Value, Box<dyn Error>> {
        let folder = data.join(self.data);
        let images = (Images::read(&folder, "train")?, Images::read(&folder, "t10k")?);
        let (learned, judged) = (&images.0, &images.1);
        let case = Case::make((learned, judged), &self.network, self.relation, self.seed)?;
        let mut record = json!({
            "data": self.data,
            "network": self.network,
            "relation": self.relation,
            "seed": self.seed,
            "command": format!("cargo bench --bench evidence -- --data DIR --only {}", self.name()),
            "commit": commit,
            "date": time::OffsetDateTime::now_utc().date().to_string(),
            "machine": machine(),
        });
        let measured = measure::measure(&case, self.field)?;
        for (key, value) in measured.as_object().into_iter().flatten() {
            record[key] = value.clone();
        }
        if self.field == Field::All {
            record["auto"] = automatic::measure(&case)?;
        }
        Ok(record)
    }
}

/// Of the checkout, with a mark where it has changes.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} × {}", cores, model.map_or("unknown processor", |(_, name)| name))
}
