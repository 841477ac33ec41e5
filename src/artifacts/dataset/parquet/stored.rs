//! A Parquet file in a store, read by ranges; and one on disk.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};

use crate::storage::{Location, Storage};

/// An open file. Its readers share one position, of which each is the last to set it.
#[derive(Clone)]
pub struct Local(Arc<File>);

impl std::convert::From<File> for Local {
    fn from(file: File) -> Self {
        Self(Arc::new(file))
    }
}

impl Length for Local {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Local {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // Room is made for what is asked for.
        if start.saturating_add(length as u64) > self.len() {
            return Err(ParquetError::EOF("ends before its footer says".to_owned()));
        }
        self.0.get_bytes(start, length)
    }
}

/// An object in a store, of which only what is asked for is read.
#[derive(Clone)]
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
        let Self {
            storage,
            location,
            size,
        } = self;
        let from = From {
            storage: storage.clone(),
            location: location.clone(),
            at: start,
            end: *size,
        };
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
