//! How the two bases are related, before anything is spent.

use serde::Serialize;

use super::compete::Bench;
use crate::engine::network::Checkpoint;

/// The relation of old and new base.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The new base's learned tensors equal the old one's, bit for bit.
    pub identical_bases: bool,
    /// `‖θ_A^T − θ_A⁰‖ / ‖θ_A⁰‖`: how far the tuning went.
    pub relative_task_vector: Option<f64>,
    /// Cosine of `θ_A⁰` and `θ_B⁰` by tensor, before any permutation.
    pub base_cosines: Vec<(String, Option<f64>)>,
    /// The same over all tensors.
    pub base_cosine: Option<f64>,
}

pub fn run(bench: &Bench) -> Diagnosis {
    let names: Vec<String> = bench.inputs.graph.learned();
    let (source, target) = (bench.inputs.trajectory.base(), &bench.inputs.target.checkpoint);
    let present: Vec<&String> = names.iter().filter(|n| source.get(n).is_some()).collect();
    let cosine = |name: &str| cosine(source, target, name);
    let base_cosines = present.iter().map(|n| ((*n).clone(), cosine(n))).collect();
    let [mut product, mut squares_source, mut squares_target, mut moved] = [0.0; 4];
    let mut identical = true;
    let tuned = bench.inputs.trajectory.tuned();
    for name in &present {
        let (a, b) = (&source[name], &target[name]);
        product += a.inner(b);
        squares_source += a.inner(a);
        squares_target += b.inner(b);
        identical &= a.f32() == b.f32();
        let difference = a
            .f32()
            .iter()
            .zip(tuned[name].f32().iter())
            .map(|(a, t)| f64::from(t - a).powi(2))
            .sum::<f64>();
        moved += difference;
    }
    let norm = f64::sqrt(squares_source * squares_target);
    Diagnosis {
        identical_bases: identical,
        relative_task_vector: (squares_source > 0.0).then(|| (moved / squares_source).sqrt()),
        base_cosines,
        base_cosine: (norm > 0.0).then(|| product / norm),
    }
}

fn cosine(a: &Checkpoint, b: &Checkpoint, name: &str) -> Option<f64> {
    let norm = f64::sqrt(a[name].inner(&a[name]) * b[name].inner(&b[name]));
    (norm > 0.0).then(|| a[name].inner(&b[name]) / norm)
}
