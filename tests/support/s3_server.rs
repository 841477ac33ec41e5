//! An S3 server in this process, over a folder, that can be told to misbehave.

use std::{
    collections::VecDeque,
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
use s3s::service::{S3Service, S3ServiceBuilder};
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
    _folder: tempfile::TempDir,
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
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bucket")).unwrap();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let service = S3ServiceBuilder::new(files).build();
        let faults = Faults::default();
        let given = faults.clone();
        let app = Router::new().fallback(move |request| answer(service, given, request));
        let listener = handle.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        handle.spawn(async move { axum::serve(listener, app).await });
        let config = S3Config {
            endpoint: Some(endpoint),
            allow_http: true,
            anonymous: true,
            ..S3Config::default()
        };
        Self { config, _folder: folder, faults }
    }

    /// What happens to the next GETs, in order.
    pub fn plan(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.faults.mishaps.lock().unwrap().extend(mishaps);
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
    let Some(Mishap::CutAfter(bytes)) = mishap else { return response };
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
