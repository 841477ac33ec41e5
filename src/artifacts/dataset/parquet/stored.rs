//! A Parquet file in a store, read by ranges.

use std::io::{self, BufReader, Read};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};

use crate::storage::{Location, Storage};

/// An object in a store, of which only what is asked for is read.
pub struct Stored {
    pub storage: Storage,
    pub location: Location,
    /// Bytes.
    pub size: u64,
}

impl Length for Stored {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Stored {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let Self { storage, location, size } = self;
        let from =
            From { storage: storage.clone(), location: location.clone(), at: start, end: *size };
        Ok(BufReader::with_capacity(64 << 10, from))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let range = start..start.saturating_add(length as u64);
        let read = self.storage.blocking().read_range(&self.location, range);
        let bytes = read.map_err(|error| ParquetError::External(Box::new(error)))?;
        if bytes.len() < length {
            return Err(ParquetError::EOF("ends before its footer says".to_owned()));
        }
        Ok(bytes)
    }
}

/// An object from a position on.
pub struct From {
    storage: Storage,
    location: Location,
    at: u64,
    end: u64,
}

impl Read for From {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let range = self.at..self.end.min(self.at + out.len() as u64);
        let read = self.storage.blocking().read_range(&self.location, range);
        let bytes = read.map_err(io::Error::other)?;
        out[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}
