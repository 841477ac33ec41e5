//! Cross-entropy on the host: `−log softmax(logits)[label]`.
//!
//! The logits are few, so they are brought to the host whatever the device; the exponentials are
//! taken in f64 after the row's maximum, so neither overflow nor the order of a parallel sum
//! touches the loss.

/// Losses and predictions of a batch, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    pub losses: Vec<f64>,
    pub predictions: Vec<u32>,
}

impl Scores {
    /// The mean loss; 0 of nothing.
    pub fn mean_loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }

    /// The share of predictions that are the label; 0 of nothing.
    pub fn accuracy(&self, labels: &[i64]) -> f64 {
        let hits =
            self.predictions.iter().zip(labels).filter(|&(&p, &l)| i64::from(p) == l).count();
        hits as f64 / labels.len().max(1) as f64
    }
}

/// Loss and prediction (the first of equal maxima) of every row of `logits` `[B, classes]`.
///
/// # Panics
/// When a label is no class.
pub fn scores(logits: &[f32], labels: &[i64]) -> Scores {
    let mut scores = Scores::default();
    for (row, &label) in rows(logits, labels) {
        let (maximum, total) = normaliser(row);
        let best = row.iter().position(|&v| f64::from(v) >= maximum).unwrap_or(0);
        scores.losses.push(total.ln() + maximum - f64::from(row[label as usize]));
        scores.predictions.push(best as u32);
    }
    scores
}

/// The gradient of the mean loss with respect to the logits: `(softmax − one-hot) / B`.
///
/// # Panics
/// When a label is no class.
pub fn gradient(logits: &[f32], labels: &[i64]) -> Vec<f32> {
    let mut gradient = Vec::with_capacity(logits.len());
    let share = 1.0 / labels.len() as f64;
    for (row, &label) in rows(logits, labels) {
        let (maximum, total) = normaliser(row);
        gradient.extend(row.iter().enumerate().map(|(class, &v)| {
            let probability = (f64::from(v) - maximum).exp() / total;
            let target = f64::from(u8::from(class == label as usize));
            ((probability - target) * share) as f32
        }));
    }
    gradient
}

fn rows<'a>(logits: &'a [f32], labels: &'a [i64]) -> impl Iterator<Item = (&'a [f32], &'a i64)> {
    logits.chunks(logits.len() / labels.len().max(1)).zip(labels)
}

/// The row's maximum and `Σ exp(v − maximum)`.
fn normaliser(row: &[f32]) -> (f64, f64) {
    let maximum = row.iter().copied().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
    (maximum, row.iter().map(|&v| (f64::from(v) - maximum).exp()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_logits_cost_the_log_of_the_classes() {
        let result = scores(&[0.0, 0.0, 5.0, 1000.0], &[1, 0]);
        assert!((result.losses[0] - 2f64.ln()).abs() < 1e-12);
        assert!((result.losses[1] - 995.0).abs() < 1e-9, "no overflow");
        assert_eq!(result.predictions, [0, 1]);
        assert!((result.accuracy(&[0, 0]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_is_the_probability_less_the_target() {
        let result = gradient(&[0.0, 0.0, 3f32.ln(), 0.0], &[1, 0]);
        for (value, expected) in result.iter().zip([0.25, -0.25, -0.125, 0.125]) {
            assert!((value - expected).abs() < 1e-7);
        }
    }
}
