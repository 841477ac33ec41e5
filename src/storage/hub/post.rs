//! What is posted to the hub: with its token, which goes nowhere else, and tried again where the hub is busy.

use bytes::Bytes;
use object_store::{Error, Result};
use reqwest::{
    Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION},
};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::request::{
    Answer, ERROR_MESSAGE, HubServer, MAX_REDIRECTS, body_of, checked, denied, failed, text,
    unanswered, wait_of,
};
use crate::storage::tries::Tries;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const LARGE: &str = "application/vnd.git-lfs+json";

/// Something to be posted.
pub(super) struct Post {
    url: Url,
    kind: &'static str,
    body: Bytes,
}

impl Post {
    /// # Errors
    /// Never, for what has string keys.
    pub(super) fn json(url: Url, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(failed)?.into();
        Ok(Self {
            url,
            kind: JSON,
            body,
        })
    }

    /// In the words of git's server of large objects.
    pub(super) fn large(url: Url, body: &impl Serialize) -> Result<Self> {
        Ok(Self {
            kind: LARGE,
            ..Self::json(url, body)?
        })
    }

    /// Lines of JSON.
    pub(super) fn lines(url: Url, body: Vec<u8>) -> Self {
        Self {
            url,
            kind: LINES,
            body: body.into(),
        }
    }
}

impl HubServer {
    /// The hub's answer, as JSON.
    pub(super) async fn post<T: DeserializeOwned>(&self, post: &Post) -> Result<T> {
        body_of(self.posted(post).await?).await
    }

    /// The hub's answer, whatever is in it. Only what the hub has not taken is posted again: twice would be two
    /// commits.
    pub(super) async fn posted(&self, post: &Post) -> Result<Response> {
        let mut tries = Tries::default();
        loop {
            let response = self.post_once(post).await?;
            let is_busy = matches!(response.status().as_u16(), 429 | 503);
            if !is_busy || !tries.wait(wait_of(response.headers())).await {
                return accepted(response);
            }
        }
    }

    /// One request. A repository that was renamed is gone on to, on the hub itself.
    async fn post_once(&self, post: &Post) -> Result<Response> {
        let mut url = post.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.client.post(url.clone()).body(post.body.clone());
            request = request.header(CONTENT_TYPE, post.kind);
            if post.kind == LARGE {
                request = request.header(ACCEPT, LARGE);
            }
            if let (Some(token), true) = (&self.token, self.is_own(&url)) {
                request = request.header(AUTHORIZATION, token.bearer());
            }

            let response = request.send().await.map_err(unanswered)?;
            let is_moved = matches!(
                response.status(),
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            );
            let next =
                text(response.headers(), &LOCATION).and_then(|next| response.url().join(next).ok());
            match next.filter(|next| is_moved && self.is_own(next)) {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }

        Err(failed(format!(
            "{}: the hub sends on without an end",
            url.path()
        )))
    }
}

/// A refusal in the words of the hub, and what to do.
fn accepted(response: Response) -> Result<Response> {
    let path = response.url().path().to_owned();
    let said = text(response.headers(), &ERROR_MESSAGE).map(str::to_owned);
    let said = said.unwrap_or_else(|| response.status().to_string());

    match response.status().as_u16() {
        409 | 412 => Err(Error::Precondition {
            path,
            source: said.into(),
        }),
        401 | 403 | 404 => Err(denied(
            path,
            &said,
            "there is no such repository, or HF_TOKEN does not hold a token that may write to it; \
             a repository is made on the hub",
        )),
        _ => Ok(checked(Answer::plain(response))?.response),
    }
}
