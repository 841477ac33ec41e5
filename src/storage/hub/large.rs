//! Large files go to another host: the hub says where by git's protocol for large objects, and the host sees no token.
//!
//! Order of events: the hub is asked for many files at once and answers for each with an address, with several for
//! the parts of a very large one, or with none where it has the content. What was sent is told to the hub in the end.

use std::{collections::BTreeMap, io::SeekFrom, path::Path, time::Duration};

use object_store::Result;
use reqwest::{
    Body, Response,
    header::{CONTENT_LENGTH, ETAG},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::ReaderStream;
use url::Url;

use super::{
    commit::HubFile,
    post::Post,
    request::{Hub, HubServer, failed, is_passing, text, unanswered, wait_of},
};
use crate::storage::tries::Tries;

/// Bytes read of a file at once.
const PIECE: usize = 256 << 10;
/// The slowest way to the other host that is waited for.
const MIN_BYTES_PER_SECOND: u64 = 64 << 10;
/// What a request may take beside its bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Deserialize)]
struct Batch {
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    error: Option<Refusal>,
    #[serde(default)]
    actions: Actions,
}

#[derive(Deserialize)]
struct Refusal {
    code: u16,
    message: String,
}

/// What is to be done for a file; nothing where the hub has its content.
#[derive(Default, Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: Url,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

/// Some bytes of a file of this machine.
struct Part<'a> {
    path: &'a Path,
    start: u64,
    length: u64,
}

impl Hub {
    /// Sends the content of files that the hub does not have yet.
    ///
    /// # Errors
    /// As the hub or the other host refuses; a file that cannot be read.
    pub(super) async fn send_large(&self, repository: &str, files: &[&HubFile<'_>]) -> Result<()> {
        let objects: Vec<_> = files
            .iter()
            .map(|file| json!({"oid": file.sha256, "size": file.size}))
            .collect();
        let asked = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "objects": objects,
            "hash_algo": "sha256", "ref": {"name": self.repository.revision()},
        });
        let post = Post::large(self.large_objects(repository), &asked)?;
        let Batch { transfer, objects } = self.server.post(&post).await?;
        let known = ["basic", "multipart"];
        if let Some(other) = transfer.filter(|name| !known.contains(&name.as_str())) {
            return Err(failed(format!(
                "the hub takes large files by {other:?} alone"
            )));
        }

        for file in files {
            let object = objects.iter().find(|object| object.oid == file.sha256);
            let object =
                object.ok_or_else(|| failed(format!("the hub says nothing of {}", file.name)))?;
            self.server.send_object(file, object).await?;
        }

        Ok(())
    }
}

impl HubServer {
    async fn send_object(&self, file: &HubFile<'_>, object: &Object) -> Result<()> {
        if let Some(Refusal { code, message }) = &object.error {
            return Err(failed(format!("{}: {code}: {message}", file.name)));
        }
        let Some(upload) = &object.actions.upload else {
            return Ok(());
        };

        match upload.part_size()? {
            None => {
                let whole = Part {
                    path: file.path,
                    start: 0,
                    length: file.size,
                };
                self.put(&upload.href, &whole).await?;
            }
            Some(size) => self.send_parts(file, upload, size).await?,
        }
        if let Some(verify) = &object.actions.verify {
            let sent = json!({"oid": file.sha256, "size": file.size});
            self.posted(&Post::json(self.followed(&verify.href)?, &sent)?)
                .await?;
        }

        Ok(())
    }

    async fn send_parts(&self, file: &HubFile<'_>, upload: &Action, size: u64) -> Result<()> {
        let places = upload.parts()?;
        if places.len() as u64 != file.size.div_ceil(size) {
            let detail = format!(
                "{}: the hub names {} parts of {size} bytes",
                file.name,
                places.len()
            );
            return Err(failed(detail));
        }

        let mut parts = Vec::with_capacity(places.len());
        for (number, place) in (1_u64..).zip(&places) {
            let start = (number - 1) * size;
            let part = Part {
                path: file.path,
                start,
                length: size.min(file.size - start),
            };
            let answer = self.put(place, &part).await?;
            let etag = text(answer.headers(), &ETAG)
                .ok_or_else(|| failed("the host of large files does not say what it took"))?;
            parts.push(json!({"partNumber": number, "etag": etag}));
        }

        let all = json!({"oid": file.sha256, "parts": parts});
        self.posted(&Post::large(self.followed(&upload.href)?, &all)?)
            .await?;

        Ok(())
    }

    /// Puts bytes to the other host, again where it is busy. Its address is all that it needs to know us by.
    async fn put(&self, place: &Url, part: &Part<'_>) -> Result<Response> {
        let place = self.followed(place)?;
        let mut tries = Tries::default();

        loop {
            let answer = self.put_once(&place, part).await;
            let asked_to_wait = match &answer {
                Ok(response) if is_passing(response.status()) => wait_of(response.headers()),
                Ok(_) => return taken(answer?),
                Err(error) => {
                    tracing::debug!(%error, "a part of a file was not sent");
                    None
                }
            };
            if !tries.wait(asked_to_wait).await {
                return taken(answer?);
            }
        }
    }

    async fn put_once(&self, place: &Url, part: &Part<'_>) -> Result<Response> {
        let mut file = File::open(part.path).await.map_err(failed)?;
        file.seek(SeekFrom::Start(part.start))
            .await
            .map_err(failed)?;
        let pieces = ReaderStream::with_capacity(file.take(part.length), PIECE);
        let limit = REQUEST_TIMEOUT + Duration::from_secs(part.length / MIN_BYTES_PER_SECOND);
        let request = self
            .uploads
            .put(place.clone())
            .header(CONTENT_LENGTH, part.length)
            .timeout(limit)
            .body(Body::wrap_stream(pieces));

        request.send().await.map_err(unanswered)
    }

    /// # Errors
    /// Of an address by plain http that a hub by https names.
    fn followed(&self, url: &Url) -> Result<Url> {
        if self.may_follow(url) {
            Ok(url.clone())
        } else {
            Err(failed(format!(
                "the hub names an address that is not https, of {:?}",
                url.host_str().unwrap_or_default()
            )))
        }
    }
}

impl Action {
    /// Bytes of a part, where the file goes in parts.
    fn part_size(&self) -> Result<Option<u64>> {
        let Some(size) = self.header.get("chunk_size") else {
            return Ok(None);
        };
        let read = size.as_u64().or_else(|| size.as_str()?.parse().ok());
        let read = read.filter(|size| *size > 0);
        let read = read.ok_or_else(|| failed(format!("the hub says parts of {size} bytes")));
        read.map(Some)
    }

    /// The addresses of the parts, in their order.
    fn parts(&self) -> Result<Vec<Url>> {
        let numbered = self
            .header
            .iter()
            .filter_map(|(name, place)| Some((name.parse::<u32>().ok()?, place)));
        let places: BTreeMap<u32, &Value> = numbered.collect();
        let places = places.into_values().map(|place| {
            let place = place.as_str().and_then(|text| Url::parse(text).ok());
            place.ok_or_else(|| failed("the hub names a part by no address"))
        });
        places.collect()
    }
}

/// # Errors
/// Of an answer that is a refusal.
fn taken(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else {
        Err(failed(format!(
            "the host of large files refuses them: {status}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(header: &Value) -> Action {
        let action = json!({"href": "https://hub.example/complete", "header": header});
        serde_json::from_value(action).unwrap()
    }

    #[test]
    fn parts_come_in_the_order_of_their_numbers() {
        let parts = action(&json!({
            "chunk_size": "10", "00002": "https://a.example/2", "00010": "https://a.example/10",
            "00001": "https://a.example/1",
        }));
        assert_eq!(parts.part_size().unwrap(), Some(10));
        let places: Vec<String> = parts
            .parts()
            .unwrap()
            .iter()
            .map(|url| url.path().to_owned())
            .collect();
        assert_eq!(places, ["/1", "/2", "/10"]);
        assert_eq!(action(&json!({})).part_size().unwrap(), None);
        assert!(action(&json!({"chunk_size": "0"})).part_size().is_err());

        assert!(action(&json!({"1": "not an address"})).parts().is_err());
    }
}
