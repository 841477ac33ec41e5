//! The validation samples that choose, shuffled, in growing blocks.

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::training::Dataset;

/// Samples of the first block; with every further block twice as many have been seen.
const FIRST: usize = 32;

/// The same samples in the same order for every model.
#[derive(Clone, Debug)]
pub struct Blocks {
    all: Dataset,
    parts: Vec<Dataset>,
    /// Samples up to the end of each block.
    ends: Vec<usize>,
    is_whole: bool,
}

impl Blocks {
    /// At most so many samples of the validation split, drawn by the seed.
    pub fn draw(validation: &Dataset, samples: usize, seed: u64) -> Self {
        let wanted = samples.min(validation.len());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let order = index::sample(&mut rng, validation.len(), wanted).into_vec();

        let ends = ends(wanted);
        let starts = std::iter::once(&0).chain(&ends);
        let parts = starts
            .zip(&ends)
            .map(|(&from, &to)| validation.subset(&order[from..to]));
        Self {
            parts: parts.collect(),
            all: validation.subset(&order),
            is_whole: wanted == validation.len(),
            ends,
        }
    }

    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// Samples of all blocks.
    pub fn samples(&self) -> usize {
        self.within(self.count())
    }

    /// Samples of the first so many blocks.
    pub fn within(&self, blocks: usize) -> usize {
        blocks
            .checked_sub(1)
            .map_or(0, |last| self.ends[last.min(self.ends.len() - 1)])
    }

    /// As few blocks as have so many samples, or all.
    pub fn least(&self, samples: usize) -> usize {
        let enough = self.ends.iter().position(|&end| end >= samples);
        enough.map_or(self.count(), |block| block + 1)
    }

    /// Whether they are the whole validation split.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// All samples, in the order of the race.
    pub fn all(&self) -> &Dataset {
        &self.all
    }

    /// The block after the first `samples`; none at the end.
    pub fn after(&self, samples: usize) -> Option<&Dataset> {
        self.ends
            .iter()
            .position(|&end| end > samples)
            .map(|block| &self.parts[block])
    }
}

/// 32, 64, 128, … and the last sample; what would be less than half a block joins the block before it.
fn ends(samples: usize) -> Vec<usize> {
    let mut ends: Vec<usize> = std::iter::successors(Some(FIRST), |end| Some(2 * end))
        .take_while(|end| end + end / 2 <= samples)
        .collect();
    match ends.last_mut() {
        Some(last) if *last == samples => {}
        _ => ends.push(samples),
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::HostTensor;

    #[test]
    fn blocks_double_and_cover_every_sample_once() {
        assert_eq!(ends(512), [32, 64, 128, 256, 512]);
        assert_eq!(ends(60), [32, 60]);
        assert_eq!(ends(40), [40]);
        assert_eq!(ends(5), [5]);

        let values: Vec<f32> = (0..100).map(|value| value as f32).collect();
        let inputs = HostTensor::from_f32(vec![100, 1], values);
        let data = Dataset::from_floats(inputs, (0..100).collect());
        let blocks = Blocks::draw(&data, 512, 3);
        assert_eq!(
            (blocks.count(), blocks.samples(), blocks.is_whole()),
            (3, 100, true)
        );
        let mut labels = [0, 32, 64]
            .map(|seen| blocks.after(seen).unwrap().labels().to_vec())
            .concat();
        assert_eq!(labels, blocks.all().labels());
        assert!(blocks.after(100).is_none());
        labels.sort_unstable();
        assert_eq!(labels, (0..100).collect::<Vec<_>>());
        assert!(!Blocks::draw(&data, 64, 3).is_whole());
        let again = Blocks::draw(&data, 512, 4);
        assert_ne!(again.all().labels(), blocks.all().labels());
    }
}
