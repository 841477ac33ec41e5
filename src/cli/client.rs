//! The commands' way to a service: one HTTP client, its errors told in the service's own words.

mod refused;

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use url::Url;

use crate::{
    config::secrets,
    contract::{ids::TransferId, report::Report},
    service::domain::transfers::Transfer,
};

pub use refused::{Fault, Problem, Refused};

/// How long a request may take, its answer included.
const TIMEOUT: Duration = Duration::from_secs(90);

/// How long a file may take to come.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_hours(24);

/// Which service, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// Address of the service.
    #[arg(
        long,
        env = "RETUNE_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub url: Url,
    /// Key to authenticate with; not needed where the service runs open. `RETUNE_API_KEY_FILE` names a file that has it.
    #[arg(
        long,
        env = "RETUNE_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub api_key: Option<String>,
}

/// A transfer with the tag of its revision.
#[derive(Clone, Debug)]
pub struct Seen {
    pub transfer: Transfer,
    /// The document as it came, for `--json`.
    pub document: Value,
    pub etag: Option<String>,
}

/// Talks to one service.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    connection: Connection,
    /// How long a change may take.
    timeout: Duration,
}

impl Client {
    /// # Errors
    /// A URL that is not http(s), or a client that cannot be set up.
    pub fn open(mut connection: Connection) -> anyhow::Result<Self> {
        if connection.api_key.is_none() {
            connection.api_key = secrets::variable("RETUNE_API_KEY")?;
        }
        if !matches!(connection.url.scheme(), "http" | "https") {
            bail!(
                "{} is no http or https address (RETUNE_URL)",
                connection.url
            );
        }

        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .user_agent(concat!("retune/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("no HTTP client")?;
        Ok(Self {
            http,
            connection,
            timeout: TIMEOUT,
        })
    }

    /// For changes that the service answers only when it has read a model through.
    #[must_use]
    pub fn patient(self) -> Self {
        Self {
            timeout: Duration::from_hours(24),
            ..self
        }
    }

    fn request(&self, method: Method, segments: &[&str]) -> anyhow::Result<RequestBuilder> {
        Ok(self.authenticated(method, self.address(segments)?))
    }

    fn authenticated(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.connection.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    fn address(&self, segments: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.connection.url.clone();
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().extend(["v1"]).extend(segments);
            }
            Err(()) => bail!(
                "{} cannot be a base address (RETUNE_URL)",
                self.connection.url
            ),
        }
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.with_context(|| {
            format!(
                "no answer from {}; is `retune serve` running?",
                self.connection.url
            )
        })?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let retry_after = retry_after(&response);
            let body = response.bytes().await.unwrap_or_default();
            let problem = serde_json::from_slice(&body).unwrap_or_default();
            return Err(Refused {
                status,
                problem,
                retry_after,
            }
            .into());
        }
        Ok(response)
    }

    /// Submits a specification. The idempotency key makes a repeated call harmless.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn submit(&self, spec: &Value, idempotency_key: &str) -> anyhow::Result<Seen> {
        let request = self
            .request(Method::POST, &["transfers"])?
            .header("idempotency-key", idempotency_key)
            .json(spec);
        seen(self.send(request).await?).await
    }

    /// Reads a transfer, at once or when its status changes within `wait` seconds; `None` when it is
    /// still as `etag` says.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn get(
        &self,
        id: TransferId,
        etag: Option<&str>,
        wait: u64,
    ) -> anyhow::Result<Option<Seen>> {
        let mut url = self.address(&["transfers", &id.to_string()])?;
        if wait > 0 {
            url.query_pairs_mut().append_pair("wait", &wait.to_string());
        }

        let mut request = self.authenticated(Method::GET, url);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }

        let response = self.send(request).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }

        seen(response).await.map(Some)
    }

    /// One page of transfers.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn list(&self, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.read(&["transfers"], query).await
    }

    /// What lies at a path below `/v1`.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn read(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut url = self.address(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        document(self.send(self.authenticated(Method::GET, url)).await?).await
    }

    /// Changes something at a path below `/v1`.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn write(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.request(method, path)?.timeout(self.timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        document(self.send(request).await?).await
    }

    /// Removes what lies at a path below `/v1`.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn delete(&self, path: &[&str], query: &[(&str, String)]) -> anyhow::Result<()> {
        let mut url = self.address(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }

        self.send(
            self.authenticated(Method::DELETE, url)
                .timeout(self.timeout),
        )
        .await
        .map(drop)
    }

    /// A file of a result, from a byte on, to be read as it comes.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn file(&self, id: &str, name: &str, from: u64) -> anyhow::Result<Response> {
        let path: Vec<&str> = ["transfers", id, "files"]
            .into_iter()
            .chain(name.split('/'))
            .collect();
        let mut request = self.request(Method::GET, &path)?.timeout(DOWNLOAD_TIMEOUT);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        self.send(request).await
    }

    /// Begins a retune. The idempotency key makes a repeated call harmless.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn begin_retune(&self, body: &Value, key: &str) -> anyhow::Result<Value> {
        let request = self
            .request(Method::POST, &["retunes"])?
            .header("idempotency-key", key);
        document(self.send(request.timeout(self.timeout).json(body)).await?).await
    }

    /// The report of a finished transfer.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn report(&self, id: TransferId) -> anyhow::Result<Report> {
        let report = self
            .read(&["transfers", &id.to_string(), "report"], &[])
            .await?;
        Ok(serde_json::from_value(report)?)
    }

    /// Asks a transfer to stop.
    ///
    /// # Errors
    /// [`Refused`], or no service.
    pub async fn cancel(&self, id: TransferId) -> anyhow::Result<Seen> {
        let request = self.request(Method::POST, &["transfers", &id.to_string(), "cancel"])?;
        seen(self.send(request).await?).await
    }
}

/// In seconds; a date says nothing here.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

async fn document(response: Response) -> anyhow::Result<Value> {
    response
        .json()
        .await
        .context("the answer is not JSON; is this a retune service?")
}

async fn seen(response: Response) -> anyhow::Result<Seen> {
    let etag = response.headers().get(header::ETAG);
    let etag = etag
        .and_then(|value| value.to_str().ok())
        .map(ToOwned::to_owned);
    let document = document(response).await?;
    let transfer = serde_json::from_value(document.clone()).context("the answer is no transfer")?;

    Ok(Seen {
        transfer,
        document,
        etag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_a_path_are_kept() {
        // As `main` does; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = Url::parse("http://example.org/tune/").unwrap();
        let client = Client::open(Connection { url, api_key: None }).unwrap();
        let request = client
            .request(Method::GET, &["transfers"])
            .unwrap()
            .build()
            .unwrap();
        assert_eq!(
            request.url().as_str(),
            "http://example.org/tune/v1/transfers"
        );
    }
}
