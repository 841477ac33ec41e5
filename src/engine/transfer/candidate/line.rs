//! Which points of a line are worth a look: a parabola through three, and bisection.

use super::ALPHAS;

/// Samples on which a point is looked at before it enters a race.
pub const LOOK: usize = 64;
/// The α through which the parabola of the loss is laid.
pub const LINE: [f64; 3] = [0.5, 1.0, 1.5];
/// Points of a line that race at most: 1, the minimum and its two neighbours.
pub const MOST_ARMS: usize = 4;
/// Races that a method's candidate is in, at most: of steps, and of α with the best candidate so far.
pub const RACES: usize = 2;
/// Halvings of the stride over steps that may bring nothing before the search ends.
pub const PATIENCE: usize = 2;
/// An α that is no grid point is a multiple of this.
const GRAIN: f64 = 0.05;

/// Where the parabola through the losses at [`LINE`] is least, within the range of [`ALPHAS`].
pub fn minimum(losses: [f64; 3]) -> f64 {
    let (least, most) = (ALPHAS[0], ALPHAS[ALPHAS.len() - 1]);
    let [left, middle, right] = losses.map(|loss| if loss.is_finite() { loss } else { f64::MAX });

    let stride = LINE[1] - LINE[0];
    let curvature = left / 2.0 - middle + right / 2.0;
    let slope = right / 2.0 - left / 2.0;
    let vertex = if curvature > 0.0 {
        LINE[1] - stride * slope / (2.0 * curvature)
    } else if left < right {
        least
    } else if right < left {
        most
    } else {
        LINE[1]
    };
    ((vertex / GRAIN).round() * GRAIN).clamp(least, most)
}

/// The points that race: 1, the minimum, and the grid's neighbours of the minimum.
pub fn arms(minimum: f64) -> Vec<f64> {
    let below = ALPHAS
        .iter()
        .rev()
        .find(|alpha| **alpha < minimum - GRAIN / 2.0);
    let above = ALPHAS.iter().find(|alpha| **alpha > minimum + GRAIN / 2.0);
    let at = ALPHAS
        .iter()
        .find(|alpha| (*alpha - minimum).abs() <= GRAIN / 2.0);
    let at = at.copied().unwrap_or(minimum);

    let mut arms = vec![1.0];
    for alpha in std::iter::once(at)
        .chain(below.copied())
        .chain(above.copied())
    {
        if !arms
            .iter()
            .any(|arm: &f64| arm.to_bits() == alpha.to_bits())
        {
            arms.push(alpha);
        }
    }
    arms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_that_of_a_parabola() {
        let of = |vertex: f64| minimum(LINE.map(|alpha| 3.0 * (alpha - vertex).powi(2) + 0.7));
        for vertex in [0.25, 0.5, 0.8, 1.0, 1.25, 1.9] {
            assert!(
                (of(vertex) - vertex).abs() < 1e-9,
                "{vertex}: {}",
                of(vertex)
            );
        }
        // Within the range, to a multiple of a twentieth.
        assert!((of(-3.0) - 0.25).abs() < 1e-12 && (of(7.0) - 2.0).abs() < 1e-12);
        assert!((of(0.83) - 0.85).abs() < 1e-12);
    }

    #[test]
    fn no_parabola_ends_at_the_lower_end() {
        assert!(
            (minimum([3.0, 2.9, 1.0]) - 2.0).abs() < 1e-12,
            "it falls faster and faster"
        );
        assert!((minimum([1.0, 2.9, 3.0]) - 0.25).abs() < 1e-12);
        // Losses that are no numbers are the greatest of all.
        assert!((minimum([1.0, 2.0, f64::INFINITY]) - 0.75).abs() < 1e-12);
        for flat in [1.0, f64::NAN] {
            assert!((minimum([flat; 3]) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_minimum_and_its_neighbours_race_with_one() {
        assert_eq!(arms(1.0), [1.0, 0.75, 1.25]);
        assert_eq!(arms(0.85), [1.0, 0.85, 0.75]);
        assert_eq!(arms(0.25), [1.0, 0.25, 0.5]);
        assert_eq!(arms(1.7), [1.0, 1.7, 1.5, 2.0]);
        assert_eq!(arms(2.0), [1.0, 2.0, 1.5]);
        assert!((0..40).all(|i| arms(0.25 + 0.05 * f64::from(i)).len() <= MOST_ARMS));
    }
}
