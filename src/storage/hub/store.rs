//! A [`Hub`] as an object store that refuses to be written to.

use std::ops::Range;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartId,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
    multipart::{MultipartStore, PartId},
    path::Path as Key,
};
use reqwest::{
    Method,
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName},
};

use super::{
    place::Place,
    request::{Answer, Hub, failed, nothing, plain, unanswered},
};

impl std::fmt::Display for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hub")
    }
}

#[async_trait]
impl ObjectStore for Hub {
    async fn get_opts(&self, location: &Key, options: GetOptions) -> Result<GetResult> {
        let place = Place::of(location.as_ref())?;
        let url = self.file(place.repository, place.path);
        let method = if options.head {
            Method::HEAD
        } else {
            Method::GET
        };

        let range = options
            .range
            .as_ref()
            .filter(|_| !options.head)
            .map(in_words);
        let answer = self.server.send(method, url, range).await?;

        let (size, sent) = extent(&answer)?;
        let Answer { response, etag, .. } = answer;
        let etag = etag.or_else(|| header(response.headers(), &ETAG).map(plain));
        let meta = ObjectMeta {
            location: location.clone(),
            // The hub does not tell it with a file.
            last_modified: nothing(),
            size,
            e_tag: etag,
            version: None,
        };

        options.check_preconditions(&meta)?;
        let wanted = options.range.as_ref().filter(|_| !options.head);
        let wanted = wanted.map_or(Ok(0..size), |range| range.as_range(size).map_err(failed))?;
        if sent != wanted {
            return Err(failed(format!(
                "the hub sent bytes {sent:?} for {wanted:?}"
            )));
        }

        let stream = if options.head {
            futures::stream::empty().boxed()
        } else {
            response.bytes_stream().map_err(unanswered).boxed()
        };

        Ok(GetResult {
            payload: GetResultPayload::Stream(stream),
            meta,
            range: wanted,
            attributes: nothing(),
            extensions: nothing(),
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        let key = prefix.map(Key::as_ref).unwrap_or_default();
        self.tree(&Place::of(key)?).await
    }

    fn list(&self, _prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(async { Err(read_only()) }).boxed()
    }

    fn delete_stream(
        &self,
        _locations: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        futures::stream::once(async { Err(read_only()) }).boxed()
    }

    async fn put_opts(&self, _: &Key, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Key,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    async fn copy_opts(&self, _: &Key, _: &Key, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}

#[async_trait]
impl MultipartStore for Hub {
    async fn create_multipart(&self, _: &Key) -> Result<MultipartId> {
        Err(read_only())
    }

    async fn put_part(&self, _: &Key, _: &MultipartId, _: usize, _: PutPayload) -> Result<PartId> {
        Err(read_only())
    }

    async fn complete_multipart(
        &self,
        _: &Key,
        _: &MultipartId,
        _: Vec<PartId>,
    ) -> Result<PutResult> {
        Err(read_only())
    }

    async fn abort_multipart(&self, _: &Key, _: &MultipartId) -> Result<()> {
        Err(read_only())
    }
}

fn read_only() -> Error {
    Error::NotSupported {
        source: "a hub is only read from".into(),
    }
}

fn in_words(range: &GetRange) -> String {
    match range {
        GetRange::Bounded(range) => {
            format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
        }
        GetRange::Offset(start) => format!("bytes={start}-"),
        GetRange::Suffix(count) => format!("bytes=-{count}"),
    }
}

/// The file's size, and which bytes of it were sent.
fn extent(answer: &Answer) -> Result<(u64, Range<u64>)> {
    let headers = answer.response.headers();
    if let Some(range) = header(headers, &CONTENT_RANGE) {
        let (sent, size) =
            content_range(range).ok_or_else(|| failed(format!("Content-Range: {range}")))?;
        return Ok((size, sent));
    }

    let length = header(headers, &CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let size = answer.size.or(length);
    let size = size.ok_or_else(|| failed("the hub does not say how long the file is"))?;
    Ok((size, 0..size))
}

/// `bytes 0-9/100` as bytes 0 to 10 of 100.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first..last + 1, size))
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        assert_eq!(in_words(&GetRange::Bounded(2..5)), "bytes=2-4");
        assert_eq!(content_range("bytes 2-4/10"), Some((2..5, 10)));
        for wrong in ["bytes 4-2/10", "bytes 2-10/10", "bytes */10", "2-4/10"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
