//! An S3 server in this process, over a folder, that can be told to misbehave.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use retune::storage::S3Config;
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, runtime::Handle};

/// What happens to a GET of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// 503.
    Unavailable,
    /// The connection breaks after this many bytes of the body.
    CutAfter(usize),
}

/// A running server with one bucket, `bucket`.
pub struct S3Server {
    pub config: S3Config,
    /// Kept as long as the server.
    folder: tempfile::TempDir,
    faults: Faults,
}

#[derive(Clone, Default)]
struct Faults {
    mishaps: Arc<Mutex<VecDeque<Mishap>>>,
    parts: Arc<AtomicUsize>,
    gets: Arc<AtomicUsize>,
}

impl S3Server {
    pub fn start(handle: &Handle) -> Self {
        Self::open(handle, None)
    }

    /// One that takes signed requests alone, by these keys and secrets; each key reaches the folders of
    /// its own name and no other.
    pub fn asking_for(handle: &Handle, identities: &[(&str, &str)]) -> Self {
        let mut auth = SimpleAuth::new();
        for (key, secret) in identities {
            auth.register((*key).to_owned(), (*secret).into());
        }
        Self::open(handle, Some(auth))
    }

    fn open(handle: &Handle, auth: Option<SimpleAuth>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bucket")).unwrap();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        let private = auth.is_some();
        if let Some(auth) = auth {
            service.set_auth(auth);
        }
        let service = service.build();
        let faults = Faults::default();
        let given = faults.clone();
        let app = Router::new().fallback(async move |request: Request| {
            if private && !is_of_the_signer(&request) {
                return StatusCode::FORBIDDEN.into_response();
            }
            answer(service, given, request).await
        });
        let listener = handle.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        handle.spawn(async move { axum::serve(listener, app).await });
        let config = S3Config {
            endpoint: Some(endpoint),
            allow_http: true,
            anonymous: true,
            ..S3Config::default()
        };
        Self {
            config,
            folder,
            faults,
        }
    }

    /// Puts an object into the bucket, past every key.
    pub fn put(&self, name: &str, content: &str) {
        let path = self.folder.path().join("bucket").join(name);
        fs::create_dir_all(path.parent().expect("in the bucket")).unwrap();
        fs::write(path, content).unwrap();
    }

    /// What happens to the next GETs, in order.
    pub fn plan(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.faults.mishaps.lock().unwrap().extend(mishaps);
    }

    /// Multipart uploads of which there are parts, neither completed nor ended. One without parts, of a
    /// request that was sent twice, takes no room.
    pub fn unfinished_uploads(&self) -> BTreeSet<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter_map(|name| {
                Some(
                    name.strip_prefix(".upload_id-")?
                        .split_once(".part-")?
                        .0
                        .into(),
                )
            })
            .collect()
    }

    /// Parts of multipart uploads received.
    pub fn parts(&self) -> usize {
        self.faults.parts.load(Ordering::SeqCst)
    }

    /// GETs received.
    pub fn gets(&self) -> usize {
        self.faults.gets.load(Ordering::SeqCst)
    }
}

/// Whether the path, or the folder to be listed, names the key that the request is signed with. Whether
/// it is signed well is for the service to say.
fn is_of_the_signer(request: &Request) -> bool {
    let signed = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let key = signed.and_then(|text| text.split_once("Credential=")?.1.split('/').next());
    key.is_some_and(|key| request.uri().to_string().contains(key))
}

async fn answer(service: S3Service, faults: Faults, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    if request.method() == Method::PUT && query.contains("partNumber") {
        faults.parts.fetch_add(1, Ordering::SeqCst);
    }
    let mut mishap = None;
    if request.method() == Method::GET && !query.contains("list-type") {
        faults.gets.fetch_add(1, Ordering::SeqCst);
        mishap = faults.mishaps.lock().unwrap().pop_front();
    }
    if mishap == Some(Mishap::Unavailable) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let response = match service.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(response) => response.map(Body::new),
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let Some(Mishap::CutAfter(bytes)) = mishap else {
        return response;
    };
    response.map(|body| {
        let mut left = bytes;
        Body::from_stream(body.into_data_stream().map(move |chunk| {
            let mut chunk = chunk.map_err(std::io::Error::other)?;
            if left == 0 {
                return Err(std::io::Error::other("cut"));
            }
            chunk.truncate(left);
            left -= chunk.len();
            Ok(chunk)
        }))
    })
}
