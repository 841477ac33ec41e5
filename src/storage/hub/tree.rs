//! What lies in a folder of a repository.

use object_store::{ListResult, ObjectMeta, Result, path::Path as Key};
use serde::Deserialize;

use super::{
    place::Place,
    request::{Hub, Page, failed, nothing},
};

/// Entries of a folder at most: a repository with more is none of models or data sets.
const MAX_ENTRIES: usize = 100_000;

/// One entry, as the API has it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: Kind,
    path: String,
    #[serde(default)]
    size: u64,
    /// Of the content as git keeps it.
    oid: String,
    /// Of a large file, which git keeps as a pointer.
    lfs: Option<Lfs>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Directory,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
}

impl Hub {
    /// The folder, one level deep.
    ///
    /// # Errors
    /// As the hub refuses it.
    pub(super) async fn tree(&self, place: &Place<'_>) -> Result<ListResult> {
        let mut found = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: nothing(),
        };
        let mut next = Some(self.api(place.repository, "tree", place.path));

        while let Some(url) = next {
            let Page {
                body,
                next: further,
            } = self.server.json::<Vec<Entry>>(url).await?;
            for entry in body {
                let key = Key::parse(format!("{}/{}", place.repository, entry.path))?;
                match entry.kind {
                    Kind::Directory => found.common_prefixes.push(key),
                    Kind::File => found.objects.push(meta(key, entry)),
                    Kind::Other => {}
                }
            }
            if found.objects.len() + found.common_prefixes.len() > MAX_ENTRIES {
                return Err(failed(format!(
                    "more than {MAX_ENTRIES} files in one folder"
                )));
            }
            next = further;
        }
        Ok(found)
    }
}

fn meta(location: Key, entry: Entry) -> ObjectMeta {
    let etag = entry.lfs.map_or(entry.oid, |lfs| lfs.oid);
    ObjectMeta {
        location,
        last_modified: nothing(),
        size: entry.size,
        e_tag: Some(etag),
        version: None,
    }
}
