//! Files of this machine, judged by what was opened and not by what it was called.
//!
//! A name may lead elsewhere from one moment to the next. So a name is opened without effect first, the
//! roots judge the path that the kernel gives for the descriptor, and whatever follows (reading,
//! listing, writing) goes through that descriptor. Only regular files are read: a FIFO or a device is
//! refused before anything waits for it.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    ops::Range,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use nix::fcntl::OFlag;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::{
    StorageError,
    digest::CHUNK,
    listing::{Listing, ObjectInfo},
    location::Location,
    roots::Roots,
};

/// In front of the names of files that are not whole yet.
const INCOMING: &str = ".incoming-";

/// Opens a name without doing anything to what has it.
#[cfg(target_os = "linux")]
const LOOK: OFlag = OFlag::O_PATH;
#[cfg(not(target_os = "linux"))]
const LOOK: OFlag = OFlag::O_NONBLOCK;

/// Where this process finds its own descriptors as files.
#[cfg(target_os = "linux")]
const DESCRIPTORS: &str = "/proc/self/fd";
#[cfg(not(target_os = "linux"))]
const DESCRIPTORS: &str = "/dev/fd";

/// Something that was opened by its name, and judged.
#[derive(Debug)]
pub(super) struct Held {
    handle: File,
    location: Location,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(super) struct Regular {
    pub file: File,
    pub size: u64,
    pub mark: String,
}

impl Roots {
    /// Opens whatever is at a location, and judges where it really lies.
    pub(super) fn hold(&self, location: &Location) -> Result<Held, StorageError> {
        let path = self.check(location)?;
        let handle = OpenOptions::new()
            .read(true)
            .custom_flags(LOOK.bits())
            .open(&path);
        let handle = handle.map_err(StorageError::io_at(location))?;
        self.judge(
            location,
            &real(&handle, &path).map_err(StorageError::io_at(location))?,
        )?;

        Ok(Held {
            handle,
            location: location.clone(),
        })
    }

    /// A regular file, open for reading.
    pub(super) fn open(&self, location: &Location) -> Result<Regular, StorageError> {
        self.hold(location)?.regular()
    }

    /// The folder that a file is to be written to, made where it is missing.
    pub(super) fn hold_parent(&self, location: &Location) -> Result<Held, StorageError> {
        let path = self.check(location)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let Existing { mut held, missing } = self.hold_existing(location.parent(), folder)?;
        for name in missing {
            held = held.subfolder(&name)?;
        }

        let lies = real(&held.handle, folder).map_err(StorageError::io_at(&held.location))?;
        self.judge(&held.location, &lies)?;
        held.check_folder()?;
        Ok(held)
    }

    /// What there is of a folder, judged with the rest of its path, so that nothing is made outside the roots.
    fn hold_existing(&self, location: Location, folder: &Path) -> Result<Existing, StorageError> {
        let mut missing = Vec::new();
        for existing in folder.ancestors() {
            match OpenOptions::new()
                .read(true)
                .custom_flags(LOOK.bits())
                .open(existing)
            {
                Ok(handle) => {
                    let lies = real(&handle, existing).map_err(StorageError::io_at(&location))?;
                    missing.reverse();
                    self.judge(&location, &lies.join(missing.iter().collect::<PathBuf>()))?;
                    return Ok(Existing {
                        held: Held { handle, location },
                        missing,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.extend(existing.file_name().map(ToOwned::to_owned));
                }
                Err(error) => return Err(StorageError::from_folder(&location, &error)),
            }
        }

        Err(StorageError::NotFound {
            location: location.to_string(),
        })
    }
}

/// The part of a folder that is there, and the names of those that are to be made in it, one in another.
struct Existing {
    held: Held,
    missing: Vec<OsString>,
}

impl Held {
    /// A path that leads to what was opened, whatever has its name by now. Good as long as this lives.
    pub(super) fn path(&self) -> PathBuf {
        path_of(&self.handle)
    }

    /// A folder in this one, made where it is missing so that it lasts. A link is followed nowhere.
    fn subfolder(self, name: &OsStr) -> Result<Self, StorageError> {
        let path = self.path().join(name);
        match fs::create_dir(&path) {
            Ok(()) => self.sync()?,
            // By somebody else meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StorageError::from_folder(&self.location, &error)),
        }

        let flags = LOOK | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(&path);
        let handle = opened.map_err(|error| StorageError::from_folder(&self.location, &error))?;

        Ok(Self {
            handle,
            location: self.location,
        })
    }

    fn metadata(&self) -> Result<Metadata, StorageError> {
        self.handle
            .metadata()
            .map_err(StorageError::io_at(&self.location))
    }

    fn check_folder(&self) -> Result<(), StorageError> {
        if self.metadata()?.is_dir() {
            return Ok(());
        }
        let (location, detail) = (self.location.to_string(), "is a file, no folder".to_owned());
        Err(StorageError::NotAFolder { location, detail })
    }

    pub(super) fn regular(&self) -> Result<Regular, StorageError> {
        let found = self.metadata()?;
        if !found.is_file() {
            let (location, kind) = (self.location.to_string(), kind_of(&found));
            return Err(StorageError::NotAFile { location, kind });
        }

        // The same file: the name is not asked again.
        let file = File::open(self.path());
        let file = file.map_err(StorageError::io_at(&self.location))?;
        Ok(Regular {
            file,
            size: found.len(),
            mark: mark_of(&found),
        })
    }

    pub(super) fn has_mark(&self, mark: &str) -> bool {
        self.metadata().is_ok_and(|found| mark_of(&found) == mark)
    }

    pub(super) fn info(&self) -> Result<ObjectInfo, StorageError> {
        let found = self.metadata()?;
        if !found.is_file() {
            let (location, kind) = (self.location.to_string(), kind_of(&found));
            return Err(StorageError::NotAFile { location, kind });
        }

        let (location, etag) = (self.location.clone(), Some(mark_of(&found)));
        Ok(ObjectInfo {
            location,
            size: found.len(),
            etag,
        })
    }

    /// What lies directly in a folder; nothing where this is none. Whatever is no folder is listed as a
    /// file: who opens it hears what it is.
    pub(super) fn list(&self) -> Result<Listing, StorageError> {
        let mut listing = Listing::default();
        if !self.metadata()?.is_dir() {
            return Ok(listing);
        }

        for entry in fs::read_dir(self.path()).map_err(StorageError::io_at(&self.location))? {
            let entry = entry.map_err(StorageError::io_at(&self.location))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let Ok(location) = self.location.child(&name) else {
                continue;
            };
            if name.starts_with(INCOMING) {
                continue;
            }
            // A link to nothing is not there.
            let Ok(found) = fs::metadata(entry.path()) else {
                continue;
            };
            if found.is_dir() {
                listing.folders.push(location);
            } else {
                let etag = Some(mark_of(&found));
                listing.files.push(ObjectInfo {
                    location,
                    size: found.len(),
                    etag,
                });
            }
        }

        Ok(listing)
    }

    /// Creates a file of this folder from the pieces that `write` writes: whole, or not at all. False
    /// where the name is taken.
    pub(super) fn create(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut File) -> Result<(), StorageError>,
    ) -> Result<bool, StorageError> {
        let folder = self.path();
        let incoming = folder.join(format!("{INCOMING}{}", Uuid::new_v4()));
        let mut file = File::create_new(&incoming).map_err(StorageError::io_at(&self.location))?;
        let mut written = write(&mut file).map(|()| true);
        if written.is_ok() {
            let linked = file
                .sync_all()
                .and_then(|()| fs::hard_link(&incoming, folder.join(name)));
            written = match linked {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(StorageError::from_io(&self.location, &error)),
            };
        }

        fs::remove_file(&incoming).map_err(StorageError::io_at(&self.location))?;
        self.sync()?;
        written
    }

    /// Makes the entries of this folder last.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        let synced = File::open(self.path()).and_then(|folder| folder.sync_all());
        synced.map_err(StorageError::io_at(&self.location))
    }
}

/// A path to what a descriptor of this process stands for.
pub(super) fn path_of(file: &File) -> PathBuf {
    Path::new(DESCRIPTORS).join(file.as_raw_fd().to_string())
}

/// Where a file that has been opened as `name` lies.
#[cfg(target_os = "linux")]
fn real(handle: &File, _: &Path) -> io::Result<PathBuf> {
    fs::read_link(path_of(handle))
}

#[cfg(not(target_os = "linux"))]
fn real(handle: &File, name: &Path) -> io::Result<PathBuf> {
    let (real, opened) = (name.canonicalize()?, handle.metadata()?);
    let found = fs::metadata(&real)?;
    if (found.dev(), found.ino()) == (opened.dev(), opened.ino()) {
        return Ok(real);
    }

    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the name was given to another file meanwhile",
    ))
}

/// Changes whenever a file's content may have.
pub(super) fn mark_of(found: &Metadata) -> String {
    format!(
        "{:x}-{:x}-{:x}-{:x}.{:x}-{:x}.{:x}",
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec()
    )
}

fn kind_of(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// A file's bytes in this range, a piece at a time.
pub(super) fn stream(
    mut file: File,
    range: Range<u64>,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    file.seek(SeekFrom::Start(range.start))?;
    let file = tokio::fs::File::from_std(file).take(range.end - range.start);
    Ok(ReaderStream::with_capacity(file, CHUNK).boxed())
}

/// Writes all of it.
pub(super) fn write_all(file: &mut File, bytes: &[u8], at: &Location) -> Result<(), StorageError> {
    file.write_all(bytes)
        .map_err(|error| StorageError::from_io(at, &error))
}
