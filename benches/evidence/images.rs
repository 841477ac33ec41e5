//! MNIST and Fashion-MNIST as their idx files have them.

use std::{error::Error, fs, path::Path};

use bytes::Bytes;
use retune::engine::{
    tensors::{Checkpoint, DType, HostTensor},
    training::Dataset,
};
use safetensors::SafeTensors;

use super::networks::SIDE;

/// Grey 28 × 28 images of bytes, one label each.
#[derive(Clone, Default)]
pub struct Images {
    pixels: Vec<u8>,
    labels: Vec<i64>,
    /// A data file does not have the labels.
    is_unlabelled: bool,
}

impl Images {
    /// `<folder>/<part>-images-idx3-ubyte` and its labels; `part` is `train` or `t10k`.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be.
    pub fn read(folder: &Path, part: &str) -> Result<Self, Box<dyn Error>> {
        let body = |name: &str, magic: u32, header: usize| -> Result<Vec<u8>, Box<dyn Error>> {
            let path = folder.join(format!("{part}-{name}-ubyte"));
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            match bytes.split_at_checked(header) {
                Some((head, body)) if head.starts_with(&magic.to_be_bytes()) => Ok(body.to_vec()),
                _ => Err(format!("{} is not an idx file of this kind", path.display()).into()),
            }
        };
        let pixels = body("images-idx3", 0x803, 16)?;
        let labels: Vec<i64> = body("labels-idx1", 0x801, 8)?
            .into_iter()
            .map(i64::from)
            .collect();
        if pixels.len() != labels.len() * SIDE * SIDE {
            return Err(format!("{}: images and labels differ in number", folder.display()).into());
        }
        Ok(Self {
            pixels,
            labels,
            is_unlabelled: false,
        })
    }

    /// The 6000 images of the demo to learn from and the 1500 that judge, every pixel of their 14 × 14
    /// doubled.
    ///
    /// # Errors
    /// When the file inside the program is not what it should be.
    pub fn shipped() -> Result<(Self, Self), Box<dyn Error>> {
        let file = include_bytes!("../../src/cli/demo/fashion_mnist_14x14.safetensors");
        let file = SafeTensors::deserialize(file)?;
        let part = |name: &str| -> Result<Self, Box<dyn Error>> {
            let inputs = file.tensor(&format!("{name}.inputs"))?;
            let labels = file.tensor(&format!("{name}.labels"))?;
            let labels = labels
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|&l| i64::from_le_bytes(l));
            let half = SIDE / 2;
            let doubled = |image: &[u8]| {
                let at = |i: usize| image[i / SIDE / 2 * half + i % SIDE / 2];
                (0..SIDE * SIDE).map(at).collect::<Vec<_>>()
            };
            let pixels = inputs
                .data()
                .chunks_exact(half * half)
                .flat_map(doubled)
                .collect();
            Ok(Self {
                pixels,
                labels: labels.collect(),
                is_unlabelled: false,
            })
        };
        Ok((part("train")?, part("test")?))
    }

    /// The images from `start` on, `count` of them, as they stand in the file.
    pub fn part(&self, start: usize, count: usize) -> Self {
        let size = SIDE * SIDE;
        Self {
            pixels: self.pixels[start * size..(start + count) * size].to_vec(),
            labels: self.labels[start..start + count].to_vec(),
            is_unlabelled: self.is_unlabelled,
        }
    }

    /// Every image turned by 90° against the clock.
    pub fn turned(&self) -> Self {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for image in self.pixels.chunks(SIDE * SIDE) {
            // Row r of the result is column SIDE − 1 − r of the image.
            let at = |i: usize| image[(i % SIDE) * SIDE + SIDE - 1 - i / SIDE];
            pixels.extend((0..SIDE * SIDE).map(at));
        }
        Self {
            pixels,
            labels: self.labels.clone(),
            is_unlabelled: self.is_unlabelled,
        }
    }

    /// The images alone.
    pub fn unlabelled(&self) -> Self {
        Self {
            is_unlabelled: true,
            ..self.clone()
        }
    }

    pub fn dataset(&self) -> Dataset {
        let shape = vec![1, SIDE, SIDE];
        Dataset::from_bytes(Bytes::from(self.pixels.clone()), shape, self.labels.clone())
    }

    /// As a data file holds them.
    pub fn tensors(&self) -> Checkpoint {
        let shape = vec![self.labels.len(), 1, SIDE, SIDE];
        let pixels = HostTensor::from_bytes(DType::U8, shape, Bytes::from(self.pixels.clone()))
            .expect("the pixels fill the images");
        let mut tensors: Checkpoint = [("inputs".to_owned(), pixels)].into_iter().collect();
        if !self.is_unlabelled {
            let labels = HostTensor::from_i64(vec![self.labels.len()], &self.labels);
            tensors.insert("labels".to_owned(), labels);
        }
        tensors
    }
}
