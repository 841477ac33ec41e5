//! SHA-256 of bytes as they pass.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

/// 64 hexadecimal digits, lower case.
pub type Sha256Hex = String;

/// What an object holds, as it was written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub size: u64,
    pub sha256: Sha256Hex,
}

/// Bytes read at a time; also how often a reader asks whether to go on.
pub(super) const CHUNK: usize = 1 << 20;

/// The digest of bytes in memory.
pub fn sha256_of(bytes: &[u8]) -> Sha256Hex {
    hex::encode(Sha256::digest(bytes))
}

/// Size and digest of what is left to read of a file, or `None` when told to stop.
pub(super) fn of_file(
    mut file: &File,
    go_on: &dyn Fn() -> bool,
) -> io::Result<Option<(u64, Sha256Hex)>> {
    let mut running = Running::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        if !go_on() {
            return Ok(None);
        }
        match file.read(&mut buffer)? {
            0 => return Ok(Some(running.finish())),
            read => running.update(&buffer[..read]),
        }
    }
}

/// The digest of a file of our own.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of_file(path: &Path) -> io::Result<Sha256Hex> {
    let found = of_file(&File::open(path)?, &|| true)?;
    Ok(found.map(|(_, digest)| digest).unwrap_or_default())
}

/// A digest under way.
#[derive(Default)]
pub(super) struct Running {
    size: u64,
    hasher: Sha256,
}

impl Running {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn finish(self) -> (u64, Sha256Hex) {
        (self.size, hex::encode(self.hasher.finalize()))
    }
}
