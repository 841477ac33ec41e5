//! Files that announce more than they have.

use retune::contract::codes::FailureCode;
use std::{io::Write, sync::Arc};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use image::ImageFormat;
use parquet::{
    basic::{Compression, Encoding, GzipLevel},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::ColumnCloseResult,
    },
    file::{
        metadata::ColumnChunkMetaData,
        writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite},
    },
    schema::parser::parse_message_type,
};

use super::{colour, encoded, look, read};
use crate::support::files::TestStorage;

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
        Self {
            entry,
            entries: 1,
            values,
            data,
            compression,
            unpacked,
        }
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
        let entry = Page::DictionaryPage {
            buf,
            num_values,
            encoding,
            is_sorted: false,
        };
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
        Announced::new(
            7i64.to_le_bytes().to_vec(),
            values,
            &[begins, run(values, 3)],
        ),
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
    let refused = |bytes: Vec<u8>, code: FailureCode| {
        assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
        test.write("d.parquet", bytes);
        for error in [
            read(&test, "d.parquet", None).err(),
            look(&test, "d.parquet").err(),
        ] {
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

    let too_large = FailureCode::DatasetTooLarge;
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
    refused(announcing(IMAGES, 1, longer), FailureCode::MalformedParquet);
    let error = look(&test, "d.parquet").expect_err("a refusal").to_string();
    assert!(error.contains("longer than its header says"), "{error}");
}
