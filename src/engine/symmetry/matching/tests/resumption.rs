//! Descents that are broken off and go on.

use super::*;

/// Every stage that a descent passes, as it would lie in a file.
fn stages(matcher: &mut Matcher, start: Start, from: Option<Stage>) -> (Solution, Vec<String>) {
    let passed = std::cell::RefCell::new(Vec::new());
    let on_stage = |stage: &Stage| -> Result<(), NotFinite> {
        passed
            .borrow_mut()
            .push(serde_json::to_string(stage).unwrap());
        Ok(())
    };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let stages = Stages {
        from,
        on_stage: &on_stage,
    };
    let solution = matcher.solve_in_stages(start, &mut rng, stages).unwrap();
    (solution, passed.into_inner())
}

#[test]
fn a_descent_goes_on_from_wherever_it_was_broken_off() {
    let (graph, signature) = residual(6, 3);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let pairs = random_pairs(1, &signature, &mut rng);
    let profiler = profiler();
    let fresh = || matcher(&symmetry, &profiler, &pairs);
    let identity = Permutation::identity(&symmetry);
    let mut most = 0;
    for start in [
        Start::Anchored,
        Start::Best(&[&identity]),
        Start::From(&identity),
    ] {
        let (whole, passed) = stages(&mut fresh(), start, None);
        most = most.max(whole.sweeps);
        for (behind, text) in (1..).zip(&passed) {
            let from: Stage = serde_json::from_str(text).unwrap();
            let (resumed, rest) = stages(&mut fresh(), start, Some(from));
            assert_eq!(
                resumed.permutation, whole.permutation,
                "after {behind} visits"
            );
            assert_eq!(resumed.sweeps, whole.sweeps);
            assert_eq!(rest.len(), passed.len() - behind);
            let proved = |solution: &Solution| {
                solution
                    .certificates
                    .iter()
                    .map(Option::is_some)
                    .collect::<Vec<_>>()
            };
            assert_eq!(proved(&resumed), proved(&whole));
        }
    }
    assert!(most > 1, "breaks between sweeps were seen too");
}

#[test]
fn a_stage_of_another_symmetry_counts_for_nothing() {
    let (graph, signature) = residual(6, 3);
    let (other, larger) = residual(6, 4);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let stranger = Stage::anchoring(&Symmetry::derive(&other, &larger).unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let profiler = profiler();
    let mut matcher = matcher(&symmetry, &profiler, &random_pairs(1, &signature, &mut rng));
    let (undisturbed, passed) = stages(&mut matcher, Start::Anchored, None);
    let mut torn: Stage = serde_json::from_str(&passed[0]).unwrap();
    torn.permutation
        .set(0, (0..symmetry.groups[0].units as u32).collect());
    torn.dirty.pop();
    for from in [stranger, torn] {
        let (solution, again) = stages(&mut matcher, Start::Anchored, Some(from));
        assert_eq!(solution.permutation, undisturbed.permutation);
        assert_eq!(again.len(), passed.len());
    }
}

#[derive(Debug, PartialEq)]
struct Enough;

impl From<NotFinite> for Enough {
    fn from(_: NotFinite) -> Self {
        unreachable!("all values are finite")
    }
}

#[test]
fn whoever_hears_of_the_stages_may_end_the_descent() {
    let (graph, signature) = mlp(&[5, 4, 3]);
    let symmetry = Symmetry::derive(&graph, &signature).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let profiler = profiler();
    let mut matcher = matcher(&symmetry, &profiler, &random_pairs(1, &signature, &mut rng));
    let stages = Stages {
        from: None,
        on_stage: &|_| Err(Enough),
    };
    assert_eq!(
        matcher
            .solve_in_stages(Start::Anchored, &mut rng, stages)
            .unwrap_err(),
        Enough
    );
}
