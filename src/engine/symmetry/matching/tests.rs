//! The matcher against brute force, and planted permutations.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{descent::value, stages::SWEEP_LIMIT, *};
use crate::{
    network::Graph,
    tensors::{HostTensor, Signature},
    testing::{mlp, signature},
};

mod experts;
mod grouped;
mod resumption;
mod transformers;

fn random(signature: &Signature, rng: &mut ChaCha8Rng) -> Checkpoint {
    signature
        .iter()
        .map(|(name, info)| {
            let length = info.shape.iter().product();
            let values = (0..length)
                .map(|_| rng.random_range(-1.0f32..1.0))
                .collect();
            (
                name.clone(),
                HostTensor::from_f32(info.shape.clone(), values),
            )
        })
        .collect()
}

/// A residual stream of `width`, with `depth` blocks `x + down(relu(up x))`.
fn residual(width: usize, depth: usize) -> (Graph, Signature) {
    let mut nodes = vec![json!({"op": "linear", "param": "embed"})];
    let mut tensors = vec![("embed.weight".to_owned(), vec![width, 6])];
    let mut stream = "embed".to_owned();
    for i in 0..depth {
        let next = format!("stream{i}");
        nodes.push(json!({"op": "linear", "param": format!("up{i}"), "inputs": [stream]}));
        nodes.push(json!({"op": "relu"}));
        nodes.push(json!({"op": "linear", "param": format!("down{i}")}));
        nodes.push(json!({"op": "add", "id": next, "inputs": [stream, format!("down{i}")]}));
        tensors.push((format!("up{i}.weight"), vec![2 * width, width]));
        tensors.push((format!("down{i}.weight"), vec![width, 2 * width]));
        stream = next;
    }
    nodes.push(json!({"op": "linear", "param": "head"}));
    tensors.push(("head.weight".to_owned(), vec![3, width]));
    let input = json!({"kind": "features", "shape": [6]});
    (
        Graph::from_document(&json!({"input": input, "nodes": nodes})).unwrap(),
        signature(tensors),
    )
}

fn profiler() -> Profiler {
    Profiler::new(|| 0.0)
}

/// Pairs of parameter sets, drawn one after the other.
fn random_pairs(
    count: usize,
    signature: &Signature,
    rng: &mut ChaCha8Rng,
) -> Vec<(Checkpoint, Checkpoint)> {
    (0..count)
        .map(|_| (random(signature, rng), random(signature, rng)))
        .collect()
}

/// A matcher over these pairs.
fn matcher<'a>(
    symmetry: &'a Symmetry,
    profiler: &'a Profiler,
    pairs: &[(Checkpoint, Checkpoint)],
) -> Matcher<'a> {
    let mut matcher = Matcher::new(symmetry, &Executor::Cpu, profiler);
    for (target, source) in pairs {
        matcher.push(Kind::Matched, target.clone(), source.clone());
    }
    matcher
}

/// `A_g` built anew, which is what the descent has left.
fn matrix_anew(
    matcher: &mut Matcher,
    group: usize,
    permutation: &Permutation,
    case: impl std::fmt::Debug,
) -> Vec<f32> {
    let kept = matcher.matrix(group, permutation);
    matcher.matrices.whole.by_group[group].clear();
    let anew = matcher.matrix(group, permutation);
    assert!(
        kept.iter()
            .zip(anew.iter())
            .all(|(a, b)| (a - b).abs() < 1e-3),
        "{case:?}, group {group}"
    );
    anew.to_vec()
}

/// All permutations of `0..n`.
fn permutations(n: usize) -> Vec<Vec<u32>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |shorter: Vec<u32>| {
        (0..n).map(move |at| {
            let mut longer = shorter.clone();
            longer.insert(at, n as u32 - 1);
            longer
        })
    };
    permutations(n - 1).into_iter().flat_map(insert).collect()
}

/// `Σ_t ⟨target_t, π source_t⟩` by applying π to everything.
fn objective(
    symmetry: &Symmetry,
    pairs: &[(Checkpoint, Checkpoint)],
    permutation: &Permutation,
) -> f64 {
    pairs
        .iter()
        .map(|(target, source)| target.inner(&permutation.apply(symmetry, source)))
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Two coupled groups, biases, three timesteps: every entry of A_g is the change of the
    /// objective that putting one unit there makes, each assignment is the best of all n!, and no
    /// single group can improve the solution.
    #[test]
    fn conditional_assignments_equal_brute_force(seed in 0u64..1000, first in 2usize..6, second in 2usize..6) {
        let (graph, signature) = mlp(&[3, first, second, 2]);
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pairs = random_pairs(3, &signature, &mut rng);
        let profiler = profiler();
        let mut matcher = matcher(&symmetry, &profiler, &pairs);
        let start = Permutation::random(&symmetry, &mut rng);
        let solution = matcher.solve(Start::From(&start), &mut rng).unwrap();
        prop_assert!((solution.objective - objective(&symmetry, &pairs, &solution.permutation)).abs() < 1e-4);
        for group in 0..2 {
            let units = symmetry.groups[group].units;
            let mut held = solution.permutation.clone();
            let values: Vec<(Vec<u32>, f64)> = permutations(units).into_iter().map(|sigma| {
                held.set(group, sigma.clone());
                (sigma, objective(&symmetry, &pairs, &held))
            }).collect();
            // A_g, kept up to date across the sweeps, reproduces every difference of the objective.
            let matrix = matcher.matrix(group, &solution.permutation);
            let by_matrix = |sigma: &[u32]| -> f64 {
                sigma.iter().enumerate().map(|(j, &i)| f64::from(matrix[j * units + i as usize])).sum()
            };
            for (sigma, value) in &values {
                let expected = value - values[0].1;
                prop_assert!((by_matrix(sigma) - by_matrix(&values[0].0) - expected).abs() < 1e-4);
            }
            let best = values.iter().map(|(_, v)| *v).fold(f64::MIN, f64::max);
            prop_assert!(solution.objective > best - 1e-4, "group {group} can still improve");
        }
    }
}

/// The sum over timesteps is a sum of products: here the gradients of the two steps cancel in the
/// sum, which would leave nothing to match.
#[test]
fn products_are_summed_not_gradients() {
    let (graph, signature) = mlp(&[2, 3, 1]);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let source = random(&signature, &mut rng);
    let zeros = |(name, tensor): (&str, &HostTensor)| {
        (
            name.to_owned(),
            HostTensor::from_f32(tensor.shape().to_vec(), vec![0.0; tensor.len()]),
        )
    };
    let zero: Checkpoint = source.iter().map(zeros).collect();
    let negative = zero.shifted(&source, &zero, 1.0);
    let mut planted = Permutation::identity(&symmetry);
    planted.set(0, vec![2, 0, 1]);
    let profiler = profiler();
    let mut matcher = Matcher::new(&symmetry, &Executor::Cpu, &profiler);
    for step in [&source, &negative] {
        matcher.push(
            Kind::Matched,
            planted.apply(&symmetry, step),
            (*step).clone(),
        );
    }
    let solution = matcher.solve(Start::Anchored, &mut rng).unwrap();
    assert_eq!(solution.permutation, planted);
    assert!((solution.objective - matcher.bound()).abs() < 1e-5);
}

#[test]
fn a_planted_permutation_of_a_deep_residual_stream_is_found() {
    let (graph, signature) = residual(32, 12);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let source = random(&signature, &mut rng);
    let planted = Permutation::random(&symmetry, &mut rng);
    let profiler = profiler();
    let mut matcher = Matcher::new(&symmetry, &Executor::Cpu, &profiler);
    matcher.push(Kind::Matched, planted.apply(&symmetry, &source), source);
    let solution = matcher.solve(Start::Anchored, &mut rng).unwrap();
    assert_eq!(solution.permutation, planted);
    assert_eq!(solution.certificates.len(), 13);
    assert!(
        solution
            .certificates
            .iter()
            .all(|c| c.is_some_and(|c| c.gap() < 1e-3))
    );
}

/// `x + W x`: one group on both axes of W. The descent never loses what it has.
#[test]
fn a_quadratic_group_never_lowers_the_objective() {
    let graph = Graph::from_document(
        &json!({"input": {"kind": "features", "shape": [3]}, "nodes": [
        {"op": "linear", "param": "embed"}, {"op": "linear", "param": "w"},
        {"op": "add", "inputs": ["embed", "w"]}, {"op": "linear", "param": "head"}]}),
    )
    .unwrap();
    let signature = signature([
        ("embed.weight".into(), vec![5, 3]),
        ("w.weight".into(), vec![5, 5]),
        ("head.weight".into(), vec![2, 5]),
    ]);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let profiler = profiler();
        let mut matcher = matcher(&symmetry, &profiler, &random_pairs(1, &signature, &mut rng));
        let start = Permutation::random(&symmetry, &mut rng);
        let solution = matcher.solve(Start::From(&start), &mut rng).unwrap();
        assert!(solution.objective >= matcher.objective(&start));
        assert_eq!(solution.certificates, [None]);
        assert!(solution.sweeps < SWEEP_LIMIT);
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_refused() {
    let (graph, signature) = mlp(&[2, 3, 1]);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (target, mut source) = (random(&signature, &mut rng), random(&signature, &mut rng));
    source.insert(
        "fc0.bias",
        HostTensor::from_f32(vec![3], vec![0.0, f32::NAN, 0.0]),
    );
    let profiler = profiler();
    let mut matcher = Matcher::new(&symmetry, &Executor::Cpu, &profiler);
    matcher.push(Kind::Matched, target, source);
    assert!(matcher.solve(Start::Anchored, &mut rng).is_err());
}

#[test]
fn anchored_matrices_are_kept_up_to_date_as_pairs_are_added() {
    let (graph, signature) = residual(6, 3);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let profiler = profiler();
    let mut growing = Matcher::new(&symmetry, &Executor::Cpu, &profiler);
    let mut pairs = Vec::new();
    for count in 1..=5 {
        let pair = (random(&signature, &mut rng), random(&signature, &mut rng));
        growing.push(Kind::Matched, pair.0.clone(), pair.1.clone());
        pairs.push(pair);
        let mut fresh = matcher(&symmetry, &profiler, &pairs);
        let start = |matcher: &mut Matcher| {
            let stages = Stages::<NotFinite> {
                from: None,
                on_stage: &|_| Ok(()),
            };
            matcher.anchored(stages).unwrap().permutation
        };
        assert_eq!(start(&mut growing), start(&mut fresh), "{count} pairs");
        let mut order = ChaCha8Rng::seed_from_u64(3);
        let kept = growing.solve(Start::Anchored, &mut order).unwrap();
        let mut order = ChaCha8Rng::seed_from_u64(3);
        assert_eq!(
            kept.permutation,
            fresh
                .solve(Start::Anchored, &mut order)
                .unwrap()
                .permutation
        );
    }
}
