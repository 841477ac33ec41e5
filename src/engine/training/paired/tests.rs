//! The tests and bounds against values by hand, and their coverage.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{tensors::HostTensor, training::cross_entropy::IGNORED};

fn tallies(rights: &[u32]) -> Vec<Tally> {
    rights
        .iter()
        .map(|&right| Tally {
            right: right.into(),
            counted: 1,
        })
        .collect()
}

/// So many samples ahead, behind and level.
fn paired(ahead: usize, behind: usize, level: usize) -> Paired {
    let own = [vec![1; ahead], vec![0; behind], vec![1; level]].concat();
    let other = [vec![0; ahead], vec![1; behind], vec![1; level]].concat();
    Paired::of(&tallies(&own), &tallies(&other))
}

#[test]
fn the_sign_test_is_exact() {
    // 2 · (1 + 10) / 2^10, by hand; 1 of an even split.
    assert!((paired(9, 1, 50).sign_test() - 22.0 / 1024.0).abs() < 1e-12);
    assert!((paired(1, 9, 0).sign_test() - 22.0 / 1024.0).abs() < 1e-12);
    assert!((paired(5, 5, 0).sign_test() - 1.0).abs() < 1e-12);
    assert!((paired(0, 0, 7).sign_test() - 1.0).abs() < 1e-12);
    assert!((paired(3, 1, 0).difference() - 0.5).abs() < 1e-12);
}

#[test]
fn a_bound_needs_samples_even_where_nothing_differs() {
    // z² / (n + z²) with z = 1.6449.
    let bound = |n| paired(0, 0, n).least_lead(0.95);
    assert!(
        (bound(128) + 2.7055 / 130.7055).abs() < 1e-3,
        "{}",
        bound(128)
    );
    assert!(!paired(0, 0, 128).is_within(0.01, 0.95));
    assert!(paired(0, 0, 512).is_within(0.01, 0.95));
    assert!(!paired(2, 12, 498).is_within(0.01, 0.95));
    assert_eq!(paired(0, 0, 512).shown(0.01, 0.95), Shown::AsGood);
    assert_eq!(paired(0, 0, 128).shown(0.01, 0.95), Shown::Neither);
    assert_eq!(paired(2, 12, 498).shown(0.01, 0.95), Shown::Worse);
    // Significantly behind, by less than the margin.
    assert_eq!(paired(0, 8, 9992).shown(0.01, 0.95), Shown::AsGood);
    assert!((Paired::default().least_lead(0.95) + 1.0).abs() < 1e-12);
}

/// The bound is above the true lead once in twenty times, whatever the true shares are.
#[test]
fn the_score_bound_covers() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for (ahead, behind) in [(0.05, 0.05), (0.02, 0.03), (0.1, 0.02)] {
        let mut missed = 0;
        for _ in 0..1000 {
            let thrown: Vec<f64> = (0..256).map(|_| rng.random()).collect();
            let won = thrown.iter().filter(|&&v| v < ahead).count();
            let lost = thrown.iter().filter(|&&v| v >= 1.0 - behind).count();
            let bound = paired(won, lost, 256 - won - lost).least_lead(0.95);
            missed += usize::from(bound > ahead - behind);
        }
        assert!(
            (25..=75).contains(&missed),
            "{missed} of 1000 at {ahead} and {behind}"
        );
    }
}

#[test]
fn what_more_would_tell_is_in_proportion() {
    // 6 of 8 is not significant (0.289); at three in four, 24 of 32 is 0.007, and fewer do.
    let pairs = paired(6, 2, 0);
    let more = pairs.needed_disagreements(0.95).unwrap();
    let total = 8 + more;
    assert!(sign_test((0.75 * total as f64).round() as u64, total) <= 0.05);
    assert!((8..20).contains(&more), "{more}");
    assert_eq!(paired(4, 4, 90).needed_disagreements(0.95), None);
    assert_eq!(paired(0, 0, 90).needed_disagreements(0.95), None);
    assert_eq!(paired(20, 1, 0).needed_disagreements(0.95), Some(0));

    // z² (1 − m) / m with z = 1.6449 where nothing differs.
    let needed = paired(0, 0, 100).needed_samples(0.01, 0.95).unwrap();
    assert!((266..=270).contains(&needed), "{needed}");
    // z² · 0.02 / 0.01² where they are even on a fiftieth: 541, and some for the bound's own curve.
    let needed = paired(1, 1, 98).needed_samples(0.01, 0.95).unwrap();
    assert!((541..=800).contains(&needed), "{needed}");
    assert_eq!(paired(0, 3, 97).needed_samples(0.01, 0.95), None);
}

#[test]
fn a_sequence_is_one_trial() {
    let own = vec![
        Tally {
            right: 90.0,
            counted: 100
        };
        40
    ];
    let other: Vec<Tally> = (0..40)
        .map(|i| Tally {
            right: if i < 20 { 80.0 } else { 95.0 },
            counted: 100,
        })
        .collect();
    let pairs = Paired::of(&own, &other);
    assert_eq!((pairs.samples, pairs.ahead, pairs.behind), (40, 20, 20));
    // 20 · 10 − 20 · 5 tokens of 4000.
    assert!((pairs.difference() - 0.025).abs() < 1e-12);
    // The standard error over sequences of 7.5 tokens' spread: 0.0119.
    let bound = pairs.least_lead(0.95);
    assert!((bound - (0.025 - 1.645 * 0.0120)).abs() < 5e-4, "{bound}");
}

#[test]
fn predictions_are_told_by_sample() {
    let ids = HostTensor::from_f32(vec![2, 3], vec![0.0; 6]);
    let data = Dataset::of_tokens(ids, &[0, 1, 2, 3, IGNORED, 5]);
    let evaluation = Evaluation {
        loss: 0.0,
        accuracy: 0.0,
        predictions: vec![1, 0, 5],
    };
    let expected = [
        Tally {
            right: 1.0,
            counted: 2,
        },
        Tally {
            right: 1.0,
            counted: 1,
        },
    ];
    assert_eq!(Tally::of(&evaluation, &data), expected);
}

/// Values: what two models explain of each sample's variance.
#[test]
fn graded_predictions_are_told_apart_by_their_mean_lead() {
    let graded = |rights: &[f64]| -> Vec<Tally> {
        let tallies = rights.iter().map(|&right| Tally { right, counted: 1 });
        tallies.collect()
    };
    let own: Vec<f64> = (0..400).map(|i| 0.5 + 0.001 * f64::from(i % 2)).collect();
    let other = vec![0.5; 400];
    let pairs = Paired::of(&graded(&own), &graded(&other));
    assert_eq!((pairs.ahead, pairs.behind), (200, 0));
    assert!((pairs.difference() - 0.0005).abs() < 1e-12);
    // One more won and one lost by a whole variance: √2 / 400 beside leads that hardly vary.
    let bound = pairs.least_lead(0.95);
    assert!(
        (bound - (0.0005 - 1.645 * 2f64.sqrt() / 400.0)).abs() < 1e-4,
        "{bound}"
    );
    assert!(pairs.is_within(0.01, 0.95));
    // A lead may be of more than a whole variance.
    let far = Paired::of(&graded(&vec![-3.5; 400]), &graded(&other));
    assert!(far.least_lead(0.95) < -3.9);
    assert!(far.needed_samples(0.01, 0.95).is_none());
}
