//! Samples that are held out for validation.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Dataset, Judged};

impl Dataset {
    /// `(rest, held out)`: of every class `fraction` of its samples (rounded, drawn by `ChaCha8` from
    /// `seed`) are held out; both parts keep the order of the samples. Sequences and values have no class. Where
    /// every class is too small for one, they are drawn from all together.
    pub fn hold_out(&self, fraction: f64, seed: u64) -> (Self, Self) {
        let together = vec![0; self.len()];
        let split = match (self.labels_each(), self.judged()) {
            (1, Judged::Each | Judged::Together) => self.hold_out_of(&self.labels, fraction, seed),
            _ => self.hold_out_of(&together, fraction, seed),
        };

        if split.1.is_empty() {
            self.hold_out_of(&together, fraction, seed)
        } else {
            split
        }
    }

    fn hold_out_of(&self, class_of: &[i64], fraction: f64, seed: u64) -> (Self, Self) {
        let mut classes = class_of.to_vec();
        classes.sort_unstable();
        classes.dedup();

        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut held = vec![false; self.len()];
        for class in classes {
            let mut members: Vec<usize> =
                (0..self.len()).filter(|&i| class_of[i] == class).collect();
            members.shuffle(&mut rng);
            let count = (members.len() as f64 * fraction).round() as usize;
            members[..count].iter().for_each(|&i| held[i] = true);
        }

        let (held, rest): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|&i| held[i]);

        (self.subset(&rest), self.subset(&held))
    }
}
