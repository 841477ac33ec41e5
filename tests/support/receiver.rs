//! A web server that receives webhooks and answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time,
};

use super::PATIENCE;

/// Stands for no answer at all.
const SILENCE: u16 = 0;

/// One request as it came.
#[derive(Debug)]
pub struct Post {
    pub headers: HeaderMap,
    pub body: String,
}

impl Post {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Whether the official library accepts the signature under this secret.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let library = standardwebhooks::Webhook::new(secret).expect("a secret");
        library.verify(self.body.as_bytes(), &self.headers).is_ok()
    }
}

#[derive(Clone)]
struct Answers {
    next: Arc<Mutex<VecDeque<u16>>>,
    location: Option<String>,
    posts: UnboundedSender<Post>,
}

/// Ends with the test.
pub struct Receiver {
    /// `http://127.0.0.1:…/hook`
    pub url: String,
    posts: UnboundedReceiver<Post>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Answers 204 to everything.
    pub async fn start() -> Self {
        Self::answering(&[]).await
    }

    /// Answers with these statuses first, then 204.
    pub async fn answering(statuses: &[u16]) -> Self {
        Self::open(statuses, None).await
    }

    /// Answers 307 and this location first, then 204.
    pub async fn redirecting(location: &str) -> Self {
        Self::open(&[307], Some(location.to_owned())).await
    }

    /// Never answers the first request.
    pub async fn silent_first() -> Self {
        Self::open(&[SILENCE], None).await
    }

    async fn open(statuses: &[u16], location: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        let (sender, posts) = unbounded_channel();
        let next = Arc::new(Mutex::new(statuses.iter().copied().collect()));
        let answers = Answers {
            next,
            location,
            posts: sender,
        };
        let router = Router::new().fallback(receive).with_state(answers);
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serves");
        });
        Self { url, posts, task }
    }

    /// The next request.
    pub async fn post(&mut self) -> Post {
        let post = time::timeout(PATIENCE, self.posts.recv()).await;
        post.expect("a webhook in time").expect("the server lives")
    }

    /// Whether nothing came that was not asked for.
    pub fn is_quiet(&mut self) -> bool {
        self.posts.try_recv().is_err()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(answers): State<Answers>, headers: HeaderMap, body: String) -> Response {
    let _ = answers.posts.send(Post { headers, body });
    let next = answers
        .next
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front();
    if next == Some(SILENCE) {
        return std::future::pending().await;
    }
    let status = StatusCode::from_u16(next.unwrap_or(204)).expect("a status");
    match answers.location {
        Some(to) if status.is_redirection() => (status, [(header::LOCATION, to)]).into_response(),
        _ => status.into_response(),
    }
}
