//! The rows of the evidence, and how one is measured.

use std::{error::Error, fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    automatic,
    case::{Case, Relation},
    contender::Field,
    images::Images,
    measure,
};

const SEEDS: u64 = 3;
const DATA: [&str; 2] = ["mnist", "fashion"];
/// From the cheapest.
const NETWORKS: [&str; 4] = ["mlp-512", "vit", "conv8", "resnet18"];
/// One hidden layer, for the figure over widths.
const WIDTHS: [usize; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];
/// The images inside the program.
pub const SHIPPED: &str = "shipped";

/// What is measured at a time.
pub struct Row {
    data: &'static str,
    network: String,
    relation: Relation,
    seed: u64,
    pub field: Field,
}

/// Seed by seed, so that a bench that was ended early has something of everything.
pub fn rows() -> impl Iterator<Item = Row> {
    let one = |(seed, network, field): (u64, String, Field)| {
        let relations: &[Relation] = match field {
            Field::All => &Relation::ALL,
            Field::Widths => &[Relation::Independent],
        };
        let data: &[&str] = if field == Field::All {
            &DATA
        } else {
            &DATA[1..]
        };
        let pairs = relations
            .iter()
            .flat_map(|r| data.iter().map(move |d| (*r, *d)));
        pairs
            .map(|(relation, data)| Row {
                data,
                network: network.clone(),
                relation,
                seed,
                field,
            })
            .collect::<Vec<_>>()
    };
    let rows = (0..SEEDS).flat_map(move |seed| {
        let all = NETWORKS.map(|network| (seed, network.to_owned(), Field::All));
        let widths = WIDTHS.map(|width| (seed, format!("mlp1-{width}"), Field::Widths));
        all.into_iter()
            .chain(widths)
            .flat_map(one)
            .collect::<Vec<_>>()
    });
    std::iter::once(Row::shipped()).chain(rows)
}

impl Row {
    /// The one that needs no other files, small enough for a test.
    pub fn shipped() -> Self {
        let (network, relation) = ("mlp-32".to_owned(), Relation::Independent);
        Self {
            data: SHIPPED,
            network,
            relation,
            seed: 0,
            field: Field::All,
        }
    }

    pub fn name(&self) -> String {
        format!(
            "{}-{}-{}-{}",
            self.data,
            self.network,
            self.relation.name(),
            self.seed
        )
    }

    /// Trains the models and runs every contender; `data` holds the folders of the data sets.
    ///
    /// # Errors
    /// When data are missing or values overflow.
    pub fn measure(&self, data: &Path, commit: &str) -> Result<Value, Box<dyn Error>> {
        let case = self.case(data)?;
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

    /// The models and the data of the row.
    ///
    /// # Errors
    /// When data are missing.
    pub fn case(&self, data: &Path) -> Result<Case, Box<dyn Error>> {
        let [learned, judged] = images(data, self.data)?;
        Case::make(&learned, &judged, &self.network, self.relation, self.seed)
    }
}

/// The images to learn from and those that judge.
///
/// # Errors
/// When they are missing.
pub fn images(data: &Path, name: &str) -> Result<[Images; 2], Box<dyn Error>> {
    if name == SHIPPED {
        return Ok(Images::shipped()?.into());
    }
    let folder = data.join(name);
    Ok([
        Images::read(&folder, "train")?,
        Images::read(&folder, "t10k")?,
    ])
}

/// Of the checkout, with a mark where anything but results has changed.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output();
        output
            .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    let commit = git(&["describe", "--always"]);
    let changes = git(&["status", "--porcelain", "--", ".", ":!benches/results"]);
    if changes.is_empty() {
        commit
    } else {
        format!("{commit}-dirty")
    }
}

/// Cores and processor.
pub fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{} × {}",
        cores,
        model.map_or("unknown processor", |(_, name)| name)
    )
}
