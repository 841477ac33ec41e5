//! An S3 server over a folder in this process, which misbehaves for a while when told to.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::{net::TcpListener, sync::oneshot};

use super::{Failure, lock};

/// Between two looks whether a request was hit.
const LOOK: Duration = Duration::from_millis(10);

/// What happens to requests for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// 503, and nothing is done.
    Unavailable,
    /// The answer is late.
    Slow,
    /// Half of the object, then the connection breaks.
    Truncated,
    /// The connection breaks without an answer, before or after the request was obeyed.
    Reset,
    /// 507 to whatever writes.
    Full,
}

/// A server with one bucket, `bucket`.
pub struct Store {
    pub endpoint: String,
    folder: PathBuf,
    state: Arc<State>,
}

struct State {
    service: S3Service,
    windows: Mutex<Vec<Arc<Window>>>,
    rng: Mutex<ChaCha8Rng>,
    /// The folder server looks whether an object is there, then writes: one at a time.
    writing: tokio::sync::Mutex<()>,
    /// What waits for a request of a result to hold it back, in order.
    late: Mutex<Vec<Late>>,
    /// Manifests written, by transfer.
    manifests: Mutex<BTreeMap<String, u32>>,
}

struct Window {
    mishap: Mishap,
    /// Of the requests.
    share: f64,
    hits: AtomicU64,
}

/// Which request of a result is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// One that writes or deletes, whichever comes next.
    Any,
    /// The completion of an upload in parts.
    Completion,
    /// A deletion.
    Deletion,
}

/// Waits for a request, holds it back for so long, and tells of it.
struct Late {
    which: Held,
    hold: Duration,
    held: oneshot::Sender<Delayed>,
}

/// A request that is being held back.
pub struct Delayed {
    /// The transfer that it is about.
    pub transfer: String,
    answer: oneshot::Receiver<StatusCode>,
}

impl Delayed {
    /// What the server answered when the request arrived at last; `None` where it did not within `patience`.
    pub async fn answered(self, patience: Duration) -> Option<StatusCode> {
        tokio::time::timeout(patience, self.answer).await.ok()?.ok()
    }
}

impl Store {
    pub async fn start(folder: &Path, seed: u64) -> Result<Self, Failure> {
        fs::create_dir_all(folder.join("bucket"))?;
        let files = s3s_fs::FileSystem::new(folder).map_err(|error| format!("{error:?}"))?;
        let state = Arc::new(State {
            service: S3ServiceBuilder::new(files).build(),
            windows: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            writing: tokio::sync::Mutex::default(),
            late: Mutex::default(),
            manifests: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let given = Arc::clone(&state);
        let app = Router::new().fallback(move |request| answer(given, request));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self {
            endpoint,
            folder: folder.join("bucket"),
            state,
        })
    }

    /// Where the bucket's objects lie on this machine.
    pub fn bucket(&self) -> &Path {
        &self.folder
    }

    /// Misbehaves for `length` on this share of the requests, and then on until one was hit, but not longer than
    /// `patience`; how many were hit.
    pub async fn misbehave(
        &self,
        mishap: Mishap,
        share: f64,
        length: Duration,
        patience: Duration,
    ) -> u64 {
        let window = Arc::new(Window {
            mishap,
            share,
            hits: AtomicU64::new(0),
        });
        lock(&self.state.windows).push(Arc::clone(&window));
        tokio::time::sleep(length).await;

        let begun = Instant::now();
        while window.hits.load(Ordering::Relaxed) == 0 && begun.elapsed() < patience {
            tokio::time::sleep(LOOK).await;
        }
        lock(&self.state.windows).retain(|other| !Arc::ptr_eq(other, &window));
        window.hits.load(Ordering::Relaxed)
    }

    /// Holds the next such request of a result back for so long, after which it is obeyed, whatever has
    /// become of its sender. `None` where no such request comes within `patience`.
    pub async fn delay_one(
        &self,
        which: Held,
        hold: Duration,
        patience: Duration,
    ) -> Option<Delayed> {
        let (held, told) = oneshot::channel();
        lock(&self.state.late).push(Late { which, hold, held });
        let found = tokio::time::timeout(patience, told).await;
        // Of whoever waits no more the receiver is gone.
        lock(&self.state.late).retain(|late| !late.held.is_closed());
        found.ok()?.ok()
    }

    /// How often each transfer's manifest was written.
    pub fn manifests(&self) -> BTreeMap<String, u32> {
        lock(&self.state.manifests).clone()
    }
}

impl State {
    /// What happens to this request, and a number in [0, 1) for how.
    fn mishap(&self, method: &Method) -> Option<(Mishap, f64)> {
        let windows = lock(&self.windows).clone();
        let mut rng = lock(&self.rng);
        let window = windows.iter().find(|window| {
            let applies = match window.mishap {
                Mishap::Truncated => method == Method::GET,
                Mishap::Full => method == Method::PUT,
                _ => true,
            };
            applies && rng.random_bool(window.share)
        })?;
        window.hits.fetch_add(1, Ordering::Relaxed);
        Some((window.mishap, rng.random()))
    }

    /// Whether somebody waits for a request of this kind.
    fn is_wanted(&self, kind: Held) -> bool {
        lock(&self.late).iter().any(|late| late.takes(kind))
    }

    /// The first that waits for a request of this kind; whoever takes any gives way.
    fn take_late(&self, kind: Held) -> Option<Late> {
        let mut waiting = lock(&self.late);
        let exact = waiting.iter().position(|late| late.which == kind);
        let place = exact.or_else(|| waiting.iter().position(|late| late.takes(kind)))?;
        Some(waiting.remove(place))
    }

    async fn serve(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let writes = request.method() == Method::PUT;
        let turn = if writes {
            Some(self.writing.lock().await)
        } else {
            None
        };
        let served = self
            .service
            .call(request.map(s3s::Body::http_body_unsync))
            .await;
        drop(turn);
        let Ok(response) = served else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        if let Some(folder) = path.strip_suffix("/manifest.json")
            && writes
            && response.status().is_success()
        {
            let id = folder.rsplit('/').next().unwrap_or_default().to_owned();
            *lock(&self.manifests).entry(id).or_default() += 1;
        }
        response.map(Body::new)
    }
}

async fn answer(state: Arc<State>, request: Request) -> Response {
    let request = match held_back(&state, request).await {
        Ok(Sorted::Late(letter)) => return letter.deliver(state).await,
        Ok(Sorted::InTime(request)) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match state.mishap(request.method()) {
        None => state.serve(request).await,
        Some((Mishap::Unavailable, _)) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some((Mishap::Full, _)) => StatusCode::INSUFFICIENT_STORAGE.into_response(),
        Some((Mishap::Slow, chance)) => {
            tokio::time::sleep(Duration::from_secs_f64(0.2 + 2.0 * chance)).await;
            state.serve(request).await
        }
        Some((Mishap::Truncated, _)) => truncated(state.serve(request).await).await,
        Some((Mishap::Reset, chance)) => {
            if chance < 0.5 {
                state.serve(request).await;
            }
            broken(
                Bytes::new(),
                StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            )
        }
    }
}

/// A request that is held back, whole.
struct Letter {
    request: Request,
    late: Late,
    transfer: String,
}

/// What becomes of a request.
enum Sorted {
    InTime(Request),
    Late(Letter),
}

/// Takes the request that somebody waits to hold back.
async fn held_back(state: &State, request: Request) -> Result<Sorted, axum::Error> {
    let Some(kind) = kind_of(&request).filter(|kind| state.is_wanted(*kind)) else {
        return Ok(Sorted::InTime(request));
    };
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    // Of a deletion of many the body has the keys.
    let place = format!("{}{}", head.uri.path(), String::from_utf8_lossy(&body));
    let transfer = place
        .split_once("chaos/out/")
        .and_then(|(_, rest)| rest.get(..36));
    let transfer = transfer.map(str::to_owned);
    let request = Request::from_parts(head, Body::from(body));
    let late = if transfer.is_some() {
        state.take_late(kind)
    } else {
        None
    };
    Ok(match (late, transfer) {
        (Some(late), Some(transfer)) => Sorted::Late(Letter {
            request,
            late,
            transfer,
        }),
        _ => Sorted::InTime(request),
    })
}

/// What a request does to objects; `None` where it only reads.
fn kind_of(request: &Request) -> Option<Held> {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::PUT => Some(Held::Any),
        Method::DELETE => Some(Held::Deletion),
        Method::POST if query.starts_with("delete") => Some(Held::Deletion),
        Method::POST if query.contains("uploadId=") => Some(Held::Completion),
        _ => None,
    }
}

impl Late {
    fn takes(&self, kind: Held) -> bool {
        self.which == Held::Any || self.which == kind
    }
}

impl Letter {
    /// As a network does that lost its way to the sender: obeyed though nobody waits for it.
    async fn deliver(self, state: Arc<State>) -> Response {
        let Self {
            request,
            late,
            transfer,
        } = self;
        let (answered, answer) = oneshot::channel();
        // Nobody may be waiting to hear of it, here and below.
        let _ = late.held.send(Delayed { transfer, answer });
        let obeyed = tokio::spawn(async move {
            tokio::time::sleep(late.hold).await;
            let response = state.serve(request).await;
            let _ = answered.send(response.status());
            response
        });
        obeyed
            .await
            .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

/// Half of the body under the whole one's length.
async fn truncated(response: Response) -> Response {
    let (head, body) = response.into_parts();
    let Ok(mut whole) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    whole.truncate(whole.len() / 2);
    broken(whole, Response::from_parts(head, Body::empty()))
}

/// The answer's head and these bytes, after which the connection breaks. Without a byte nothing is
/// sent at all.
fn broken(bytes: Bytes, response: Response) -> Response {
    let part = (!bytes.is_empty()).then(|| Ok(bytes));
    let cut = Err(std::io::Error::other("cut"));
    response.map(|_| Body::from_stream(stream::iter(part.into_iter().chain([cut])).boxed()))
}
