//! A Hugging Face hub in this process, as its own library meets it: revisions, folders page by page, tokens,
//! renamed repositories, large files on another host, and commits. It can be told to misbehave.

mod commits;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use retune::storage::{HubConfig, HubToken};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, runtime::Handle};

/// From this size on a file lies on the other host.
const LARGE: usize = 64;
/// Bytes that are sent at once of an answer that breaks off.
const PIECE: usize = 64 << 10;
/// Entries of a page.
const PAGE: usize = 2;
pub const TOKEN: &str = "hf_of_the_test";

/// A running hub and the host of its large files.
#[derive(Clone)]
pub struct HubServer {
    pub address: String,
    files_address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    repositories: Mutex<BTreeMap<String, Repository>>,
    /// Answers that are 429 instead.
    busy: AtomicUsize,
    /// Answers of the other host that break off in the middle.
    breaks: AtomicUsize,
    /// What the other host was asked for, and with what token.
    asked: Mutex<Vec<Asked>>,
    /// Large files that were sent, by their digests, and the parts of others.
    objects: Mutex<BTreeMap<String, Bytes>>,
    parts: Mutex<BTreeMap<String, BTreeMap<usize, Bytes>>>,
    /// A commit that somebody else makes before the next one.
    moves: AtomicUsize,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub range: Option<String>,
    pub token: Option<String>,
}

#[derive(Default)]
struct Repository {
    is_gated: bool,
    renamed: Option<String>,
    /// Branches and tags.
    revisions: BTreeMap<String, String>,
    commits: BTreeMap<String, BTreeMap<String, Bytes>>,
}

impl HubServer {
    pub fn start(handle: &Handle) -> Self {
        handle.block_on(Self::open())
    }

    pub async fn open() -> Self {
        let [hub, files] = [listener().await, listener().await];
        let state = Arc::<State>::default();
        let server = Self {
            address: address(&hub),
            files_address: address(&files),
            state,
        };
        let (of_hub, of_files) = (server.clone(), server.clone());
        let hub_app = Router::new()
            .fallback(move |request: Request| async move { of_hub.ask(request).await });
        let files_app = Router::new()
            .fallback(move |request: Request| async move { of_files.take(request).await });
        tokio::spawn(async move { axum::serve(hub, hub_app).await });
        tokio::spawn(async move { axum::serve(files, files_app).await });
        server
    }

    /// How storage reaches it.
    pub fn config(&self, token: Option<&str>) -> HubConfig {
        HubConfig {
            endpoint: Some(self.address.clone()),
            allow_http: true,
            token: token.and_then(|token| HubToken::new(token.to_owned())),
        }
    }

    /// A commit of these files, to which the branch moves; its name. `repository` is `org/name`, or
    /// `datasets/org/name`.
    pub fn commit(&self, repository: &str, branch: &str, files: &[(&str, &[u8])]) -> String {
        let files: BTreeMap<_, _> = files
            .iter()
            .map(|(path, bytes)| ((*path).to_owned(), Bytes::copy_from_slice(bytes)))
            .collect();
        let mut repositories = self.repositories();
        let found = repositories.entry(repository.to_owned()).or_default();
        let name = digest(format!("{repository} {branch} {}", found.commits.len()).as_bytes());
        let name = name[..40].to_owned();
        found.commits.insert(name.clone(), files);
        found.revisions.insert(branch.to_owned(), name.clone());
        name
    }

    pub fn gate(&self, repository: &str) {
        self.repositories()
            .entry(repository.to_owned())
            .or_default()
            .is_gated = true;
    }

    pub fn rename(&self, old: &str, new: &str) {
        self.repositories()
            .entry(old.to_owned())
            .or_default()
            .renamed = Some(new.to_owned());
    }

    pub fn be_busy(&self, times: usize) {
        self.state.busy.store(times, Ordering::SeqCst);
    }

    pub fn break_off(&self, times: usize) {
        self.state.breaks.store(times, Ordering::SeqCst);
    }

    pub fn asked_of_the_other_host(&self) -> Vec<Asked> {
        self.state.asked.lock().expect("no panic").clone()
    }

    fn repositories(&self) -> MutexGuard<'_, BTreeMap<String, Repository>> {
        self.state.repositories.lock().expect("no panic")
    }

    fn answer(&self, request: &Request) -> Response {
        if took(&self.state.busy) {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response();
        }

        let parts: Vec<String> = request
            .uri()
            .path()
            .split('/')
            .skip(1)
            .map(|part| part.replace("%2F", "/").replace("%20", " "))
            .collect();
        let of_api = parts.first().is_some_and(|part| part == "api");
        let parts = &parts[usize::from(of_api)..];
        let kind = parts.first().map_or("", String::as_str);
        let named = usize::from(of_api || kind == "datasets");
        let [organisation, name, what, revision, path @ ..] = &parts[named..] else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let before = if kind == "datasets" { "datasets/" } else { "" };
        let repository = format!("{before}{organisation}/{name}");

        let repositories = self.repositories();
        let Some(found) = repositories.get(&repository) else {
            let refusal = [
                ("x-error-code", "RepoNotFound"),
                ("x-error-message", "Repository not found"),
            ];
            return (StatusCode::UNAUTHORIZED, refusal).into_response();
        };
        if let Some(new) = &found.renamed {
            let to = request.uri().path().replace(&repository, new);
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response();
        }
        if found.is_gated && token(request.headers()).as_deref() != Some(TOKEN) {
            let refusal = [
                ("x-error-code", "GatedRepo"),
                ("x-error-message", "Access is restricted"),
            ];
            return (StatusCode::FORBIDDEN, refusal).into_response();
        }
        let commit = found.revisions.get(revision).unwrap_or(revision);
        let Some(files) = found.commits.get(commit) else {
            let refusal = [
                ("x-error-code", "RevisionNotFound"),
                ("x-error-message", "Invalid rev id"),
            ];
            return (StatusCode::NOT_FOUND, refusal).into_response();
        };
        match what.as_str() {
            "revision" => {
                let siblings: Vec<_> = files
                    .keys()
                    .map(|path| json!({"rfilename": path}))
                    .collect();
                let told = json!({"id": repository, "sha": commit, "siblings": siblings});
                Json(told).into_response()
            }
            "tree" => self.tree(request, files, &path.join("/")),
            _ => self.resolve(request, files.get(&path.join("/")), commit),
        }
    }

    fn tree(&self, request: &Request, files: &BTreeMap<String, Bytes>, folder: &str) -> Response {
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let (mut entries, mut folders) = (Vec::new(), BTreeSet::new());
        for (path, bytes) in files {
            let Some(rest) = path.strip_prefix(&prefix) else {
                continue;
            };
            match rest.split_once('/') {
                Some((name, _)) if folders.insert(name.to_owned()) => {
                    entries.push(json!({"type": "directory", "oid": "0", "size": 0, "path": format!("{prefix}{name}")}));
                }
                Some(_) => {}
                None => entries.push(entry(path, bytes)),
            }
        }
        if entries.is_empty() {
            let refusal = [
                ("x-error-code", "EntryNotFound"),
                ("x-error-message", "Entry not found"),
            ];
            return (StatusCode::NOT_FOUND, refusal).into_response();
        }

        let query = request.uri().query().unwrap_or_default();
        let start: usize = query
            .strip_prefix("cursor=")
            .map_or(0, |at| at.parse().expect("ours"));
        let page: Vec<Value> = entries.iter().skip(start).take(PAGE).cloned().collect();
        let next = format!(
            "<{}{}?cursor={}>; rel=\"next\"",
            self.address,
            request.uri().path(),
            start + PAGE
        );
        let link = if start + PAGE < entries.len() {
            next
        } else {
            String::new()
        };
        ([(header::LINK, link)], Json(page)).into_response()
    }

    fn resolve(&self, request: &Request, file: Option<&Bytes>, commit: &str) -> Response {
        let Some(bytes) = file else {
            let refusal = [
                ("x-error-code", "EntryNotFound"),
                ("x-error-message", "Entry not found"),
            ];
            return (StatusCode::NOT_FOUND, refusal).into_response();
        };
        if bytes.len() < LARGE {
            let headers = [(header::ETAG, format!("\"{}\"", &digest(bytes)[..40]))];
            let of_commit = [("x-repo-commit", commit.to_owned())];
            return (of_commit, headers, sent(request, bytes)).into_response();
        }

        let to = format!("{}/{}", self.files_address, digest(bytes));
        let headers = [
            ("x-repo-commit", commit.to_owned()),
            ("x-linked-size", bytes.len().to_string()),
            ("x-linked-etag", format!("\"{}\"", digest(bytes))),
            ("location", to),
        ];
        (StatusCode::FOUND, headers).into_response()
    }

    /// The other host: files by their digests.
    fn file(&self, request: &Request) -> Response {
        let range = request.headers().get(header::RANGE);
        let range = range.map(|range| range.to_str().expect("ours").to_owned());
        let asked = Asked {
            range,
            token: token(request.headers()),
        };
        self.state.asked.lock().expect("no panic").push(asked);

        let wanted = request.uri().path().trim_start_matches('/');
        let sent_to_us = self.state.objects.lock().expect("no panic");
        if let Some(bytes) = sent_to_us.get(wanted) {
            return sent(request, bytes);
        }
        drop(sent_to_us);
        let repositories = self.repositories();
        let files = repositories
            .values()
            .flat_map(|one| one.commits.values())
            .flat_map(BTreeMap::values);
        let Some(bytes) = files
            .into_iter()
            .find(|bytes| digest(bytes) == wanted)
            .cloned()
        else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let whole = sent(request, &bytes);
        if !took(&self.state.breaks) {
            return whole;
        }
        let (parts, _) = whole.into_parts();
        // In pieces: a server keeps the last of them back, and drops it with the connection.
        let half = bytes.slice(..bytes.len() / 2);
        let pieces: Vec<_> = half
            .chunks(PIECE)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let broken = Err(std::io::Error::other("broken off"));
        let pieces = futures::stream::iter(pieces.into_iter().chain([broken]));
        Response::from_parts(parts, Body::from_stream(pieces))
    }
}

/// Whether one of so many times is left, and takes it.
fn took(times: &AtomicUsize) -> bool {
    times
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}

/// The bytes, or the range of them that is asked for.
fn sent(request: &Request, bytes: &Bytes) -> Response {
    let range = request.headers().get(header::RANGE).and_then(|range| {
        let (first, last) = range
            .to_str()
            .ok()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(first..(last + 1).min(bytes.len()))
    });
    let length = range.as_ref().map_or(bytes.len(), ExactSizeIterator::len);
    let mut response = match &range {
        Some(range) => {
            let told = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
            let part = bytes.slice(range.clone());
            (
                StatusCode::PARTIAL_CONTENT,
                [(header::CONTENT_RANGE, told)],
                part,
            )
                .into_response()
        }
        None => bytes.clone().into_response(),
    };
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    response
}

fn entry(path: &str, bytes: &Bytes) -> Value {
    let digest = digest(bytes);
    let mut entry = json!({"type": "file", "oid": digest[..40], "size": bytes.len(), "path": path});
    if bytes.len() >= LARGE {
        entry["lfs"] = json!({"oid": digest, "size": bytes.len(), "pointerSize": 130});
    }
    entry
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

fn address(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("bound"))
}
