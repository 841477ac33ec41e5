//! Forward passes and gradients of every family's fixture.

use retune::engine::training::{Batch, Learner};

use super::{apart, device, largest_difference, spread};
use crate::engine::fixtures::{self, Fixture};

/// Of logits, over their spread.
const FORWARD_BOUND: f64 = 1e-3;
/// Of gradients, over the spread of each tensor's.
const GRADIENT_BOUND: f64 = 2e-3;
/// Samples of a fixture that are compared.
const MOST_SAMPLES: usize = 4;

/// How far a fixture's results lie apart.
struct Apart {
    forward: f64,
    gradient: f64,
    tensor: String,
}

fn batch(fixture: &Fixture) -> Batch {
    let count = fixture.data.len().min(MOST_SAMPLES);
    fixture.data.batch(&(0..count).collect::<Vec<_>>())
}

fn compare(fixture: &Fixture) -> Apart {
    let (graph, signature) = (&fixture.network.graph, &fixture.network.signature);
    let on_cpu = fixture.network.learner();
    let on_device = Learner::new(graph, signature, device()).expect("a network");
    let batch = batch(fixture);

    let logits = on_cpu.predict(&fixture.parameters, &batch);
    let found = on_device.predict(&fixture.parameters, &batch);
    let forward = largest_difference(&logits, &found) / spread(&logits).max(1e-6);

    let gradient = on_cpu.gradient(&fixture.parameters, &batch);
    let found = on_device.gradient(&fixture.parameters, &batch);
    assert!((gradient.loss - found.loss).abs() < 1e-3 * gradient.loss.abs().max(1.0));
    let (gradient, tensor) = apart(&gradient.parts, &found.parts);

    Apart {
        forward,
        gradient,
        tensor,
    }
}

/// Compares the fixtures of a folder, so many as there are at least.
fn all_of(folder: &str, at_least: usize) {
    let fixtures = fixtures::all(folder);
    assert!(fixtures.len() >= at_least, "{}", fixtures.len());

    let mut wrong = Vec::new();
    for fixture in fixtures.iter().filter(|one| one.network.graph.has_loss()) {
        let Apart {
            forward,
            gradient,
            tensor,
        } = compare(fixture);
        let told = format!(
            "{}: forward {forward:.1e}, gradients {gradient:.1e} ({tensor})",
            fixture.name
        );
        println!("{told}");
        // What is no number is above every bound.
        if !(forward < FORWARD_BOUND && gradient < GRADIENT_BOUND) {
            wrong.push(told);
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn transformers_compute_what_the_cpu_computes() {
    all_of("transformers", 60);
}

#[test]
fn pictures_compute_what_the_cpu_computes() {
    all_of("pictures", 40);
}
