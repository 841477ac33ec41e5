//! One request to the hub: its token, its redirects, its refusals, and another try where it is busy.

use std::{sync::Arc, time::Duration};

use object_store::{Error, Result};
use reqwest::{
    Client, ClientBuilder, Method, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, LINK, LOCATION, RANGE, RETRY_AFTER},
    redirect,
};
use serde::de::DeserializeOwned;
use url::Url;

use super::config::{HubConfig, HubToken};
use crate::storage::{location::HubRepository, tls::install_provider, tries::Tries};

/// A repository that was renamed is a redirect, and a large file another.
pub(super) const MAX_REDIRECTS: usize = 5;
/// Bytes of a JSON answer at most.
const MAX_JSON: usize = 16 << 20;

const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
pub(super) const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// A hub, with the token that it is asked with.
#[derive(Debug)]
pub struct HubServer {
    pub(super) client: Client,
    /// Whose requests take as long as a file is large.
    pub(super) uploads: Client,
    pub(super) address: Url,
    pub(super) token: Option<HubToken>,
}

/// The repositories of one kind at one revision.
#[derive(Clone, Debug)]
pub struct Hub {
    pub server: Arc<HubServer>,
    pub repository: HubRepository,
}

/// The answer of the host that has the bytes, with what the hub itself said of them.
pub(super) struct Answer {
    pub response: Response,
    /// Of the whole file.
    pub size: Option<u64>,
    /// Of the file's content, whichever host sends it.
    pub etag: Option<String>,
    /// The hub has sent on, and its own word is all that was asked for.
    is_told: bool,
}

impl Answer {
    /// Of a host that was asked for no file.
    pub(super) fn plain(response: Response) -> Self {
        Self {
            response,
            size: None,
            etag: None,
            is_told: false,
        }
    }
}

/// A JSON answer.
pub(super) struct Page<T> {
    pub body: T,
    /// Where the list goes on.
    pub next: Option<Url>,
}

impl HubServer {
    /// # Errors
    /// When the hub's address cannot be used.
    pub fn new(config: &HubConfig) -> Result<Self> {
        install_provider();
        let address = config.address().map_err(failed)?;

        Ok(Self {
            client: client()
                .read_timeout(Duration::from_mins(1))
                .build()
                .map_err(failed)?,
            uploads: client().build().map_err(failed)?,
            address,
            token: config.token(),
        })
    }
}

fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("retune/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
}

impl HubServer {
    /// Asks for a file, `range` in the words of the header.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        range: Option<String>,
    ) -> Result<Answer> {
        let mut tries = Tries::default();

        loop {
            let answer = self.follow(&method, url.clone(), range.as_deref()).await;
            let asked_to_wait = match &answer {
                Ok(answer) if is_passing(answer.response.status()) => {
                    wait_of(answer.response.headers())
                }
                Err(error) if error.is_connect() || error.is_timeout() => None,
                _ => return checked(answer.map_err(unanswered)?),
            };
            if !tries.wait(asked_to_wait).await {
                return checked(answer.map_err(unanswered)?);
            }
        }
    }

    /// One request, redirects followed. The token goes to the hub alone. What the hub says of a file is kept
    /// from the answer that sends on to another host.
    async fn follow(
        &self,
        method: &Method,
        mut url: Url,
        range: Option<&str>,
    ) -> reqwest::Result<Answer> {
        let (mut size, mut etag) = (None, None);
        let mut redirects = 0;

        loop {
            let mut request = self.client.request(method.clone(), url.clone());
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            if let (Some(token), true) = (&self.token, self.is_own(&url)) {
                request = request.header(AUTHORIZATION, token.bearer());
            }

            let response = request.send().await?;
            let headers = response.headers();
            size = size.or_else(|| text(headers, &LINKED_SIZE)?.parse().ok());
            etag = etag.or_else(|| text(headers, &LINKED_ETAG).map(plain));
            let next = text(headers, &LOCATION).and_then(|next| url.join(next).ok());
            let next = next.filter(|next| self.may_follow(next));
            // The hub's own word is all that a look at a file asks for.
            let sends_on = response.status().is_redirection();
            let is_told = sends_on && method == Method::HEAD && size.is_some();
            match next.filter(|_| sends_on && !is_told) {
                Some(next) if redirects < MAX_REDIRECTS => (url, redirects) = (next, redirects + 1),
                _ => {
                    return Ok(Answer {
                        response,
                        size,
                        etag,
                        is_told,
                    });
                }
            }
        }
    }

    /// A JSON answer of the API.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: Url) -> Result<Page<T>> {
        let Answer { response, .. } = self.send(Method::GET, url, None).await?;
        let next = text(response.headers(), &LINK).and_then(next_of);
        // A page is of the hub, whatever it says.
        let next = next.filter(|next| self.is_own(next));
        let body = body_of(response).await?;
        Ok(Page { body, next })
    }

    /// Whether an address is the hub's, which alone sees the token.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.address.origin()
    }

    /// Whether an address may be gone on to: what https has begun goes on by https.
    pub(super) fn may_follow(&self, url: &Url) -> bool {
        [self.address.scheme(), "https"].contains(&url.scheme())
    }
}

/// The JSON of an answer.
pub(super) async fn body_of<T: DeserializeOwned>(mut response: Response) -> Result<T> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if bytes.len() + chunk.len() > MAX_JSON {
            return Err(failed("the hub's answer is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(failed)
}

/// Whether another try may be answered otherwise.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

pub(super) fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    text(headers, &RETRY_AFTER)?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// A refusal in the words of the hub, and what to do.
pub(super) fn checked(answer: Answer) -> Result<Answer> {
    let Answer { response, .. } = &answer;
    let status = response.status();
    if status.is_success() || answer.is_told {
        return Ok(answer);
    }
    if status.is_redirection() {
        return Err(failed(format!(
            "{}: the hub sends on without an end",
            response.url().path()
        )));
    }

    let path = response.url().path().to_owned();
    let headers = response.headers();
    let code = text(headers, &ERROR_CODE).unwrap_or_default();
    let said = text(headers, &ERROR_MESSAGE).unwrap_or(status.as_str());

    Err(match (status.as_u16(), code) {
        (_, "GatedRepo") => denied(
            path,
            said,
            "accept its terms on the hub, with the account of the token",
        ),
        (_, "RevisionNotFound") => denied(
            path,
            said,
            "the repository has no such branch, tag or commit",
        ),
        // Of what the token may not see the hub does not say that it is there.
        (401 | 403, _) | (404, "RepoNotFound") => denied(
            path,
            said,
            "there is no such repository, or it is private; HF_TOKEN has to hold a token that may read it",
        ),
        (404, _) => Error::NotFound {
            path,
            source: said.to_owned().into(),
        },
        _ => failed(format!("{status}: {said}")),
    })
}

pub(super) fn denied(path: String, said: &str, advice: &str) -> Error {
    Error::PermissionDenied {
        path,
        source: format!("{said}; {advice}").into(),
    }
}

pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// An etag without its quotes.
pub(super) fn plain(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// The address of `rel="next"`.
fn next_of(link: &str) -> Option<Url> {
    let next = link.split(',').find(|one| one.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    Url::parse(address).ok()
}

/// What a hub does not tell: the time of a change, attributes.
pub(super) fn nothing<T: Default>() -> T {
    T::default()
}

pub(super) fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: "hub",
        source: source.into(),
    }
}

/// A request without an answer, or without all of it. It is told without its address: that of a large file has a
/// signature in it, by which anybody may read or write the file for a time.
pub(super) fn unanswered(error: reqwest::Error) -> Error {
    failed(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let link = r#"<https://hub.example/a?cursor=b>; rel="next""#;
        assert_eq!(
            next_of(link).unwrap().as_str(),
            "https://hub.example/a?cursor=b"
        );
        assert_eq!(next_of(r#"<https://hub.example/a>; rel="prev""#), None);
        assert_eq!(plain(r#"W/"ab""#), "ab");
    }

    #[tokio::test]
    async fn a_signed_address_is_not_told() {
        let signed = "http://127.0.0.1:1/model?X-Amz-Signature=secret";
        let error = reqwest::get(signed).await.unwrap_err();
        assert!(error.to_string().contains("secret"), "the library tells it");

        let mut told = String::new();
        let error = unanswered(error);
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            told += &error.to_string();
            cause = error.source();
        }

        assert!(!told.contains("secret"), "{told}");
    }
}
