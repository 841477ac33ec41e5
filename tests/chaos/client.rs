//! Clients as they should be: they name each job by a key of their own and ask again while the
//! service is away.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use super::{Failure, case::Expected, lock};

/// The service may be away for so long.
const PATIENCE: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(200);

/// A job that a client has sent, by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub key: String,
    /// Every identifier that was ever answered; there must be one.
    pub ids: Vec<Uuid>,
    pub expected: Expected,
}

/// What the clients of a run know.
#[derive(Default)]
pub struct Book {
    submitted: Mutex<Vec<Submitted>>,
    answers: Mutex<BTreeMap<String, u64>>,
    complaints: Mutex<Vec<String>>,
}

impl Book {
    pub fn submitted(&self) -> Vec<Submitted> {
        lock(&self.submitted).clone()
    }

    /// How often each kind of answer came: a status, or `no answer`.
    pub fn answers(&self) -> BTreeMap<String, u64> {
        lock(&self.answers).clone()
    }

    /// What somebody saw that must not be.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    pub fn complain(&self, of: String) {
        lock(&self.complaints).push(of);
    }

    fn answered(&self, kind: String) {
        *lock(&self.answers).entry(kind).or_default() += 1;
    }
}

/// Whether a client that is not a fool asks again after this answer.
fn asks_again(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// One client of the services at `urls`, of which it uses another whenever one does not answer.
pub struct Client<'a> {
    http: reqwest::Client,
    urls: &'a [String],
    book: &'a Book,
}

impl<'a> Client<'a> {
    pub fn new(urls: &'a [String], book: &'a Book) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { http, urls, book })
    }

    /// Submits a job and follows it to its end, which is returned.
    pub async fn carry(
        &self,
        key: &str,
        spec: &Value,
        expected: Expected,
    ) -> Result<Value, Failure> {
        let keyed = Some((key, spec));
        let first = self.ask(Method::POST, "/v1/transfers", keyed).await?;
        let id = id_of(&first)?;
        let place = {
            let mut submitted = lock(&self.book.submitted);
            submitted.push(Submitted {
                key: key.to_owned(),
                ids: vec![id],
                expected,
            });
            submitted.len() - 1
        };
        // A client that was restarted sends it again.
        let again = id_of(&self.ask(Method::POST, "/v1/transfers", keyed).await?)?;
        lock(&self.book.submitted)[place].ids.push(again);
        loop {
            let path = format!("/v1/transfers/{id}?wait=10");
            let transfer = self.ask(Method::GET, &path, None).await?;
            if transfer["finished_at"].is_string() {
                return Ok(transfer);
            }
        }
    }

    /// Asks until there is an answer that counts.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, Failure> {
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            let url = format!("{}{path}", self.urls[tries % self.urls.len()]);
            tries += 1;
            let mut request = self.http.request(method.clone(), url);
            if let Some((key, body)) = body {
                request = request.header("idempotency-key", key).json(body);
            }
            let answer = match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    self.book.answered(status.as_u16().to_string());
                    if status.is_success() {
                        if let Ok(body) = answer.json().await {
                            return Ok(body);
                        }
                        self.book.answered("broken answer".into());
                        "broken answer".to_owned()
                    } else if asks_again(status) {
                        status.to_string()
                    } else {
                        let text = answer.text().await.unwrap_or_default();
                        eprintln!("{method} {path}: {status} {text}");
                        if status.is_client_error() {
                            return Err(format!("{method} {path}: {status} {text}").into());
                        }
                        // Counted as a violation; the run goes on with a retry all the same.
                        status.to_string()
                    }
                }
                Err(error) => {
                    self.book.answered("no answer".into());
                    error.to_string()
                }
            };
            if begun.elapsed() > PATIENCE {
                return Err(
                    format!("{method} {path}: no answer that counts, at last {answer}").into(),
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// How often answers came after which a sensible client would have given up.
pub fn unforgivable(answers: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let bad = |kind: &str| {
        let status = StatusCode::from_bytes(kind.as_bytes());
        status.is_ok_and(|status| !status.is_success() && !asks_again(status))
    };
    answers
        .iter()
        .filter(|(kind, _)| bad(kind))
        .map(|(kind, n)| (kind.clone(), *n))
        .collect()
}

fn id_of(transfer: &Value) -> Result<Uuid, Failure> {
    Ok(transfer["id"]
        .as_str()
        .ok_or_else(|| format!("no id: {transfer}"))?
        .parse()?)
}
