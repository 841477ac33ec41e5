//! Looking and reading.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, path::Path as Key,
};

use super::{
    Storage, StorageError,
    digest::{Published, Running},
    listing::{Listing, ObjectInfo},
    local::{self, Regular},
    location::{Location, Store},
    requests::{Operation, counted},
};

/// An object being read.
pub struct Download {
    /// Size of the whole object.
    pub size: u64,
    /// The bytes that `stream` will bring.
    pub range: Range<u64>,
    pub etag: Option<String>,
    pub stream: BoxStream<'static, Result<Bytes, StorageError>>,
}

impl Storage {
    /// Size and etag of an object.
    ///
    /// # Errors
    /// `not_found`, or what keeps the store from answering.
    pub async fn head(&self, location: &Location) -> Result<ObjectInfo, StorageError> {
        if location.store == Store::File {
            return self.inner.roots.hold(location)?.info();
        }
        self.admit(location)?;
        let client = self.inner.clients.of(location)?;
        let meta = counted(Operation::Head, client.head(&key(location)?)).await;
        let meta = meta.map_err(|error| StorageError::from_store(location, &error))?;
        Ok(info(location.clone(), &meta))
    }

    /// Whether the object exists.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub async fn exists(&self, location: &Location) -> Result<bool, StorageError> {
        match self.head(location).await {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound { .. } | StorageError::NotAFile { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The files and folders directly in a folder; empty where there is none. An object that bears the
    /// folder's own name and a slash is no file: consoles and gateways put such markers.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub async fn list(&self, folder: &Location) -> Result<Listing, StorageError> {
        let mut listing = if folder.store == Store::File {
            match self.inner.roots.hold(folder) {
                Err(StorageError::NotFound { .. }) => Listing::default(),
                held => held?.list()?,
            }
        } else {
            self.list_objects(folder).await?
        };

        listing
            .files
            .sort_by(|a, b| a.location.key.cmp(&b.location.key));
        listing.folders.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listing)
    }

    async fn list_objects(&self, folder: &Location) -> Result<Listing, StorageError> {
        self.admit(folder)?;
        let client = self.inner.clients.of(folder)?;
        let key = key(folder)?;
        let listed = counted(Operation::List, client.list_with_delimiter(Some(&key))).await;
        let found = match listed {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Listing::default()),
            Err(error) => return Err(StorageError::from_store(folder, &error)),
        };

        // A marker's key loses its slash when it is read, and so is the folder's own.
        let objects = found
            .objects
            .iter()
            .filter(|meta| meta.location.as_ref() != folder.key);
        let files = objects
            .map(|meta| info(place_of(folder, &meta.location), meta))
            .collect();
        let prefixes = found.common_prefixes.iter();
        let folders = prefixes.map(|prefix| place_of(folder, prefix)).collect();
        Ok(Listing { files, folders })
    }

    /// A small object as a whole.
    ///
    /// # Errors
    /// `too_large` above `limit` bytes; `not_found`.
    pub async fn read_small(&self, location: &Location, limit: u64) -> Result<Bytes, StorageError> {
        let download = self.get_stream(location, None).await?;
        if download.size > limit {
            let (location, size) = (location.to_string(), download.size);
            return Err(StorageError::TooLarge {
                location,
                size,
                limit,
            });
        }
        collect(location, download).await
    }

    /// Some bytes of an object, for reading headers; fewer where it ends before `range` does.
    ///
    /// # Errors
    /// As [`Storage::head`].
    pub async fn read_range(
        &self,
        location: &Location,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let size = self.head(location).await?.size;
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        collect(location, self.get_stream(location, Some(range)).await?).await
    }

    /// Streams an object or a range of it.
    ///
    /// # Errors
    /// As [`Storage::head`]; a range that begins past the end is `storage_unavailable`.
    pub async fn get_stream(
        &self,
        location: &Location,
        range: Option<Range<u64>>,
    ) -> Result<Download, StorageError> {
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        self.get(location, options).await
    }

    pub(super) async fn get(
        &self,
        location: &Location,
        options: GetOptions,
    ) -> Result<Download, StorageError> {
        if location.store == Store::File {
            return self.get_file(location, options.range);
        }

        self.admit(location)?;
        let client = self.inner.clients.of(location)?;
        let found = counted(Operation::Get, client.get_opts(&key(location)?, options)).await;
        let found = found.map_err(|error| StorageError::from_store(location, &error))?;
        let (size, etag, range) = (
            found.meta.size,
            found.meta.e_tag.clone(),
            found.range.clone(),
        );

        self.watch(location, etag.as_deref())?;
        let place = location.clone();
        let stream = found
            .into_stream()
            .map_err(move |error| StorageError::from_store(&place, &error))
            .boxed();

        Ok(Download {
            size,
            range,
            etag,
            stream,
        })
    }

    fn get_file(
        &self,
        location: &Location,
        range: Option<GetRange>,
    ) -> Result<Download, StorageError> {
        let Regular { file, size, mark } = self.inner.roots.open(location)?;
        self.watch(location, Some(&mark))?;
        let range = match range {
            None => 0..size,
            Some(range) => {
                let within = range.as_range(size);
                within.map_err(|error| StorageError::unavailable(location, &error))?
            }
        };

        let stream = local::stream(file, range.clone()).map_err(StorageError::io_at(location))?;
        let place = location.clone();
        let stream = stream
            .map_err(move |error| StorageError::from_io(&place, &error))
            .boxed();

        Ok(Download {
            size,
            range,
            etag: Some(mark),
            stream,
        })
    }

    /// Size and SHA-256 of an object, read through.
    ///
    /// # Errors
    /// As [`Storage::head`].
    pub async fn digest(&self, location: &Location) -> Result<Published, StorageError> {
        let mut download = self.get_stream(location, None).await?;
        let mut running = Running::default();
        while let Some(chunk) = download.stream.try_next().await? {
            running.update(&chunk);
        }
        complete(location, running.size(), download.size)?;
        let (size, sha256) = running.finish();
        Ok(Published { size, sha256 })
    }
}

async fn collect(location: &Location, mut download: Download) -> Result<Bytes, StorageError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = download.stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }

    complete(
        location,
        bytes.len() as u64,
        download.range.end - download.range.start,
    )?;
    Ok(bytes.freeze())
}

fn complete(location: &Location, received: u64, size: u64) -> Result<(), StorageError> {
    if received == size {
        return Ok(());
    }
    if location.store == Store::File {
        return Err(StorageError::Changed {
            location: location.to_string(),
        });
    }

    Err(StorageError::Truncated {
        location: location.to_string(),
        received,
        size,
    })
}

/// An object of the store that a folder is in.
fn place_of(folder: &Location, key: &Key) -> Location {
    Location {
        store: folder.store.clone(),
        key: key.to_string(),
    }
}

fn info(location: Location, meta: &ObjectMeta) -> ObjectInfo {
    ObjectInfo {
        location,
        size: meta.size,
        etag: meta.e_tag.clone(),
    }
}

pub(super) fn key(location: &Location) -> Result<Key, StorageError> {
    Key::parse(&location.key).map_err(|error| StorageError::unavailable(location, &error))
}
