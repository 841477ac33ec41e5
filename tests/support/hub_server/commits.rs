//! What changes a repository: which files are large, where those go, and the commit.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use axum::{
    Json,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Asked, HubServer, LARGE, TOKEN, digest, token, took};

/// Larger files go in parts of so many bytes.
const PART: usize = 1 << 20;
const GIT_LFS: &str = "application/vnd.git-lfs+json";

/// A repository and what is asked of it.
struct Wish<'a> {
    repository: String,
    what: &'a str,
    revision: String,
}

impl HubServer {
    /// Lets somebody else move the branch just before the next commit.
    pub fn move_before_commit(&self) {
        self.state.moves.store(1, Ordering::SeqCst);
    }

    /// The files of a branch.
    pub fn files(&self, repository: &str, branch: &str) -> BTreeMap<String, Bytes> {
        let repositories = self.repositories();
        let found = &repositories[repository];
        found.commits[&found.revisions[branch]].clone()
    }

    /// What the hub itself is asked.
    pub(super) async fn ask(&self, request: Request) -> Response {
        if request.method() != Method::POST {
            return self.answer(&request);
        }
        if took(&self.state.busy) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }

        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("the whole body");
        let path = head.uri.path().to_owned();
        if let Some(oid) = path.strip_prefix("/complete/") {
            return self.complete(oid, &body);
        }
        if token(&head.headers).as_deref() != Some(TOKEN) {
            let refusal = [
                ("x-error-code", "RepoNotFound"),
                ("x-error-message", "Repository not found"),
            ];
            return (StatusCode::UNAUTHORIZED, refusal).into_response();
        }
        match path.as_str() {
            "/verify" => self.verify(&body),
            // The library asks who it is, and what may be written.
            "/api/validate-yaml" => Json(json!({"errors": [], "warnings": []})).into_response(),
            "/api/repos/create" => StatusCode::CONFLICT.into_response(),
            path if path.ends_with(".git/info/lfs/objects/batch") => {
                self.batch(&head.headers, &body)
            }
            path => self.change(path, &body),
        }
    }

    fn change(&self, path: &str, body: &Bytes) -> Response {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let ["api", kind, organisation, name, what, revision] = parts[..] else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let before = if kind == "datasets" { "datasets/" } else { "" };
        let wish = Wish {
            repository: format!("{before}{organisation}/{name}"),
            what,
            revision: revision.replace("%2F", "/"),
        };
        let renamed = {
            let repositories = self.repositories();
            match repositories.get(&wish.repository) {
                None => return StatusCode::NOT_FOUND.into_response(),
                Some(found) => found.renamed.clone(),
            }
        };
        if let Some(new) = renamed {
            let to = path.replace(&wish.repository, &new);
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response();
        }
        match wish.what {
            "preupload" => preupload(body),
            "commit" => self.make(&wish, body),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// Where large files go: nowhere where they are here, at once, or in parts.
    fn batch(&self, headers: &HeaderMap, body: &Bytes) -> Response {
        let said = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if said(header::ACCEPT) != Some(GIT_LFS) {
            return StatusCode::NOT_ACCEPTABLE.into_response();
        }
        let asked: Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(
            (&asked["operation"], &asked["hash_algo"]),
            (&json!("upload"), &json!("sha256"))
        );
        let objects: Vec<Value> = asked["objects"]
            .as_array()
            .expect("objects")
            .iter()
            .map(|object| self.object(object))
            .collect();
        Json(json!({"transfer": "basic", "objects": objects})).into_response()
    }

    fn object(&self, object: &Value) -> Value {
        let oid = object["oid"].as_str().expect("a digest");
        let size = usize::try_from(object["size"].as_u64().expect("a size")).expect("small");
        if self
            .state
            .objects
            .lock()
            .expect("no panic")
            .contains_key(oid)
        {
            return object.clone();
        }

        let place = format!("{}/upload/{oid}", self.files_address);
        let upload = if size <= PART {
            json!({"href": place})
        } else {
            let parts = size.div_ceil(PART);
            let mut header: serde_json::Map<_, _> = (1..=parts)
                .map(|part| (format!("{part:05}"), json!(format!("{place}/{part}"))))
                .collect();
            header.insert("chunk_size".into(), json!(PART.to_string()));
            json!({"href": format!("{}/complete/{oid}", self.address), "header": header})
        };
        let verify = json!({"href": format!("{}/verify", self.address)});
        json!({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
    }

    /// The other host takes content, or gives it.
    pub(super) async fn take(&self, request: Request) -> Response {
        if request.method() != Method::PUT {
            return self.file(&request);
        }
        let (head, body) = request.into_parts();
        let asked = Asked {
            range: None,
            token: token(&head.headers),
        };
        self.state.asked.lock().expect("no panic").push(asked);
        if took(&self.state.breaks) {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        // As the store behind the public hub, which takes nothing of unknown length.
        let Some(length) = head.headers.get(header::CONTENT_LENGTH) else {
            return StatusCode::LENGTH_REQUIRED.into_response();
        };
        let bytes = to_bytes(body, usize::MAX).await.expect("the whole body");
        assert_eq!(length.to_str().expect("ours"), bytes.len().to_string());

        let place = head.uri.path().trim_start_matches("/upload/").to_owned();
        let etag = [(header::ETAG, format!("\"{}\"", &digest(&bytes)[..32]))];
        match place.split_once('/') {
            None => self.keep(&place, bytes),
            Some((oid, part)) => {
                let mut parts = self.state.parts.lock().expect("no panic");
                let part: usize = part.parse().expect("a number");
                parts.entry(oid.to_owned()).or_default().insert(part, bytes);
            }
        }
        etag.into_response()
    }

    fn keep(&self, oid: &str, bytes: Bytes) {
        if digest(&bytes) == oid {
            let mut objects = self.state.objects.lock().expect("no panic");
            objects.insert(oid.to_owned(), bytes);
        }
    }

    fn complete(&self, oid: &str, body: &Bytes) -> Response {
        let said: Value = serde_json::from_slice(body).expect("JSON");
        let named = said["parts"].as_array().map_or(0, Vec::len);
        let parts = self.state.parts.lock().expect("no panic").remove(oid);
        let parts = parts.unwrap_or_default();
        if said["oid"] != oid || named != parts.len() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let whole: Vec<u8> = parts.into_values().flatten().collect();
        self.keep(oid, whole.into());
        StatusCode::OK.into_response()
    }

    fn verify(&self, body: &Bytes) -> Response {
        let said: Value = serde_json::from_slice(body).expect("JSON");
        let objects = self.state.objects.lock().expect("no panic");
        let found = objects.get(said["oid"].as_str().expect("a digest"));
        match found {
            Some(bytes) if said["size"] == bytes.len() => StatusCode::OK.into_response(),
            _ => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        }
    }

    /// A commit on a branch that stands where its maker believes.
    fn make(&self, wish: &Wish<'_>, body: &Bytes) -> Response {
        if took(&self.state.moves) {
            self.commit(&wish.repository, &wish.revision, &[("other.txt", b"other")]);
        }
        let lines: Vec<Value> = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
            .collect();
        assert_eq!(lines[0]["key"], "header");
        assert!(lines[0]["value"]["summary"].is_string());

        let (parent, mut files) = {
            let repositories = self.repositories();
            let found = &repositories[&wish.repository];
            let Some(parent) = found.revisions.get(&wish.revision) else {
                return StatusCode::NOT_FOUND.into_response();
            };
            (parent.clone(), found.commits[parent].clone())
        };
        let believed = &lines[0]["value"]["parentCommit"];
        if !believed.is_null() && *believed != parent {
            let moved = [("x-error-message", "A commit has happened since.")];
            return (StatusCode::PRECONDITION_FAILED, moved).into_response();
        }
        for line in &lines[1..] {
            let value = &line["value"];
            let path = value["path"].as_str().expect("a path").to_owned();
            let Some(bytes) = self.content(line) else {
                return StatusCode::BAD_REQUEST.into_response();
            };
            files.insert(path, bytes);
        }

        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), &bytes[..]))
            .collect();
        let made = self.commit(&wish.repository, &wish.revision, &files);
        // The library takes the repository from this address.
        let address = format!("{}/{}/commit/{made}", self.address, wish.repository);
        let told = json!({
            "success": true, "commitOid": made, "commitUrl": address,
            "hookOutput": "", "pullRequestUrl": null,
        });
        Json(told).into_response()
    }

    fn content(&self, line: &Value) -> Option<Bytes> {
        let value = &line["value"];
        if line["key"] == "file" {
            let content = value["content"].as_str()?;
            return Some(BASE64_STANDARD.decode(content).ok()?.into());
        }
        let objects = self.state.objects.lock().expect("no panic");
        objects.get(value["oid"].as_str()?).cloned()
    }
}

/// The hub decides by size and content which files are large.
fn preupload(body: &Bytes) -> Response {
    let asked: Value = serde_json::from_slice(body).expect("JSON");
    let files: Vec<Value> = asked["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| {
            let path = file["path"].as_str().expect("a path");
            assert!(file["sample"].is_string());
            let is_large = file["size"].as_u64().expect("a size") >= LARGE as u64;
            let mode = if is_large { "lfs" } else { "regular" };
            let ignored = std::path::Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "ignored");
            json!({"path": path, "uploadMode": mode, "shouldIgnore": ignored, "oid": null})
        })
        .collect();
    Json(json!({"files": files})).into_response()
}
