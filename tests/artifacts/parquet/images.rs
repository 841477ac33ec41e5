//! Images in Parquet: their channels, their sizes, their labels.

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use retune::{artifacts::dataset::Reading, contract::codes::FailureCode};

use super::{all, colour, encoded, images, images_beside, look, read, read_as};
use crate::support::files::TestStorage;

/// As many channels as the network reads, whatever the first image has.
#[test]
fn images_get_the_channels_that_the_network_reads() {
    let test = TestStorage::on_files();
    let grey = DynamicImage::from(GrayImage::from_pixel(2, 1, [9].into()));
    let red = DynamicImage::from(RgbImage::from_pixel(2, 1, [255, 0, 0].into()));
    let rows = [&grey, &red].map(|image| Some(encoded(image, ImageFormat::Png)));
    test.write("mixed.parquet", images(&rows));

    let bytes = |channels: usize| -> Vec<u8> {
        let reading = Reading {
            channels: Some(channels),
            ..Reading::default()
        };
        let samples = read_as(&test, "mixed.parquet", reading).unwrap();
        assert_eq!(samples.sample_shape(), [channels, 1, 2]);
        all(&samples)
            .inputs
            .iter()
            .map(|v| (v * 255.0).round() as u8)
            .collect()
    };
    assert_eq!(bytes(3), [9, 9, 9, 9, 9, 9, 255, 255, 0, 0, 0, 0]);
    // Pillow: `convert("L")` of red is 76.
    assert_eq!(bytes(1), [9, 9, 76, 76]);
}

#[test]
fn what_is_no_dataset_of_images_is_refused() {
    let test = TestStorage::on_files();
    let png = |image: &DynamicImage| Some(encoded(image, ImageFormat::Png));
    let (large, small) = (colour(3, 2), colour(2, 2));
    let grey: DynamicImage = large.to_luma8().into();
    let truncated = png(&large).map(|bytes| bytes[..bytes.len() / 2].to_vec());
    // The header of a PNG of 65535 × 65535 pixels and nothing after it.
    let mut bomb = png(&large).unwrap();
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    for (rows, code, said) in [
        (
            vec![png(&large), png(&small)],
            FailureCode::WrongShape,
            "row 1 is an image of 2 × 2",
        ),
        (
            vec![png(&grey), png(&large)],
            FailureCode::WrongShape,
            "row 1 is an image in colour",
        ),
        (
            vec![png(&large), None],
            FailureCode::MalformedImage,
            "row 1 has no bytes",
        ),
        (
            vec![png(&large), truncated],
            FailureCode::MalformedImage,
            "row 1 is no image",
        ),
        (
            vec![Some(bomb)],
            FailureCode::MalformedImage,
            "row 0 is no image",
        ),
        (
            vec![Some(b"GIF89a".to_vec())],
            FailureCode::MalformedImage,
            "row 0 is no image",
        ),
        (vec![], FailureCode::EmptyDataset, "no sample"),
    ] {
        test.write("d.parquet", images(&rows));
        let error = read(&test, "d.parquet", None).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    // Grey among colours is colour, alpha is dropped, and any of the formats will do.
    let alpha: DynamicImage = large.to_rgba8().into();
    test.write("d.parquet", images(&[png(&large), png(&grey), png(&alpha)]));
    let mixed = all(&read(&test, "d.parquet", None).unwrap());
    let (first, rest) = mixed.inputs.split_at(18);
    assert_eq!(first[..3], [0.0, 10.0 / 255.0, 20.0 / 255.0]);
    assert_eq!(first[6..9], [0.0; 3]);
    assert_eq!(rest[18..], *first);
    assert_eq!(rest[..6], rest[6..12]);
    test.write(
        "d.parquet",
        images(&[Some(encoded(&large, ImageFormat::WebP))]),
    );
    assert_eq!(all(&read(&test, "d.parquet", None).unwrap()).inputs, first);
}

/// Labels may be absent; whole numbers of another name may be labels, and are not dropped in silence.
#[test]
fn images_without_labels_are_read_and_labels_by_another_name_refused() {
    let test = TestStorage::on_files();
    let rows = [Some(encoded(&colour(3, 2), ImageFormat::Png))];
    test.write("d.parquet", images_beside("", &rows));
    let found = read(&test, "d.parquet", None).unwrap();
    assert_eq!((found.len(), found.has_labels()), (1, false));
    assert!(!look(&test, "d.parquet").unwrap().has_labels);

    test.write(
        "d.parquet",
        images_beside("required int64 fine_label;", &rows),
    );
    for error in [
        read(&test, "d.parquet", None).err(),
        look(&test, "d.parquet").err(),
    ] {
        let error = error.expect("a refusal");
        assert_eq!(error.code(), FailureCode::MissingColumn, "{error}");
        assert!(error.to_string().contains("fine_label"), "{error}");
    }
}
