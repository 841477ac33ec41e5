//! Files on their way into a folder: written aside by one attempt, put in their places once they are
//! whole.
//!
//! Several attempts at one result may be under way without knowing of each other: a process that was
//! stopped, or a request that hung in a network, may come back long after its lease. So no attempt
//! writes, replaces or deletes what another may have written. It keeps its files where no other attempt
//! has anything, below `<folder>/.attempts/<attempt>/`; a large file of a store in a multipart upload to
//! its last name, which shows nothing until it is completed. Which attempt's files get their last names
//! is decided once (see `artifacts::result`), and from then on everybody who puts files in their places
//! puts the same bytes there: a request that arrives late, again or twice changes nothing.
//!
//! Copies instead of uploads to the last name were the alternative: every byte of a model would be
//! written twice, and stores copy at most 5 GiB in one request.
//!
//! The number of every upload is written down before its first part, so that whoever comes after a
//! process that was killed can end it.

mod clearing;
mod placing;
mod taken;

use std::io;

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesOrdered};
use object_store::{Error, multipart::PartId};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    Published, Storage, StorageError,
    location::{Location, Store},
    read::key,
    requests::{Operation, counted},
};
use taken::Taken;

/// Files up to this size go in one request.
const MAX_SINGLE_PUT_BYTES: u64 = 16 << 20;
/// Stores demand 5 MiB a part at least and 10 000 parts at most.
const MIN_PART_BYTES: u64 = 8 << 20;
const MAX_PARTS: u64 = 9_000;
/// Parts on their way at once.
const MAX_PARTS_IN_FLIGHT: usize = 4;

/// In a result's folder: what attempts keep until it has its place.
pub const ATTEMPTS: &str = ".attempts";
const FILES: &str = "files";
const UPLOADS: &str = "uploads";
/// Written first, so that a place that cannot be written to is found before anything is computed.
const BEGUN: &str = "begun";

/// The bytes of a file, in order.
pub(super) type Pieces<'a> = &'a mut dyn Iterator<Item = io::Result<Bytes>>;

/// A file that an attempt is to write aside.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    pub attempt: &'a Attempt,
    /// Relative to the folder.
    pub name: &'a str,
}

/// What a file is to hold.
pub struct Content<'a> {
    /// Bytes of all pieces together.
    pub size: u64,
    /// Asked for one after the other.
    pub pieces: Pieces<'a>,
}

/// One attempt at a folder.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: Uuid,
    folder: Location,
}

/// A file that is whole, and has not got its last name yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Relative to the folder.
    pub name: String,
    pub size: u64,
    pub sha256: String,
    /// Of a multipart upload to the last name; `None`: a file of the attempt's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<Upload>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Upload {
    id: String,
    parts: Vec<String>,
}

impl Attempt {
    /// A new attempt, that nobody else has the name of.
    pub fn new(folder: &Location) -> Self {
        Self::named(folder, Uuid::now_v7())
    }

    pub fn named(folder: &Location, id: Uuid) -> Self {
        Self {
            id,
            folder: folder.clone(),
        }
    }

    /// The folder of what this attempt alone writes and deletes.
    fn own(&self) -> Location {
        self.folder.joined(&format!("{ATTEMPTS}/{}", self.id))
    }

    fn file(&self, name: &str) -> Location {
        self.own().joined(&format!("{FILES}/{name}"))
    }

    /// Where the number of the upload of a file is written down.
    fn upload(&self, name: &str) -> Location {
        self.own().joined(&format!("{UPLOADS}/{name}"))
    }
}

impl Staged {
    fn content(&self) -> Published {
        Published {
            size: self.size,
            sha256: self.sha256.clone(),
        }
    }
}

impl Storage {
    /// Makes the attempt known, by its first write.
    pub(super) async fn begin_attempt(&self, attempt: &Attempt) -> Result<(), StorageError> {
        let begun = attempt.own().joined(BEGUN);
        self.publish_bytes(&begun, Bytes::from_static(b"begun\n"))
            .await
            .map(drop)
    }

    /// The attempts that have left something in a folder.
    pub(super) async fn attempts(&self, folder: &Location) -> Result<Vec<Attempt>, StorageError> {
        let found = self.list(&folder.joined(ATTEMPTS)).await?.folders;
        let ids = found
            .iter()
            .filter_map(|place| place.name().parse::<Uuid>().ok());
        Ok(ids.map(|id| Attempt::named(folder, id)).collect())
    }

    /// Writes a file of `size` bytes aside, in parts where it is large. Memory: the pieces on their way.
    pub(super) async fn stage(
        &self,
        file: NewFile<'_>,
        content: Content<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Staged, StorageError> {
        let NewFile { attempt, name } = file;
        let Content { size, pieces } = content;
        let place = attempt.folder.joined(name);
        self.admit(&place)?;
        let mut taken = Taken::new(&place, pieces, go_on);
        let mut upload = None;

        if place.store == Store::File {
            let aside = attempt.file(name);
            let folder = self.inner.roots.hold_parent(&aside)?;
            folder.create(aside.name(), &mut |file| taken.write_to(file))?;
        } else if size > MAX_SINGLE_PUT_BYTES {
            upload = Some(self.upload(file, size, &mut taken).await?);
        } else {
            let whole = taken.whole(size)?;
            self.publish_bytes(&attempt.file(name), whole).await?;
        }

        let (size, sha256) = taken.running.finish();
        Ok(Staged {
            name: name.to_owned(),
            size,
            sha256,
            upload,
        })
    }

    /// Sends a file in parts, and leaves it at that.
    async fn upload(
        &self,
        file: NewFile<'_>,
        size: u64,
        taken: &mut Taken<'_>,
    ) -> Result<Upload, StorageError> {
        let NewFile { attempt, name } = file;
        let (client, target) = (self.inner.clients.parts(taken.place)?, key(taken.place)?);
        let id = counted(Operation::CreateUpload, client.create_multipart(&target))
            .await
            .map_err(StorageError::store_at(&attempt.folder))?;
        self.publish_bytes(&attempt.upload(name), id.clone().into())
            .await?;
        let part = size.div_ceil(MAX_PARTS).max(MIN_PART_BYTES);
        let (mut going, mut parts, mut number) = (FuturesOrdered::new(), Vec::new(), 0);

        while let Some(payload) = taken.part(part)? {
            if going.len() == MAX_PARTS_IN_FLIGHT
                && let Some(done) = going.next().await
            {
                parts.push(sent(taken.place, done)?);
            }
            let (client, target, id) = (client.clone(), target.clone(), id.clone());
            let send = async move {
                let part = client.put_part(&target, &id, number, payload);
                counted(Operation::PutPart, part).await
            };
            going.push_back(AbortOnDropHandle::new(tokio::spawn(send)));
            number += 1;
        }

        while let Some(done) = going.next().await {
            parts.push(sent(taken.place, done)?);
        }

        Ok(Upload { id, parts })
    }
}

/// What servers say of an upload that was ended, or of a file that was removed. One that denies all
/// knowledge of an upload may mean that, too.
fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound { .. } | Error::PermissionDenied { .. }
    )
}

fn sent(
    place: &Location,
    done: Result<object_store::Result<PartId>, tokio::task::JoinError>,
) -> Result<String, StorageError> {
    let done = done.map_err(|error| StorageError::unavailable(place, &error))?;
    let part = done.map_err(|error| StorageError::from_store(place, &error))?;
    Ok(part.content_id)
}
