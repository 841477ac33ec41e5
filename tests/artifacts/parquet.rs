//! Datasets in Parquet: what Hugging Face's writer makes, and what goes wrong.

use std::{
    io::{Cursor, Write},
    sync::Arc,
};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use parquet::{
    basic::{Compression, Encoding, GzipLevel},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::{ColumnCloseResult, ColumnWriter},
    },
    data_type::ByteArray,
    file::{
        metadata::ColumnChunkMetaData,
        writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite},
    },
    schema::parser::parse_message_type,
};
use retune::{
    artifacts::{
        Access, ArtifactError,
        dataset::{self, Reading},
    },
    contract::spec::Preprocess,
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
    read_as(test, path, Reading { preprocess, ..Reading::default() })
}

fn read_as(test: &TestStorage, path: &str, reading: Reading<'_>) -> Result<Dataset, ArtifactError> {
    let location = test.storage.check_location(&test.uri(path)).unwrap();
    let scratch = test.scratch();
    let access = Access { storage: &test.storage, scratch: &scratch, go_on: &|| true };
    dataset::read(&access, &location, reading).map(|(dataset, _)| dataset)
}

fn look(test: &TestStorage, path: &str) -> Result<dataset::DatasetInfo, ArtifactError> {
    dataset::look(&test.storage, &test.storage.check_location(&test.uri(path)).unwrap(), None)
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
    }
    let preprocess = Preprocess { mean: vec![0.5, 0.4, 0.3], std: vec![0.2, 0.2, 0.1] };
    let [parquet, safetensors] = ["colour.parquet", "colour.safetensors"]
        .map(|path| all(&read(&test, path, Some(&preprocess)).unwrap()));
    assert_eq!(parquet, safetensors);
}

/// A folder of shards is the samples of all, in order of name, filled up to the longest.
#[test]
fn a_folder_of_shards_is_one_dataset() {
    let test = TestStorage::on_files();
    let shards = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"];
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
        assert_eq!(read(&test, path, None).unwrap_err().code(), found.code(), "{path}");
        (found.code(), found.to_string())
    };
    test.write("splits/train-00000-of-00001.parquet", fixture(&format!("pairs/{}", shards[0])));
    test.write("splits/test-00000-of-00001.parquet", fixture(&format!("pairs/{}", shards[1])));
    assert_eq!(code("splits/").0, "several_splits");
    test.write("lost/train-00001-of-00002.parquet", fixture(&format!("pairs/{}", shards[1])));
    let (lost, detail) = code("lost/");
    assert_eq!(lost, "not_found");
    assert!(detail.contains("shard 0 of 2"), "{detail}");
    test.write("mixed/a.parquet", fixture("colour.parquet"));
    test.write("mixed/b.parquet", fixture("pairs.parquet"));
    assert_eq!(code("mixed/").0, "wrong_shape");
    test.write("none/README.md", "no shard at all");
    assert_eq!(code("none/").0, "not_found");
}

/// As many channels as the network reads, whatever the first image has.
#[test]
fn images_get_the_channels_that_the_network_reads() {
    let test = TestStorage::on_files();
    let grey = DynamicImage::from(GrayImage::from_pixel(2, 1, [9].into()));
    let red = DynamicImage::from(RgbImage::from_pixel(2, 1, [255, 0, 0].into()));
    let rows = [&grey, &red].map(|image| Some(encoded(image, ImageFormat::Png)));
    test.write("mixed.parquet", images(&rows));

    let bytes = |channels: usize| -> Vec<u8> {
        let reading = Reading { channels: Some(channels), ..Reading::default() };
        let samples = read_as(&test, "mixed.parquet", reading).unwrap();
        assert_eq!(samples.sample_shape(), [channels, 1, 2]);
        all(&samples).inputs.iter().map(|v| (v * 255.0).round() as u8).collect()
    };
    assert_eq!(bytes(3), [9, 9, 9, 9, 9, 9, 255, 255, 0, 0, 0, 0]);
    // Pillow: `convert("L")` of red is 76.
    assert_eq!(bytes(1), [9, 9, 76, 76]);
}

/// A file with the columns of an image dataset.
fn images(encoded: &[Option<Vec<u8>>]) -> Vec<u8> {
    let schema = "message samples {
        optional group image { optional binary bytes; }
        required int64 label;
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let values: Vec<ByteArray> =
                    encoded.iter().flatten().map(|bytes| bytes.clone().into()).collect();
                let levels: Vec<i16> =
                    encoded.iter().map(|bytes| if bytes.is_some() { 2 } else { 1 }).collect();
                writer.write_batch(&values, Some(&levels), None).unwrap();
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                writer.write_batch(&vec![0; encoded.len()], None, None).unwrap();
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
        (vec![png(&large), png(&small)], "wrong_shape", "row 1 is an image of 2 × 2"),
        (vec![png(&grey), png(&large)], "wrong_shape", "row 1 is an image in colour"),
        (vec![png(&large), None], "malformed_image", "row 1 has no bytes"),
        (vec![png(&large), truncated], "malformed_image", "row 1 is no image"),
        (vec![Some(bomb)], "malformed_image", "row 0 is no image"),
        (vec![Some(b"GIF89a".to_vec())], "malformed_image", "row 0 is no image"),
        (vec![], "empty_dataset", "no sample"),
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
    test.write("d.parquet", images(&[Some(encoded(&large, ImageFormat::WebP))]));
    assert_eq!(all(&read(&test, "d.parquet", None).unwrap()).inputs, first);
}

#[test]
fn what_is_no_parquet_is_refused() {
    let test = TestStorage::on_files();
    let whole = fixture("classified.parquet");
    for bytes in [&[][..], &whole[..whole.len() / 2], &whole[4..], b"PAR1PAR1PAR1"] {
        test.write("d.parquet", bytes);
        for found in [read(&test, "d.parquet", None).err(), look(&test, "d.parquet").err()] {
            assert_eq!(found.expect("a refusal").code(), "malformed_parquet");
        }
    }
    // Columns of another kind of file.
    let renamed = String::from_utf8_lossy(&whole).contains("attention_mask");
    assert!(renamed, "the footer names its columns");
    let other: Vec<u8> = replaced(&whole, b"input_ids", b"output_id");
    test.write("d.parquet", other);
    let error = read(&test, "d.parquet", None).unwrap_err();
    assert_eq!(error.code(), "missing_column", "{error}");
    assert!(error.to_string().contains("output_id, attention_mask, label"), "{error}");
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
        assert!(refused > whole.len() / 10, "{refused} of {} were noticed", whole.len());
    }
}

/// A column of one dictionary entry, repeated: what its pages announce.
struct Announced {
    entry: Vec<u8>,
    /// That the dictionary says it has.
    entries: u32,
    values: u32,
    /// Levels and indices, of the data page.
    data: Vec<u8>,
    compression: Compression,
    /// Bytes that the data page says it has; `None`: as many as it has.
    unpacked: Option<usize>,
}

impl Announced {
    fn new(entry: Vec<u8>, values: u32, levels: &[Vec<u8>]) -> Self {
        let mut data = Vec::new();
        for level in levels {
            data.extend((level.len() as u32).to_le_bytes());
            data.extend(level);
        }
        // Indices of one bit.
        data.push(1);
        data.extend(run(values, 0));
        let (compression, unpacked) = (Compression::UNCOMPRESSED, None);
        Self { entry, entries: 1, values, data, compression, unpacked }
    }
}

/// So many times the same, as runs are written.
fn run(count: u32, value: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = u64::from(count) << 1;
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.extend([left as u8, value]);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Level::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A file of so many rows with these columns.
fn announcing(schema: &str, rows: u32, columns: Vec<Announced>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let described = file.schema_descr().columns().to_vec();
    let mut group = file.next_row_group().unwrap();
    for (column, described) in columns.into_iter().zip(described) {
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let page = |buf: Vec<u8>| (buf.len(), Bytes::from(buf));
        let is_gzip = matches!(column.compression, Compression::GZIP(_));
        let (size, mut buf) = page(column.entry);
        if is_gzip {
            buf = gzip(&buf).into();
        }
        let (encoding, num_values) = (Encoding::PLAIN, column.entries);
        let entry = Page::DictionaryPage { buf, num_values, encoding, is_sorted: false };
        pages.write_page(CompressedPage::new(entry, size)).unwrap();
        let (size, buf) = page(column.data);
        let data = Page::DataPage {
            buf,
            num_values: column.values,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let data = CompressedPage::new(data, column.unpacked.unwrap_or(size));
        let at = pages.write_page(data).unwrap().offset;
        let chunk = Bytes::from(sink.into_inner().unwrap());
        let metadata = ColumnChunkMetaData::builder(described)
            .set_compression(column.compression)
            .set_num_values(column.values.into())
            .set_total_compressed_size(chunk.len() as i64)
            .set_total_uncompressed_size(chunk.len() as i64)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(at as i64)
            .build()
            .unwrap();
        let close = ColumnCloseResult {
            bytes_written: chunk.len() as u64,
            rows_written: rows.into(),
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        group.append_column(&chunk, close).unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

const LISTS: &str = "message samples {
    optional group input_ids (LIST) { repeated group list { optional int64 element; } }
    required int64 label;
}";
const IMAGES: &str = "message samples {
    optional group image { optional binary bytes; }
    required int64 label;
}";
const MANY: u32 = i32::MAX as u32;

/// Lists of which the first has `count` ids, and a label each.
fn lists(rows: u32, count: u32) -> Vec<Announced> {
    let begins = [run(1, 0), run(count - 1, 1), run(rows - 1, 0)].concat();
    let values = count + rows - 1;
    vec![
        Announced::new(7i64.to_le_bytes().to_vec(), values, &[begins, run(values, 3)]),
        Announced::new(1i64.to_le_bytes().to_vec(), rows, &[]),
    ]
}

fn repeated(rows: u32) -> Vec<Announced> {
    let png = encoded(&colour(3, 2), ImageFormat::Png);
    let entry = [&(png.len() as u32).to_le_bytes()[..], &png].concat();
    vec![
        Announced::new(entry, rows, &[run(rows, 2)]),
        Announced::new(1i64.to_le_bytes().to_vec(), rows, &[]),
    ]
}

#[test]
fn what_is_announced_in_a_few_bytes_is_bounded_before_it_is_read() {
    let test = TestStorage::on_files();
    let refused = |bytes: Vec<u8>, code: &str| {
        assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
        test.write("d.parquet", bytes);
        for error in [read(&test, "d.parquet", None).err(), look(&test, "d.parquet").err()] {
            let error = error.expect("a refusal");
            assert_eq!(error.code(), code, "{error}");
        }
    };
    // What these files are made like is sound.
    test.write("d.parquet", announcing(LISTS, 3, lists(3, 5)));
    assert_eq!(read(&test, "d.parquet", None).unwrap().sample_shape(), [5]);
    assert_eq!(look(&test, "d.parquet").unwrap().sample_shape, [5]);
    test.write("d.parquet", announcing(IMAGES, 3, repeated(3)));
    assert_eq!(read(&test, "d.parquet", None).unwrap().len(), 3);
    assert_eq!(look(&test, "d.parquet").unwrap().sample_shape, [3, 2, 3]);

    let too_large = "dataset_too_large";
    refused(announcing(LISTS, 1, lists(1, MANY)), too_large);
    refused(announcing(LISTS, 1, lists(1, (1 << 20) + 1)), too_large);
    refused(announcing(LISTS, MANY, lists(MANY, 1)), too_large);
    refused(announcing(IMAGES, MANY, repeated(MANY)), too_large);
    // Short lists beside one of a million are filled up to its length.
    refused(announcing(LISTS, 1000, lists(1000, 1 << 20)), too_large);
    let mut entries = lists(1, 4);
    entries[0].entries = MANY;
    refused(announcing(LISTS, 1, entries), too_large);
    let mut page = repeated(1);
    page[0].compression = Compression::GZIP(GzipLevel::default());
    page[0].unpacked = Some(MANY as usize);
    refused(announcing(IMAGES, 1, page), too_large);

    // More than the header says: gzip would be unpacked to its end.
    let mut longer = repeated(1);
    longer[0].compression = Compression::GZIP(GzipLevel::default());
    (longer[0].data, longer[0].unpacked) = (gzip(&vec![0; 64 << 20]), Some(9));
    refused(announcing(IMAGES, 1, longer), "malformed_parquet");
    let error = look(&test, "d.parquet").expect_err("a refusal").to_string();
    assert!(error.contains("longer than its header says"), "{error}");
}
