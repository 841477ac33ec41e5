//! A door in front of an S3 server that holds one request back, as a network may, until it is told to let
//! it through.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, runtime::Handle, sync::watch};

/// What a request is, for whoever chooses one to hold back: its method, its path with its query, and how
/// many requests that write came before it.
pub type Choice = Box<dyn Fn(&Asked) -> bool + Send>;

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub target: String,
    /// Whether this is a copy of another object.
    pub copies: bool,
    pub number: usize,
}

/// Where the one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Awaited,
    Held,
    Released,
}

pub struct Gate {
    pub endpoint: String,
    shared: Arc<Shared>,
    handle: Handle,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    choice: Mutex<Option<Choice>>,
    writes: AtomicUsize,
    held: Mutex<Option<Asked>>,
    state: watch::Sender<State>,
}

impl Gate {
    /// Holds back the first request that is chosen.
    pub fn before(upstream: &str, handle: &Handle, choice: Choice) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            choice: Mutex::new(Some(choice)),
            writes: AtomicUsize::new(0),
            held: Mutex::default(),
            state: watch::Sender::new(State::Awaited),
        });
        let listener = handle.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let given = Arc::clone(&shared);
        let app = Router::new().fallback(move |request| pass(Arc::clone(&given), request));
        handle.spawn(async move { axum::serve(listener, app).await });
        Self {
            endpoint,
            shared,
            handle: handle.clone(),
        }
    }

    /// Waits until a request is held back, or `over` says that none will be; which one.
    pub fn wait(&self, over: &dyn Fn() -> bool) -> Option<Asked> {
        let mut state = self.shared.state.subscribe();
        let tick = std::time::Duration::from_millis(20);
        while !over() {
            let held = state.wait_for(|state| *state == State::Held);
            if self
                .handle
                .block_on(async { tokio::time::timeout(tick, held).await.is_ok() })
            {
                return self
                    .shared
                    .held
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
            }
        }
        None
    }

    pub fn release(&self) {
        self.shared.state.send_replace(State::Released);
    }
}

async fn pass(shared: Arc<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let target = head
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    if head.method != Method::GET && head.method != Method::HEAD {
        let number = shared.writes.fetch_add(1, Ordering::SeqCst);
        let copies = head.headers.contains_key("x-amz-copy-source");
        shared
            .hold(Asked {
                method: head.method.clone(),
                target: target.clone(),
                copies,
                number,
            })
            .await;
    }
    let url = format!("{}{target}", shared.upstream);
    let mut headers = head.headers;
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    let sent = shared
        .client
        .request(head.method, url)
        .headers(headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = sent else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().remove("transfer-encoding");
    response.map(|_| Body::from_stream(answer.bytes_stream()))
}

impl Shared {
    async fn hold(&self, asked: Asked) {
        {
            let mut choice = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
            if !choice.as_ref().is_some_and(|chosen| chosen(&asked)) {
                return;
            }
            *choice = None;
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        }
        self.state.send_replace(State::Held);
        let mut state = self.state.subscribe();
        // The sender lives as long as this.
        let _ = state.wait_for(|state| *state == State::Released).await;
    }
}
