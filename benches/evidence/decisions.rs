//! How often a recommendation is wrong: judged on few samples, drawn again and again from many.
//!
//! Of every kept pair several results are made, good and bad ones. Each is judged beside the old tuned model on
//! all test samples, which is taken for the truth, and on draws of `n` of them, by the rule of a job
//! (`Paired::shown`) and by the figures alone.

use std::{error::Error, fs, path::Path};

use burn::tensor::Device;
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    tensors::Checkpoint,
    training::{Learner, Paired, Shown, Tally},
    transfer::{STATISTICS_SAMPLES, functional::Rule},
};

use super::functional::Pair;

const SIZES: [usize; 6] = [64, 128, 256, 512, 1024, 4096];
const DRAWS: usize = 400;
/// As a job has them by default.
const CONFIDENCE: f64 = 0.95;
const MARGIN: f64 = 0.01;
/// Shares of an update.
const ALPHAS: [f64; 6] = [0.25, 0.5, 0.75, 0.9, 1.0, 1.1];
const FITTED_ON: [usize; 3] = [64, 256, 1000];

/// Judges results of the pairs below `cases` whose name contains `only`, and prints the table.
///
/// # Errors
/// When a file cannot be read.
pub fn measure(cases: &Path, only: &str) -> Result<(), Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(cases)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();

    let mut counts = [Counts::default(); SIZES.len()];
    for name in names.iter().filter(|name| name.contains(only)) {
        let Some(network) = network(name) else {
            continue;
        };
        let pair = Pair::read(&cases.join(name), network)?;
        for (truth, result) in results(&pair)?.into_iter().enumerate() {
            let lead = Paired::of(&result.own, &result.old).difference();
            println!("{name} {truth}: {:+.2} points", 100.0 * lead);
            for (size, counts) in SIZES.into_iter().zip(&mut counts) {
                counts.judge(&result, size);
            }
        }
    }

    println!(
        "\n| samples | behind by more than a point: `transfer` | by the figures alone | shown | not behind: `transfer` | shown behind |"
    );
    println!("|---|---|---|---|---|---|");
    for (size, counts) in SIZES.into_iter().zip(&counts) {
        println!("| {size} | {counts} |");
    }
    let counts = &counts[0];
    let (behind, level) = (counts.behind.draws / DRAWS, counts.level.draws / DRAWS);
    println!("\n{behind} results behind by more than a point, {level} not; {DRAWS} draws of each");
    Ok(())
}

fn network(case: &str) -> Option<&'static str> {
    ["mlp-512", "vit", "conv8", "resnet18"]
        .into_iter()
        .find(|name| case.contains(name))
}

/// A result beside the old tuned model, on all test samples.
struct Judged {
    own: Vec<Tally>,
    old: Vec<Tally>,
}

/// The update as it is and fits of the function, each at several lengths.
fn results(pair: &Pair) -> Result<Vec<Judged>, Box<dyn Error>> {
    let learner = Learner::new(&pair.network.graph, &pair.network.signature, Device::flex())?;
    let old = Tally::of(&learner.evaluate(&pair.tuned, &pair.test), &pair.test);
    let mut ends = vec![pair.identity()];
    for samples in FITTED_ON {
        for rule in [Rule::Head, Rule::Every] {
            ends.push(pair.fitted(&learner, samples, rule)?);
        }
    }

    let of = |model: Checkpoint| {
        let model = learner.with_statistics(&model, &pair.inputs, STATISTICS_SAMPLES, 128);
        let own = Tally::of(&learner.evaluate(&model, &pair.test), &pair.test);
        Judged {
            own,
            old: old.clone(),
        }
    };
    let points = ends.iter().flat_map(|end| ALPHAS.map(|alpha| (end, alpha)));
    Ok(points
        .map(|(end, alpha)| of(pair.new.shifted(&pair.new, end, alpha)))
        .collect())
}

/// Judgements of results of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    draws: usize,
    as_good: usize,
    worse: usize,
    /// Within the margin by the figures alone.
    by_figures: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    behind: Said,
    level: Said,
}

impl Counts {
    fn judge(&mut self, result: &Judged, size: usize) {
        let is_behind = Paired::of(&result.own, &result.old).difference() < -MARGIN;
        let said = if is_behind {
            &mut self.behind
        } else {
            &mut self.level
        };
        let mut rng = ChaCha8Rng::seed_from_u64(size as u64);
        for _ in 0..DRAWS {
            let drawn = index::sample(&mut rng, result.own.len(), size.min(result.own.len()));
            let (own, old): (Vec<_>, Vec<_>) = drawn
                .iter()
                .map(|at| (result.own[at], result.old[at]))
                .unzip();
            let paired = Paired::of(&own, &old);
            let shown = paired.shown(MARGIN, CONFIDENCE);
            said.draws += 1;
            said.as_good += usize::from(shown == Shown::AsGood);
            said.worse += usize::from(shown == Shown::Worse);
            said.by_figures += usize::from(paired.difference() >= -MARGIN);
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |count: usize, of: &Said| 100.0 * count as f64 / of.draws.max(1) as f64;
        let Self { behind, level } = self;
        write!(
            f,
            "{:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.1} %",
            share(behind.as_good, behind),
            share(behind.by_figures, behind),
            share(behind.worse, behind),
            share(level.as_good, level),
            share(level.worse, level)
        )
    }
}
