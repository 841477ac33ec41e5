//! Requests that work for long: so many at once, whatever becomes of who asked.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode};
use futures::future::{join, join_all};
use retune::{
    config::Settings,
    service::domain::access::DEFAULT_TENANT,
    storage::{S3Config, StorageConfig, TenantStorage},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::app::{Answer, App};
use crate::support::within;

/// A store that answers nothing until it is opened, and then that nothing is there.
struct Gate {
    s3: S3Config,
    waiting: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn closed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = Some(format!("http://{}", listener.local_addr().expect("bound")));
        let s3 = S3Config {
            endpoint,
            allow_http: true,
            anonymous: true,
            ..S3Config::default()
        };
        let (open, opened) = watch::channel(false);
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&waiting);
        let router = Router::new().fallback(async move || {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = opened.clone().wait_for(|open| *open).await;
            StatusCode::NOT_FOUND
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { s3, waiting, open }
    }

    async fn app(&self, settings: Settings) -> App {
        let roots = Some(vec!["s3://bucket/".to_owned()]);
        let own = TenantStorage {
            roots,
            ..TenantStorage::default()
        };
        let tenants = |_: &_| HashMap::from([(DEFAULT_TENANT.0, own)]);
        let servers = StorageConfig {
            s3: self.s3.clone(),
            ..StorageConfig::default()
        };
        Box::pin(App::start_on(true, settings, servers, tenants)).await
    }

    async fn holds(&self, requests: usize) {
        within("the store is asked", async || {
            (self.waiting.load(Ordering::Relaxed) >= requests).then_some(())
        })
        .await;
    }
}

fn is_busy(answer: &Answer) -> bool {
    answer.json()["code"] == "busy"
}

#[tokio::test]
async fn plans_are_made_four_at_once_even_when_nobody_waits_for_them_any_more() {
    let gate = Gate::closed().await;
    let mut settings = Settings::default();
    settings.http.request_timeout = Duration::from_secs(4);
    let app = gate.app(settings).await;
    let spec = json!({
        "source": {"base": "s3://bucket/old/", "trajectory": "s3://bucket/tuned/"},
        "target": {"base": "s3://bucket/new/"}, "output": "s3://bucket/out/",
    });
    let plan = async || app.post("/v1/transfers:plan", &spec, &[]).await;
    for answer in join_all((0..4).map(|_| plan())).await {
        answer.problem(503, "timeout");
    }
    let refused = within("there is no room", async || {
        let answer = plan().await;
        if is_busy(&answer) {
            return Some(answer);
        }
        answer.problem(503, "timeout");
        None
    })
    .await;
    gate.holds(4).await;
    assert_eq!(refused.header("retry-after"), "2");
    refused.problem(503, "busy");
    gate.open.send_replace(true);
    within("there is room again", async || {
        (!is_busy(&plan().await)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn models_are_read_for_a_version_four_at_once() {
    let gate = Gate::closed().await;
    let app = gate.app(Settings::default()).await;
    app.put("/v1/base_models/llama", &json!({}), &[])
        .await
        .ok(201);
    let version = async || {
        let body = json!({"version": "1", "uri": "s3://bucket/1/"});
        app.post("/v1/base_models/llama/versions", &body, &[]).await
    };
    let held = join_all((0..4).map(|_| version()));
    let further = async {
        gate.holds(4).await;
        version().await.problem(503, "busy");
        gate.open.send_replace(true);
    };
    let (answers, ()) = join(held, further).await;
    assert!(!answers.iter().any(is_busy), "{answers:?}");
    assert!(!is_busy(&version().await));
}
