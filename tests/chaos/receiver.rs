//! A receiver of webhooks that verifies every signature by the official library, and is not always well.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

use super::{Failure, lock};

/// How often it refuses what it could have taken.
const UNWELL: f64 = 0.1;

/// What has come.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Events that were taken, by identifier; signature and body agreed.
    pub events: BTreeSet<String>,
    /// Posts in all.
    pub posts: u64,
    /// Posts whose signature or body was not what it should be.
    pub unsound: u64,
}

struct Inner {
    secret: Mutex<String>,
    received: Mutex<Received>,
    rng: Mutex<ChaCha8Rng>,
}

pub struct Receiver {
    pub url: String,
    inner: Arc<Inner>,
}

impl Receiver {
    pub async fn start(seed: u64) -> Result<Self, Failure> {
        let inner = Arc::new(Inner {
            secret: Mutex::default(),
            received: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let app = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, inner })
    }

    /// The secret that posts are signed by from now on.
    pub fn expect(&self, secret: &str) {
        secret.clone_into(&mut lock(&self.inner.secret));
    }

    pub fn received(&self) -> Received {
        lock(&self.inner.received).clone()
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: String) -> StatusCode {
    let id = sound(&lock(&inner.secret), &headers, &body);
    let unwell = lock(&inner.rng).random_bool(UNWELL);
    let mut received = lock(&inner.received);
    received.posts += 1;
    match id {
        None => {
            received.unsound += 1;
            StatusCode::BAD_REQUEST
        }
        Some(_) if unwell => StatusCode::SERVICE_UNAVAILABLE,
        Some(id) => {
            received.events.insert(id);
            StatusCode::NO_CONTENT
        }
    }
}

/// The event's identifier, if the signature verifies and the body is that event.
fn sound(secret: &str, headers: &HeaderMap, body: &str) -> Option<String> {
    Webhook::new(secret)
        .ok()?
        .verify(body.as_bytes(), headers)
        .ok()?;
    let event: Value = serde_json::from_str(body).ok()?;
    let id = event["id"].as_str()?;
    let named = headers.get("webhook-id")?.to_str().ok()?;
    (event["specversion"] == "1.0" && id == named).then(|| id.to_owned())
}
