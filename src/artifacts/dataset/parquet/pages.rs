//! The pages of a column, looked at before they are unpacked.
//!
//! Runs and dictionaries let a few bytes announce billions of values, compression lets them announce
//! gigabytes, and the reader makes room for what is announced. So the header of every page is read here
//! first, and what is more than a [`Budget`] has left is refused before anything of the page is.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use parquet::{
    basic::{Compression, Encoding},
    bloom_filter::Sbbf,
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::{
        metadata::RowGroupMetaData,
        reader::{ChunkReader, RowGroupReader},
    },
    record::reader::RowIter,
    schema::types::Type,
};

use super::header::{Header, Kind};

/// Entries of a dictionary. Writers end theirs at a megabyte.
const MAX_DICTIONARY_ENTRIES: u64 = 1 << 22;

/// A file holds more than is read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TooLarge(pub String);

/// What may still be unpacked of a file.
#[derive(Debug)]
pub struct Budget {
    /// Values of one column in one row group.
    pub values: u64,
    /// Bytes of a page, unless it is hardly smaller in the file.
    pub page: u64,
    /// Bytes of all pages.
    pub bytes: AtomicU64,
}

impl Budget {
    /// `values` is what the column has left.
    fn take(&self, header: &Header, values: &mut u64) -> Result<()> {
        if header.kind == Kind::Dictionary && header.values > MAX_DICTIONARY_ENTRIES {
            return Err(too_large(format!(
                "has a dictionary of {} values",
                header.values
            )));
        }
        if header.unpacked > self.page.max(4 * header.packed) {
            return Err(too_large(format!(
                "has a page of {} bytes",
                header.unpacked
            )));
        }

        let (Some(left), Ok(_)) = (
            values.checked_sub(header.values),
            self.bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(header.unpacked)
                }),
        ) else {
            return Err(too_large(format!(
                "has more than {} values in a column of a row group, or more bytes than are \
                 unpacked in memory; write smaller row groups, or safetensors",
                self.values
            )));
        };

        *values = left;
        Ok(())
    }
}

fn too_large(detail: String) -> ParquetError {
    ParquetError::External(Box::new(TooLarge(detail)))
}

/// A row group of which every page is looked at first.
pub struct Bounded<'a, R> {
    pub group: Box<dyn RowGroupReader + 'a>,
    pub file: R,
    pub budget: Arc<Budget>,
}

impl<R: ChunkReader + Clone + 'static> RowGroupReader for Bounded<'_, R> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.group.metadata()
    }

    fn num_columns(&self) -> usize {
        self.group.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>> {
        let described = self.metadata().column(column);
        let (at, length) = described.byte_range();
        Ok(Box::new(Pages {
            reader: self.group.get_column_page_reader(column)?,
            file: self.file.clone(),
            at,
            end: at.saturating_add(length),
            values: self.budget.values,
            gzip: matches!(described.compression(), Compression::GZIP(_)),
            budget: Arc::clone(&self.budget),
        }))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

struct Pages<R> {
    reader: Box<dyn PageReader>,
    file: R,
    /// Of the next header.
    at: u64,
    end: u64,
    /// What the column has left.
    values: u64,
    gzip: bool,
    budget: Arc<Budget>,
}

impl<R: ChunkReader> Pages<R> {
    /// Looks at the page that comes next.
    fn check(&mut self) -> Result<()> {
        while self.at < self.end {
            let header = Header::read(self.file.get_read(self.at)?)?;
            let body = self.at.saturating_add(header.length);
            self.at = body.saturating_add(header.packed);
            // The reader steps over these.
            if header.kind == Kind::Index {
                continue;
            }
            self.budget.take(&header, &mut self.values)?;
            return if self.gzip && header.is_packed {
                self.unpack(body, &header)
            } else {
                Ok(())
            };
        }
        Ok(())
    }

    /// Of gzip the reader unpacks all there is, whatever the header says; of the others no more than
    /// that.
    fn unpack(&self, body: u64, header: &Header) -> Result<()> {
        let end = body.saturating_add(header.packed);
        if end > self.end {
            return Ok(()); // refused by the reader
        }

        let packed = self.file.get_bytes(body, header.packed as usize)?;
        let levels = packed.len().min(header.levels() as usize);
        let most = header.unpacked.saturating_sub(header.levels());
        let mut unpacked = MultiGzDecoder::new(&packed[levels..]).take(most.saturating_add(1));
        if io::copy(&mut unpacked, &mut io::sink())? > most {
            return Err(ParquetError::General(
                "a page is longer than its header says".into(),
            ));
        }
        Ok(())
    }
}

impl<R: ChunkReader> PageReader for Pages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.check()?;
        let page = self.reader.get_next_page()?;
        // They say how many they are once more, in a place that is believed.
        if let Some(Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY) =
            page.as_ref().map(Page::encoding)
        {
            let detail = "bytes in a delta encoding are not read; write them plain";
            return Err(ParquetError::General(detail.into()));
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.reader.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.check()?;
        self.reader.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.reader.at_record_boundary()
    }
}

impl<R: ChunkReader> Iterator for Pages<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
