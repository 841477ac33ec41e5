#![expect(
    clippy::float_cmp,
    reason = "small integers and sums in the same order are exact"
)]

use super::*;
use proptest::prelude::*;

/// The best value over all n! permutations.
fn brute_force(matrix: &[f32], n: usize) -> f64 {
    fn from_row(matrix: &[f32], n: usize, j: usize, taken: u32) -> f64 {
        if j == n {
            return 0.0;
        }
        let free = (0..n).filter(|i| taken & (1_u32 << i) == 0);
        let value =
            |i| f64::from(matrix[j * n + i]) + from_row(matrix, n, j + 1, taken | (1_u32 << i));
        free.map(value).fold(f64::NEG_INFINITY, f64::max)
    }
    from_row(matrix, n, 0, 0)
}

/// Everything an answer promises, from the matrix and the prices alone.
fn check(matrix: &[f32], n: usize, answer: &Assignment, prices: Option<&Prices>) {
    let mut seen = vec![false; n];
    for &i in &answer.sigma {
        assert!(
            !std::mem::replace(&mut seen[i as usize], true),
            "column {i} twice"
        );
    }
    let entry = |j: usize, i: usize| f64::from(matrix[j * n + i]);
    let scale: f64 = (0..n)
        .map(|j| (0..n).map(|i| entry(j, i).abs()).fold(0.0, f64::max))
        .sum();
    let value: f64 = answer
        .sigma
        .iter()
        .enumerate()
        .map(|(j, &i)| entry(j, i as usize))
        .sum();
    assert_eq!(value, answer.value);
    assert!(answer.certificate.gap() >= 0.0 && answer.certificate.gap() <= 1e-9 * scale);
    let zero = vec![0.0; n];
    let prices = match answer.certificate {
        Certificate::RowMaxima => &zero,
        Certificate::DualFeasible { .. } => prices.map_or(&zero[..0], Prices::columns),
    };
    if prices.len() == n {
        let mut bound: f64 = prices.iter().sum();
        for j in 0..n {
            let best = (0..n)
                .map(|i| entry(j, i) - prices[i])
                .fold(f64::NEG_INFINITY, f64::max);
            let own = answer.sigma[j] as usize;
            // Complementary slackness: a row's own column is as good as any at these prices.
            assert!(best - (entry(j, own) - prices[own]) <= 1e-9 * scale);
            bound += best;
        }
        assert!((bound - value).abs() <= 1e-9 * scale.max(f64::MIN_POSITIVE));
    }
}

fn solved(matrix: &[f32], n: usize, current: Option<&[u32]>) -> Assignment {
    let mut prices = Prices::default();
    let answer = solve(matrix, n, current, Some(&mut prices)).unwrap();
    check(matrix, n, &answer, Some(&prices));
    answer
}

#[test]
fn two_by_two_that_row_maxima_do_not_settle() {
    // Both rows want column 0: 5 + 1 against 4 + 3.
    let answer = solved(&[5.0, 3.0, 4.0, 1.0], 2, None);
    assert_eq!(answer.sigma, [1, 0]);
    assert_eq!(answer.value, 7.0);
    assert_eq!(answer.certificate, Certificate::DualFeasible { gap: 0.0 });
}

#[test]
fn row_maxima_are_their_own_certificate() {
    let answer = solved(&[0.0, 2.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0, -1.0], 3, None);
    assert_eq!(answer.certificate, Certificate::DualFeasible { gap: 0.0 });
    let answer = solved(&[0.0, 2.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0, 1.0], 3, None);
    assert_eq!(answer.sigma, [1, 0, 2]);
    assert_eq!(answer.certificate, Certificate::RowMaxima);
    assert_eq!(answer.certificate.gap(), 0.0);
}

#[test]
fn nothing_and_one() {
    assert_eq!(solved(&[], 0, None).sigma, Vec::<u32>::new());
    assert_eq!(solved(&[-3.0], 1, None).value, -3.0);
}

#[test]
fn not_finite_is_refused_with_its_place() {
    let mut matrix = vec![0.0; 70 * 70];
    matrix[69 * 70 + 68] = f32::NEG_INFINITY;
    assert_eq!(
        solve(&matrix, 70, None, None),
        Err(NotFinite {
            row: 69,
            column: 68
        })
    );
    matrix[3 * 70 + 1] = f32::NAN;
    let refused = solve(&matrix, 70, None, None).unwrap_err();
    assert_eq!(refused, NotFinite { row: 3, column: 1 });
    assert!(refused.to_string().contains("row 3, column 1"));
}

#[test]
fn a_matrix_without_preference_keeps_the_current_permutation() {
    let current: Vec<u32> = (0..100).map(|j| (j * 37 + 5) % 100).collect();
    let nothing = vec![0.0; 100 * 100];
    let answer = solved(&nothing, 100, Some(&current));
    assert_eq!(answer.sigma, current);
    assert_eq!(solved(&nothing, 100, None).value, 0.0);
}

#[test]
fn dead_units_keep_their_column_while_the_others_move() {
    // Rows and columns 1 and 3 are dead; rows 0 and 2 want each other's column.
    let mut matrix = [0.0; 16];
    matrix[2] = 1.0;
    matrix[2 * 4] = 1.0;
    assert_eq!(solved(&matrix, 4, Some(&[0, 1, 2, 3])).sigma, [2, 1, 0, 3]);
}

#[test]
fn warm_prices_of_the_same_matrix_keep_the_answer() {
    let matrix = products(64, 7);
    let mut prices = Prices::default();
    let first = solve(&matrix, 64, None, Some(&mut prices)).unwrap();
    let again = solve(&matrix, 64, Some(&first.sigma), Some(&mut prices)).unwrap();
    assert_eq!(first, again);
}

#[test]
fn same_values_as_scipy() {
    let cases: serde_json::Value = serde_json::from_str(include_str!(
        "../../../../tests/fixtures/assignment/scipy.json"
    ))
    .unwrap();
    for case in cases.as_array().unwrap() {
        let n = case["n"].as_u64().unwrap() as usize;
        let seed = case["seed"].as_u64().unwrap();
        let matrix = match case["kind"].as_str().unwrap() {
            "uniform" => draws(n * n, seed, 40).map(|x| x as f32).collect(),
            "ties" => draws(n * n, seed, 61).map(|x| x as f32).collect(),
            _ => products(n, seed),
        };
        assert_eq!(
            solved(&matrix, n, None).value,
            case["value"].as_f64().unwrap(),
            "{case}"
        );
    }
}

/// `SplitMix64`, shifted right: tests/fixtures/assignment/make.py has the other side.
fn draws(count: usize, seed: u64, shift: u32) -> impl Iterator<Item = i64> {
    (1..=count as u64).map(move |k| {
        let mut z = seed.wrapping_add(k.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> shift) as i64
    })
}

/// Target factors times source factors of rank 6, in integers.
fn products(n: usize, seed: u64) -> Vec<f32> {
    let all: Vec<i64> = draws(2 * n * 6, seed, 59).map(|x| x - 16).collect();
    let (noise, source) = all.split_at(n * 6);
    let entry = |j: usize, i: usize| -> i64 {
        let target = |k| noise[j * 6 + k] + 2 * source[(n - 1 - j) * 6 + k];
        (0..6).map(|k| target(k) * source[i * 6 + k]).sum()
    };
    (0..n * n).map(|at| entry(at / n, at % n) as f32).collect()
}

/// Entries of one kind: small integers (ties), anything, or magnitudes sixty binary orders apart.
fn entries(n: usize) -> impl Strategy<Value = Vec<f32>> {
    let wide = (-1.0_f32..1.0, -30_i32..30).prop_map(|(x, e)| x * 2.0_f32.powi(e));
    prop_oneof![
        prop::collection::vec((-2_i8..3).prop_map(f32::from), n * n),
        prop::collection::vec(-1e3_f32..1e3, n * n),
        prop::collection::vec(wide, n * n),
    ]
}

fn square() -> impl Strategy<Value = (usize, Vec<f32>)> {
    let dead = prop::collection::vec(prop::bool::weighted(0.2), 7);
    (1_usize..=7)
        .prop_flat_map(|n| (Just(n), entries(n)))
        .prop_flat_map(move |(n, matrix)| {
            dead.clone().prop_map(move |dead| {
                let alive = |at: usize| if dead[at / n] { 0.0 } else { matrix[at] };
                (n, (0..n * n).map(alive).collect())
            })
        })
}

/// Wider than a shortlist, so that rows must look beyond it.
fn wide_square() -> impl Strategy<Value = (usize, Vec<f32>)> {
    (60_usize..150).prop_flat_map(|n| (Just(n), entries(n)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn as_good_as_the_best_of_all_permutations((n, matrix) in square()) {
        let best = brute_force(&matrix, n);
        let scale: f64 = matrix.iter().map(|x| f64::from(x.abs())).sum();
        prop_assert!((solved(&matrix, n, None).value - best).abs() <= 1e-12 * scale);
    }

    #[test]
    fn duals_prove_it_beyond_one_block_of_columns((n, matrix) in wide_square(), seed in 0_u64..9) {
        let first = solved(&matrix, n, None);
        let mut prices =
            Prices::from_columns(draws(n, seed, 60).map(|x| x as f64).collect());
        let warm = solve(&matrix, n, None, Some(&mut prices)).unwrap();
        check(&matrix, n, &warm, Some(&prices));
        let scale: f64 = matrix.iter().map(|x| f64::from(x.abs())).sum();
        prop_assert!((warm.value - first.value).abs() <= 1e-12 * scale);
    }

    #[test]
    fn no_prices_lead_it_astray(
        (n, matrix) in square(),
        garbage in prop::collection::vec(prop_oneof![
            -5.0..5.0, -1e9..1e9, Just(f64::NAN), Just(f64::INFINITY), Just(1e300), Just(0.0)
        ], 7),
    ) {
        let mut prices = Prices::from_columns(garbage[..n].to_vec());
        let answer = solve(&matrix, n, None, Some(&mut prices)).unwrap();
        check(&matrix, n, &answer, Some(&prices));
        let scale: f64 = matrix.iter().map(|x| f64::from(x.abs())).sum();
        prop_assert!((answer.value - brute_force(&matrix, n)).abs() <= 1e-9 * scale);
    }

    #[test]
    fn any_optimal_current_permutation_is_kept((n, matrix) in square()) {
        // Solved backwards, so that ties fall otherwise than they would.
        let reversed: Vec<f32> = matrix.iter().rev().copied().collect();
        let backwards = solved(&reversed, n, None).sigma;
        let current: Vec<u32> = backwards.iter().rev().map(|i| n as u32 - 1 - i).collect();
        prop_assert_eq!(solved(&matrix, n, Some(&current)).sigma, current);
    }
}
