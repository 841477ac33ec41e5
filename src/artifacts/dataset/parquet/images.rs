//! Rows of images as samples of one shape.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use parquet::{
    data_type::ByteArray,
    errors::ParquetError,
    file::reader::ChunkReader,
    record::{Field, Row},
};
use rayon::prelude::*;

use super::{Columns, IMAGES, INPUTS, Named, ROW_BYTES, malformed, row_field, tensors};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, DType},
};

/// The longest side of an image, and what decoding one may allocate.
const MAX_SIDE_PIXELS: u32 = 8192;
const MAX_IMAGE_BYTES: u64 = 512 << 20;

impl<R: ChunkReader + Clone + 'static> Columns<'_, R> {
    pub(super) fn images(
        &self,
        rows: impl Iterator<Item = Result<Row, ParquetError>>,
        wanted: Option<usize>,
    ) -> Result<Checkpoint, ArtifactError> {
        let (mut encoded, mut labels, mut held) = (Vec::new(), Vec::new(), 0usize);
        for (at, row) in rows.enumerate() {
            let row = row.map_err(|error| malformed(self.location, &error))?;
            let bytes = self.encoded(&row, at)?;
            held = held.saturating_add(ROW_BYTES + bytes.len());
            self.check_memory(held, 1)?;
            encoded.push(bytes);
            if !self.labels.is_empty() {
                let own = self.labels_of(&row, at)?;
                self.check_as_many(&own, labels.first(), at)?;
                labels.push(own);
            }
        }

        let labels =
            (!self.labels.is_empty()).then(|| self.of_labels(&labels.concat(), encoded.len()));
        let Some(first) = encoded.first() else {
            return Ok(no_images(labels));
        };
        let first = self.decode(first, 0)?;
        let channels = channels(wanted, if first.color().has_color() { 3 } else { 1 });
        let (width, height) = (first.width(), first.height());
        let size = channels * width as usize * height as usize;
        self.check_memory(size, encoded.len())?;
        let mut values = vec![0; size * encoded.len()];
        values
            .par_chunks_mut(size)
            .zip(&encoded)
            .enumerate()
            .try_for_each(|(at, (sample, bytes))| {
                let image = self.decode(bytes, at)?;
                if (image.width(), image.height()) != (width, height) {
                    let detail = format!(
                        "row {at} is an image of {} × {} pixels, row 0 of {width} × {height}; \
                         scale them to one size",
                        image.width(),
                        image.height()
                    );
                    return Err(self.fault(FailureCode::WrongShape, &detail));
                }
                if wanted.is_none() && channels == 1 && image.color().has_color() {
                    let detail = format!("row {at} is an image in colour, row 0 in grey");
                    return Err(self.fault(FailureCode::WrongShape, &detail));
                }
                set(sample, image, channels);
                Ok(())
            })?;

        let shape = vec![encoded.len(), channels, height as usize, width as usize];

        Ok(tensors(
            [(INPUTS, DType::U8, shape, Bytes::from(values))]
                .into_iter()
                .chain(labels),
        ))
    }

    pub(super) fn encoded(&self, row: &Row, at: usize) -> Result<ByteArray, ArtifactError> {
        let bytes = match row_field(row, &IMAGES) {
            Some(Field::Bytes(bytes)) => Some(bytes),
            Some(Field::Group(parts)) => match row_field(parts, &["bytes"]) {
                Some(Field::Bytes(bytes)) => Some(bytes),
                _ => None,
            },
            _ => None,
        };

        bytes.cloned().ok_or_else(|| {
            let detail = format!(
                "row {at} has no bytes of an image; files beside the Parquet file are not read, so \
                 embed them"
            );
            self.fault(FailureCode::MalformedImage, &detail)
        })
    }

    fn decode(&self, encoded: &ByteArray, at: usize) -> Result<DynamicImage, ArtifactError> {
        decoded(encoded).map_err(|error| self.no_image(at, &error))
    }

    pub(super) fn no_image(&self, at: usize, error: &image::ImageError) -> ArtifactError {
        let detail = format!("row {at} is no image that can be read (PNG, JPEG, WebP): {error}");
        self.fault(FailureCode::MalformedImage, &detail)
    }
}

/// The image the right way up.
fn decoded(encoded: &ByteArray) -> image::ImageResult<DynamicImage> {
    let mut decoder = decoder(encoded)?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

pub(super) fn decoder(encoded: &ByteArray) -> image::ImageResult<impl ImageDecoder> {
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) =
        (Some(MAX_SIDE_PIXELS), Some(MAX_SIDE_PIXELS));
    limits.max_alloc = Some(MAX_IMAGE_BYTES);
    let mut reader = ImageReader::new(Cursor::new(encoded.data())).with_guessed_format()?;
    reader.limits(limits);
    reader.into_decoder()
}

/// Of decoded images: those that are wanted, where they are of a kind that images have.
pub(super) fn channels(wanted: Option<usize>, own: usize) -> usize {
    wanted
        .filter(|channels| [1, 3].contains(channels))
        .unwrap_or(own)
}

pub(super) fn no_images(labels: Option<Named>) -> Checkpoint {
    tensors(
        [(INPUTS, DType::U8, vec![0, 1], Bytes::new())]
            .into_iter()
            .chain(labels),
    )
}

/// Sets pixels `[H, W, C]` as `[C, H, W]`.
fn set(sample: &mut [u8], image: DynamicImage, channels: usize) {
    if channels == 1 && !image.color().has_color() {
        sample.copy_from_slice(image.to_luma8().as_raw());
        return;
    }

    let pixels = image.to_rgb8();
    if channels == 1 {
        for (value, pixel) in sample.iter_mut().zip(pixels.pixels()) {
            *value = grey(pixel.0);
        }
        return;
    }

    let area = sample.len() / channels;

    for (channel, plane) in sample.chunks_mut(area).enumerate() {
        for (value, pixel) in plane.iter_mut().zip(pixels.as_raw().chunks_exact(channels)) {
            *value = pixel[channel];
        }
    }
}

/// The grey of a colour by ITU-R 601-2, in the whole numbers that Pillow's `convert("L")` computes with.
fn grey([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
    ((sum + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pillow 12: `Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))`.
    #[test]
    fn colours_become_pillows_grey() {
        assert_eq!(
            [[255, 0, 0], [0, 255, 0], [0, 0, 255], [12, 34, 56]].map(grey),
            [76, 150, 29, 30]
        );
    }
}
