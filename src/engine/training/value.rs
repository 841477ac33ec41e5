//! The value that a regression tells, in the places of classes.

/// A finite value, as a label and as a prediction by its bits: data sets hold whole numbers for both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value(pub f32);

impl Value {
    pub fn of_label(label: i64) -> Self {
        Self(f32::from_bits(label as u32))
    }

    pub fn of_prediction(prediction: u32) -> Self {
        Self(f32::from_bits(prediction))
    }

    /// Never the label that is ignored: it is not below zero.
    pub fn label(self) -> i64 {
        self.0.to_bits().into()
    }

    pub fn prediction(self) -> u32 {
        self.0.to_bits()
    }
}

/// The mean over the values of a sample (`each`) of their variance over the samples; 0 of nothing.
pub fn variance(labels: &[i64], each: usize) -> f64 {
    let places = (0..each).map(|place| {
        let of_place = labels.iter().skip(place).step_by(each);
        let values: Vec<f64> = of_place
            .map(|&label| f64::from(Value::of_label(label).0))
            .collect();
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        squares.sum::<f64>() / count
    });

    places.sum::<f64>() / each.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_label_and_a_prediction() {
        for value in [0.0, -0.0, 1.5, -3.25, f32::MAX, f32::MIN_POSITIVE] {
            assert_eq!(
                Value::of_label(Value(value).label()).0.to_bits(),
                value.to_bits()
            );
            assert_eq!(
                Value::of_prediction(Value(value).prediction()).0.to_bits(),
                value.to_bits()
            );
            assert!(Value(value).label() >= 0);
        }
    }

    /// Two values a sample: 1, 3, 5 vary by 8/3, and 2, 2, 2 not at all.
    #[test]
    fn the_variance_is_that_of_each_place() {
        let labels = [1.0, 2.0, 3.0, 2.0, 5.0, 2.0].map(|value| Value(value).label());
        assert!((variance(&labels, 2) - 4.0 / 3.0).abs() < 1e-12);
        assert!(variance(&[], 1).abs() < 1e-12);
    }
}
