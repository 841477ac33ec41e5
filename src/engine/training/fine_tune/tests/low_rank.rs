//! Updates of low rank.

use super::*;

fn squares(row: &[f32]) -> f32 {
    row.iter().map(|v| v * v).sum()
}

#[test]
fn an_update_of_low_rank_is_one_of_the_linear_layers_alone() {
    let (graph, signature) = network();
    let learner = Learner::new(&graph, &signature, Device::flex()).unwrap();
    let start = testing::random_params(&signature, 5);
    let train = same_signs(1);
    let plan = FineTunePlan {
        low_rank: Some(1),
        batch_size: 32,
        ..FineTunePlan::new(Optimizer::AdamW, 10, 0.02)
    };
    let tuned = learner.fine_tune(&start, &train, &plan, &mut go);
    assert!(tuned.epochs[9].train_loss < 0.95 * tuned.epochs[0].train_loss);
    assert_eq!(tuned.checkpoint["a.bias"].bytes(), start["a.bias"].bytes());
    assert_eq!(tuned.checkpoint["b.bias"].bytes(), start["b.bias"].bytes());
    for (name, columns) in [("a.weight", 4), ("b.weight", 16)] {
        let moved = tuned.checkpoint[name].minus(&start[name]);
        let moved = moved.f32();
        // Of rank one every row is a multiple of the largest.
        let rows: Vec<&[f32]> = moved.chunks(columns).collect();
        let largest = rows
            .iter()
            .copied()
            .max_by(|a, b| squares(a).total_cmp(&squares(b)))
            .unwrap();
        assert!(squares(largest) > 1e-4, "{name} was trained");
        for row in rows {
            let factor =
                row.iter().zip(largest).map(|(a, b)| a * b).sum::<f32>() / squares(largest);
            let off: f32 = row
                .iter()
                .zip(largest)
                .map(|(a, b)| (a - factor * b).powi(2))
                .sum();
            assert!(off < 1e-9 + 1e-6 * squares(largest), "{name}");
        }
    }
}
