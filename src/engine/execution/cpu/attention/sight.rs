//! Which keys a query may attend to.

use std::ops::Range;

/// Which positions a position may attend to, padding aside: those of one range.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    pub length: usize,
    /// None after it.
    pub causal: bool,
    /// Those that are less than so many positions away.
    pub window: Option<usize>,
}

impl Sight {
    /// The keys that a query sees.
    pub fn of_query(&self, query: usize) -> Range<usize> {
        let reach = self.window.unwrap_or(self.length);
        let end = if self.causal {
            query + 1
        } else {
            query + reach
        };
        (query + 1).saturating_sub(reach)..end.min(self.length)
    }

    /// The keys that at least one of these queries sees, and those between them.
    pub fn of_queries(&self, queries: &Range<usize>) -> Range<usize> {
        let last = queries.end.saturating_sub(1);
        self.of_query(queries.start).start..self.of_query(last).end
    }
}

/// The keys of a sample of which some are padded.
pub(super) struct Padding {
    /// Added to the scores: 0 of a key that may be seen, else −∞.
    pub scores: Vec<f32>,
    /// Keys that may be seen before each position, and in all.
    counts: Vec<usize>,
}

impl Padding {
    /// By the ids of a sample, which are negative where nothing may be seen; `None` where all may be.
    pub fn of(packed: &[f32]) -> Option<Self> {
        if packed.iter().all(|&packed| packed >= 0.0) {
            return None;
        }
        let scores = packed.iter().map(|&packed| {
            if packed >= 0.0 {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        });

        let mut counts = vec![0];
        for &packed in packed {
            counts.push(counts[counts.len() - 1] + usize::from(packed >= 0.0));
        }
        Some(Self {
            scores: scores.collect(),
            counts,
        })
    }

    /// Whether any of these keys may be seen.
    pub fn shows(&self, keys: &Range<usize>) -> bool {
        self.counts[keys.end] > self.counts[keys.start]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_time_by_hand() {
        let sight = |causal, window| Sight {
            length: 5,
            causal,
            window,
        };
        assert_eq!(sight(false, None).of_query(2), 0..5);
        assert_eq!(sight(true, None).of_query(2), 0..3);
        assert_eq!(sight(false, Some(2)).of_query(2), 1..4);
        assert_eq!(sight(true, Some(2)).of_query(2), 1..3);
        assert_eq!(sight(true, Some(1)).of_query(4), 4..5);
        assert_eq!(sight(false, Some(9)).of_query(4), 0..5);
        assert_eq!(sight(true, Some(2)).of_queries(&(2..4)), 1..4);
    }

    #[test]
    fn padding_hides_keys() {
        assert!(Padding::of(&[0.0, 7.0]).is_none());
        let padding = Padding::of(&[3.0, -1.0, -4.0, 0.0]).unwrap();
        assert_eq!(
            padding.scores,
            [0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0]
        );
        assert!(padding.shows(&(0..2)) && !padding.shows(&(1..3)) && padding.shows(&(2..4)));
        assert!(!padding.shows(&(2..2)));
    }
}
