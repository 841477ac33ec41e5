//! The whole interface in process, on a database and a store of the test's own.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use retune::{
    config::Settings,
    contract::ids::TenantId,
    service::{
        api,
        arrivals::Looker,
        dashboard,
        domain::access::{DEFAULT_TENANT, Role},
        queue,
        state::AppState,
    },
    storage::{Storage, StorageConfig, TenantStorage},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

use crate::support::TestDatabase;

pub struct App {
    pub db: TestDatabase,
    pub router: Router,
    pub objects: PathBuf,
    pub storage: Storage,
    pub shutdown: CancellationToken,
    looker: Looker,
    _folder: tempfile::TempDir,
}

impl App {
    /// Open to everyone, as on loopback without a key.
    pub async fn open() -> Self {
        Box::pin(Self::start(true, Settings::default())).await
    }

    /// Asking for keys.
    pub async fn closed() -> Self {
        Box::pin(Self::start(false, Settings::default())).await
    }

    pub async fn start(open: bool, settings: Settings) -> Self {
        Box::pin(Self::start_on(
            open,
            settings,
            StorageConfig::default(),
            |_| HashMap::new(),
        ))
        .await
    }

    /// On these servers, with what `own` gives to tenants alone when it is told where objects lie.
    pub async fn start_on(
        open: bool,
        settings: Settings,
        servers: StorageConfig,
        own: impl FnOnce(&Path) -> HashMap<Uuid, TenantStorage>,
    ) -> Self {
        // Boxed, for it is most of this future.
        let db = Box::pin(TestDatabase::fresh()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let objects = folder.path().join("objects");
        std::fs::create_dir(&objects).expect("our own folder");
        let config = StorageConfig {
            data_objects: objects.clone(),
            ..servers
        };
        let storage = Storage::new(config, tokio::runtime::Handle::current()).expect("a root");
        let storage = storage.with_tenants(own(&objects)).expect("roots");
        let shutdown = CancellationToken::new();
        let settings = Arc::new(settings);
        let database = db.database.clone();
        let looker = Looker::new(database.clone(), storage.clone(), Arc::clone(&settings));
        let state = AppState::open(database, storage.clone(), settings, open, shutdown.clone());
        let router = api::router(state.clone(), |api| dashboard::router(state, api));
        Self {
            db,
            router,
            objects,
            storage,
            shutdown,
            looker,
            _folder: folder,
        }
    }

    /// Looks at announcements until `shutdown`, as `serve` does.
    pub fn look(&self, shutdown: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(queue::drive(self.looker.clone(), shutdown))
    }

    pub async fn key(&self, role: Role) -> String {
        self.key_of(DEFAULT_TENANT, role).await
    }

    pub async fn key_of(&self, tenant: TenantId, role: Role) -> String {
        self.db.key_of(tenant, role).await
    }

    pub async fn tenant(&self) -> TenantId {
        self.db.tenant().await
    }

    pub async fn put_tenant(&self, id: TenantId) {
        self.db.put_tenant(id).await;
    }

    /// A location inside the store.
    pub fn uri(&self, name: &str) -> String {
        format!("file://{}/{name}", self.objects.display())
    }

    /// A specification that passes every check.
    pub fn spec(&self) -> Value {
        json!({
            "source": {"base": self.uri("old/"), "trajectory": self.uri("tuned/")},
            "target": {"base": self.uri("new/")},
            "methods": ["identity"],
            "output": self.uri("out/")
        })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers, Body::empty()))
            .await
    }

    pub async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.send(request(
            Method::POST,
            path,
            &headers,
            body.to_string().into(),
        ))
        .await
    }

    pub async fn put(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.send(request(
            Method::PUT,
            path,
            &headers,
            body.to_string().into(),
        ))
        .await
    }

    pub async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::DELETE, path, headers, Body::empty()))
            .await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("infallible");
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .expect("the whole body");
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("a request")
}

pub fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("text")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub fn ok(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    /// Asserts a problem of this status and code; gives the pointers of its errors.
    pub fn problem(self, status: u16, code: &str) -> Vec<String> {
        let answer = self.ok(status);
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let problem = answer.json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!(code), &json!(status))
        );
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|error| error["pointer"].as_str().expect("text").to_owned())
            .collect()
    }
}
