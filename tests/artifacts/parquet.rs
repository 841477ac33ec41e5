//! Datasets in Parquet: what Hugging Face's writer makes, and what goes wrong.

mod announced;
mod images;

use std::{io::Cursor, sync::Arc};

use image::{DynamicImage, ImageFormat, RgbImage};
use parquet::{
    column::writer::ColumnWriter, data_type::ByteArray, file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use retune::{
    artifacts::{
        Access, ArtifactError,
        dataset::{self, LabelForm, Reading},
    },
    contract::{codes::FailureCode, spec::Preprocess},
    engine::training::{Batch, Dataset},
};

use crate::support::files::TestStorage;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parquet");

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}/{name}")).unwrap()
}

fn read(
    test: &TestStorage,
    path: &str,
    preprocess: Option<&Preprocess>,
) -> Result<Dataset, ArtifactError> {
    read_as(
        test,
        path,
        Reading {
            preprocess,
            ..Reading::default()
        },
    )
}

fn read_as(test: &TestStorage, path: &str, reading: Reading<'_>) -> Result<Dataset, ArtifactError> {
    let location = test.storage.check_location(&test.uri(path)).unwrap();
    let scratch = test.scratch();
    let access = Access {
        storage: &test.storage,
        scratch: &scratch,
        go_on: &|| true,
    };
    dataset::read(&access, &location, reading).map(|(dataset, _)| dataset)
}

fn look(test: &TestStorage, path: &str) -> Result<dataset::DatasetInfo, ArtifactError> {
    dataset::look(
        &test.storage,
        &test.storage.check_location(&test.uri(path)).unwrap(),
        Reading::default(),
    )
}

fn all(dataset: &Dataset) -> Batch {
    dataset.batch(&(0..dataset.len()).collect::<Vec<_>>())
}

#[test]
fn parquet_gives_the_samples_that_safetensors_gives() {
    let test = TestStorage::on_files();
    for (name, shape) in [
        ("colour", vec![3, 4, 3]),
        ("grey", vec![1, 4, 3]),
        ("classified", vec![5]),
        ("language", vec![5]),
        ("pairs", vec![5]),
        ("unlabelled", vec![5]),
    ] {
        for form in ["parquet", "safetensors"] {
            let path = format!("{name}.{form}");
            test.write(&path, fixture(&path));
        }
        let [parquet, safetensors] = ["parquet", "safetensors"]
            .map(|form| read(&test, &format!("{name}.{form}"), None).unwrap());
        assert_eq!(all(&parquet), all(&safetensors), "{name}");
        assert_eq!(parquet.sample_shape(), shape, "{name}");
        let [found, expected] =
            ["parquet", "safetensors"].map(|form| look(&test, &format!("{name}.{form}")).unwrap());
        assert_eq!(found.samples, expected.samples, "{name}");
        assert_eq!(found.sample_shape, expected.sample_shape, "{name}");
        // Pictures are decoded, and read from the other file; tokens are packed from either.
        let is_of_images = ["colour", "grey"].contains(&name);
        let decoded = parquet.len() * shape.iter().product::<usize>();
        let more = if is_of_images { decoded as u64 } else { 0 };
        assert_eq!(found.held, expected.held + more, "{name}");
        assert_eq!(
            (found.has_labels, parquet.has_labels()),
            (name != "unlabelled", found.has_labels)
        );
    }
    let preprocess = Preprocess {
        mean: vec![0.5, 0.4, 0.3],
        std: vec![0.2, 0.2, 0.1],
    };
    let [parquet, safetensors] = ["colour.parquet", "colour.safetensors"]
        .map(|path| all(&read(&test, path, Some(&preprocess)).unwrap()));
    assert_eq!(parquet, safetensors);
}

/// Values, several labels and the ends of answers, as `tests/fixtures/parquet/tasks.py` writes them.
#[test]
fn labels_that_are_no_classes_are_those_that_safetensors_gives() {
    let test = TestStorage::on_files();
    for (name, labels) in [
        ("values", LabelForm::Values),
        ("several", LabelForm::Several),
        ("ends", LabelForm::Ends),
    ] {
        let reading = Reading {
            labels,
            ..Reading::default()
        };
        for form in ["parquet", "safetensors"] {
            let path = format!("{name}.{form}");
            test.write(&path, fixture(&path));
        }
        let paths = ["parquet", "safetensors"].map(|form| format!("{name}.{form}"));
        let [parquet, safetensors] = paths
            .each_ref()
            .map(|path| read_as(&test, path, reading).unwrap());
        assert_eq!(all(&parquet), all(&safetensors), "{name}");
        assert_eq!(parquet.judged(), safetensors.judged(), "{name}");
        let [found, expected] = paths.each_ref().map(|path| {
            let place = test.storage.check_location(&test.uri(path)).unwrap();
            dataset::look(&test.storage, &place, reading).unwrap()
        });
        assert_eq!((found.samples, found.has_labels), (5, true), "{name}");
        assert_eq!(found.held, expected.held, "{name}");

        // As those of a class they are refused.
        let as_classes = read(&test, &paths[0], None).map(|_| ());
        assert!(as_classes.is_err(), "{name}");
    }

    for shard in 0..2 {
        let shard = format!("several/train-{shard:05}-of-00002.parquet");
        test.write(&shard, fixture(&shard));
    }
    let reading = Reading {
        labels: LabelForm::Several,
        ..Reading::default()
    };
    let [joined, whole] =
        ["several/", "several.parquet"].map(|path| read_as(&test, path, reading).unwrap());
    assert_eq!(all(&joined), all(&whole));
}

/// A folder of shards is the samples of all, in order of name, filled up to the longest.
#[test]
fn a_folder_of_shards_is_one_dataset() {
    let test = TestStorage::on_files();
    let shards = [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ];
    for shard in shards {
        test.write(&format!("data/{shard}"), fixture(&format!("pairs/{shard}")));
    }
    test.write("data/README.md", "not a shard");
    test.write("pairs.safetensors", fixture("pairs.safetensors"));

    let whole = read(&test, "pairs.safetensors", None).unwrap();
    let joined = read(&test, "data/", None).unwrap();
    assert_eq!(all(&joined), all(&whole));
    assert!(joined.has_token_types());
    let [found, expected] = ["data/", "pairs.safetensors"].map(|path| look(&test, path).unwrap());
    assert_eq!(found.samples, expected.samples);
    assert_eq!(found.sample_shape, expected.sample_shape);

    let code = |path: &str| {
        let found = look(&test, path).unwrap_err();
        assert_eq!(
            read(&test, path, None).unwrap_err().code(),
            found.code(),
            "{path}"
        );
        (found.code(), found.to_string())
    };
    test.write(
        "splits/train-00000-of-00001.parquet",
        fixture(&format!("pairs/{}", shards[0])),
    );
    test.write(
        "splits/test-00000-of-00001.parquet",
        fixture(&format!("pairs/{}", shards[1])),
    );
    assert_eq!(code("splits/").0, FailureCode::SeveralSplits);
    test.write(
        "lost/train-00001-of-00002.parquet",
        fixture(&format!("pairs/{}", shards[1])),
    );
    let (lost, detail) = code("lost/");
    assert_eq!(lost, FailureCode::NotFound);
    assert!(detail.contains("shard 0 of 2"), "{detail}");
    test.write("mixed/a.parquet", fixture("colour.parquet"));
    test.write("mixed/b.parquet", fixture("pairs.parquet"));
    assert_eq!(code("mixed/").0, FailureCode::WrongShape);
    test.write("none/README.md", "no shard at all");
    assert_eq!(code("none/").0, FailureCode::NotFound);
}

/// A file with the columns of an image dataset.
fn images(encoded: &[Option<Vec<u8>>]) -> Vec<u8> {
    let label = "required int64 label;";
    images_beside(label, encoded)
}

/// The same with another column in the label's place, or none.
fn images_beside(column: &str, encoded: &[Option<Vec<u8>>]) -> Vec<u8> {
    let schema =
        format!("message samples {{ optional group image {{ optional binary bytes; }} {column} }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let values: Vec<ByteArray> = encoded
                    .iter()
                    .flatten()
                    .map(|bytes| bytes.clone().into())
                    .collect();
                let levels: Vec<i16> = encoded
                    .iter()
                    .map(|bytes| if bytes.is_some() { 2 } else { 1 })
                    .collect();
                writer.write_batch(&values, Some(&levels), None).unwrap();
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                writer
                    .write_batch(&vec![0; encoded.len()], None, None)
                    .unwrap();
            }
            _ => unreachable!("two columns"),
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn colour(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| [10 * x as u8, 20 * y as u8, 7].into()).into()
}

#[test]
fn what_is_no_parquet_is_refused() {
    let test = TestStorage::on_files();
    let whole = fixture("classified.parquet");
    for bytes in [
        &[][..],
        &whole[..whole.len() / 2],
        &whole[4..],
        b"PAR1PAR1PAR1",
    ] {
        test.write("d.parquet", bytes);
        for found in [
            read(&test, "d.parquet", None).err(),
            look(&test, "d.parquet").err(),
        ] {
            assert_eq!(
                found.expect("a refusal").code(),
                FailureCode::MalformedParquet
            );
        }
    }
    // Columns of another kind of file.
    let renamed = String::from_utf8_lossy(&whole).contains("attention_mask");
    assert!(renamed, "the footer names its columns");
    let other: Vec<u8> = replaced(&whole, b"input_ids", b"output_id");
    test.write("d.parquet", other);
    let error = read(&test, "d.parquet", None).unwrap_err();
    assert_eq!(error.code(), FailureCode::MissingColumn, "{error}");
    assert!(
        error
            .to_string()
            .contains("output_id, attention_mask, label"),
        "{error}"
    );
}

/// What a network may read beside the ids is not dropped because of its name.
#[test]
fn a_list_of_whole_numbers_under_an_unknown_name_is_refused() {
    let test = TestStorage::on_files();
    let whole = fixture("pairs.parquet");
    let other = replaced(&whole, b"token_type_ids", b"sentence_parts");
    assert_ne!(other, whole);
    test.write("d.parquet", other);
    for error in [
        read(&test, "d.parquet", None).err(),
        look(&test, "d.parquet").err(),
    ] {
        let error = error.expect("a refusal");
        assert_eq!(error.code(), FailureCode::UnexpectedColumn, "{error}");
        assert!(error.to_string().contains("sentence_parts"), "{error}");
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn no_byte_changed_brings_the_reader_down() {
    let test = TestStorage::on_files();
    for name in ["grey", "language"] {
        let whole = fixture(&format!("{name}.parquet"));
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            test.write("d.parquet", bytes);
            refused += usize::from(read(&test, "d.parquet", None).is_err());
        }
        assert!(
            refused > whole.len() / 10,
            "{refused} of {} were noticed",
            whole.len()
        );
    }
}
