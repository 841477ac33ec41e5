//! Files as memory.

use std::{fs::File, io, path::Path};

use bytes::Bytes;
use memmap2::Mmap;

/// A file's bytes without reading them.
///
/// The file must not shrink while the bytes are in use: the process would be killed. Remote
/// objects are copies that nobody else knows; a `file://` input that its owner truncates during a
/// transfer costs that worker process, which is why transfers run in processes of their own.
pub(super) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    #[expect(unsafe_code, reason = "a mapped file is the only way to models larger than memory")]
    // SAFETY: the mapping is private to this process and read-only; that the file may change
    // underneath is the documented condition above.
    let mapped = unsafe { Mmap::map(&file) }?;
    Ok(Bytes::from_owner(mapped))
}
