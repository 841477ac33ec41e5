//! The demo's data: Fashion-MNIST at 14 × 14, shipped inside the program.
//!
//! Class-balanced and interleaved by class, so that any run of ten samples holds every class once.
//! MIT licence, Zalando SE; `tests/fixtures/demo/make.py` made the file.

use anyhow::Context;
use bytes::Bytes;
use safetensors::SafeTensors;

use crate::engine::{
    tensors::{Checkpoint, DType, HostTensor},
    training::Dataset,
};

const FILE: &[u8] = include_bytes!("fashion_mnist_14x14.safetensors");

/// Height and width of an image.
pub const SIDE: usize = 14;

/// As many kinds of clothes there are.
pub const CLASSES: usize = 10;

/// Grey images of 14 × 14 bytes, one label each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    pixels: Vec<u8>,
    labels: Vec<i64>,
}

impl Images {
    /// The 6000 images to learn from and the 1500 that judge.
    ///
    /// # Errors
    /// When the file inside the program is not what it should be.
    pub fn shipped() -> anyhow::Result<(Self, Self)> {
        let file = SafeTensors::deserialize(FILE).context("the demo's data cannot be read")?;
        Ok((Self::part(&file, "train")?, Self::part(&file, "test")?))
    }

    fn part(file: &SafeTensors, name: &str) -> anyhow::Result<Self> {
        let [pixels, labels] = ["inputs", "labels"].map(|kind| {
            let name = format!("{name}.{kind}");
            file.tensor(&name)
                .with_context(|| format!("the demo's data have no {name}"))
        });
        let (pixels, labels) = (pixels?, labels?);
        let labels = labels
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|&l| i64::from_le_bytes(l))
            .collect();

        Ok(Self {
            pixels: pixels.data().to_vec(),
            labels,
        })
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    fn chosen(&self, wanted: impl Fn(usize) -> bool) -> Self {
        let pixels = self.pixels.chunks(SIDE * SIDE);
        let kept = pixels
            .zip(&self.labels)
            .enumerate()
            .filter(|(i, _)| wanted(*i));
        let mut chosen = Self {
            pixels: Vec::new(),
            labels: Vec::new(),
        };

        for (_, (image, label)) in kept {
            chosen.pixels.extend_from_slice(image);
            chosen.labels.push(*label);
        }
        chosen
    }

    /// Every other run of ten samples, and the rest: two halves without a common image.
    pub fn halves(&self) -> (Self, Self) {
        (
            self.chosen(is_in_first_half),
            self.chosen(|i| !is_in_first_half(i)),
        )
    }

    /// The first `count` samples, and the rest.
    pub fn split_at(&self, count: usize) -> (Self, Self) {
        (self.chosen(|i| i < count), self.chosen(|i| i >= count))
    }

    /// Every image turned by 90° against the clock, as numpy's `rot90` does.
    pub fn turned(&self) -> Self {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for image in self.pixels.chunks(SIDE * SIDE) {
            pixels.extend(turned(image, SIDE));
        }
        Self {
            pixels,
            labels: self.labels.clone(),
        }
    }

    /// To train on and to evaluate with.
    pub fn dataset(&self) -> Dataset {
        let shape = vec![1, SIDE, SIDE];
        Dataset::from_bytes(Bytes::from(self.pixels.clone()), shape, self.labels.clone())
    }

    /// `inputs` u8 `[N, 1, 14, 14]` and `labels` i64 `[N]`, as a data file holds them.
    pub fn tensors(&self) -> Checkpoint {
        let labels = HostTensor::from_i64(vec![self.len()], &self.labels);
        let mut tensors = self.inputs_alone();
        tensors.insert("labels".to_owned(), labels);
        tensors
    }

    /// The same without labels.
    pub fn inputs_alone(&self) -> Checkpoint {
        let shape = vec![self.len(), 1, SIDE, SIDE];
        let pixels = HostTensor::from_bytes(DType::U8, shape, Bytes::from(self.pixels.clone()))
            .expect("an image has 14 × 14 pixels");
        [("inputs".to_owned(), pixels)].into_iter().collect()
    }
}

fn is_in_first_half(sample: usize) -> bool {
    (sample / CLASSES).is_multiple_of(2)
}

/// Row `r`, column `c` of the result is row `c`, column `side − 1 − r` of the image.
fn turned(image: &[u8], side: usize) -> impl Iterator<Item = u8> {
    (0..side * side).map(move |at| image[(at % side) * side + side - 1 - at / side])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_goes_against_the_clock() {
        // 1 2 3      3 6 9
        // 4 5 6  →   2 5 8
        // 7 8 9      1 4 7
        let image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(
            turned(&image, 3).collect::<Vec<_>>(),
            [3, 6, 9, 2, 5, 8, 1, 4, 7]
        );
    }

    #[test]
    fn four_turns_are_none_and_labels_stay() {
        let (train, _) = Images::shipped().unwrap();
        assert_ne!(train.turned(), train);
        assert_eq!(train.turned().labels, train.labels);
        assert_eq!(train.turned().turned().turned().turned(), train);
    }

    #[test]
    fn every_part_is_balanced_and_nothing_is_in_two() {
        let (train, test) = Images::shipped().unwrap();
        assert_eq!((train.len(), test.len()), (6000, 1500));
        let (first, second) = train.halves();
        // The numbers of the runs of ten, by parity.
        let expected: Vec<u8> = train.pixels[10 * SIDE * SIDE..][..SIDE * SIDE].to_vec();
        assert_eq!(second.pixels[..SIDE * SIDE], expected);
        assert_eq!(first.pixels[..SIDE * SIDE], train.pixels[..SIDE * SIDE]);
        let (fit, held) = first.split_at(2560);
        assert_eq!(
            (first.len(), second.len(), fit.len(), held.len()),
            (3000, 3000, 2560, 440)
        );
        for part in [second, fit, held, test] {
            for class in 0..CLASSES as i64 {
                let count = part.labels.iter().filter(|&&label| label == class).count();
                assert_eq!(count * CLASSES, part.len());
            }
        }
    }
}
