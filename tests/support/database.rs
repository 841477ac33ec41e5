//! A PostgreSQL shared by the run, and a database of each test's own.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use retune::{
    contract::ids::{TenantId, TransferId, WorkerId},
    pipeline::{Outcome, Recommendation, Verdict},
    service::{
        database::{
            Database,
            changes::Changes,
            events,
            transfers::{self, Enqueue, leases::Claimed},
        },
        domain::{
            access::{DEFAULT_TENANT, Role},
            leases::{Lease, RetryPolicy},
            transfers::Transfer,
        },
        private_cluster::PrivateCluster,
        registry::{attempts, keys, submit},
    },
};
use serde_json::{Value, json};
use tokio::time;
use uuid::Uuid;

use super::PATIENCE;

/// The run's PostgreSQL; the last test that uses it stops it.
struct Cluster(Option<PrivateCluster>);

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(cluster) = self.0.take()
            && let Err(error) = cluster.close()
        {
            eprintln!("{error}");
        }
    }
}

static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

fn cluster() -> Arc<Cluster> {
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return running;
    }
    // Kept between runs, which makes the next start quick. Below the temporary folder, because
    // root's server runs as another user, who must be able to enter.
    let name = format!("retune-tests-{}", nix::unistd::geteuid());
    let opened = PrivateCluster::open(&std::env::temp_dir().join(name), "").expect("a PostgreSQL");
    let opened = Arc::new(Cluster(Some(opened)));
    *shared = Arc::downgrade(&opened);
    opened
}

/// A migrated database of the test's own.
pub struct TestDatabase {
    pub database: Database,
    pub url: String,
    pub changes: Changes,
    _cluster: Arc<Cluster>,
}

impl TestDatabase {
    pub async fn fresh() -> Self {
        let cluster = tokio::task::spawn_blocking(cluster)
            .await
            .expect("no panic");
        let server = cluster.0.as_ref().expect("open until dropped").url();
        let name = format!("t_{}", Uuid::now_v7().simple());
        let admin = Database::connect_to(&server, 1)
            .await
            .expect("the server answers");
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&admin.pool)
            .await
            .expect("a new database");
        forget_old(&admin).await;
        admin.pool.close().await;
        let url = server.replace("/postgres?", &format!("/{name}?"));
        let database = Database::connect_to(&url, 8)
            .await
            .expect("the new database answers");
        database.migrate().await.expect("the schema");
        let changes = Changes::listen(&database);
        Self {
            database,
            url,
            changes,
            _cluster: cluster,
        }
    }

    /// A transfer of the default tenant, queued.
    pub async fn queued(&self, max_attempts: i32) -> Transfer {
        self.submit(Enqueue {
            max_attempts,
            ..enqueue()
        })
        .await
    }

    pub async fn submit(&self, new: Enqueue) -> Transfer {
        submit::enqueue(&self.database, new)
            .await
            .expect("queued")
            .transfer
    }

    pub async fn get(&self, id: TransferId) -> Transfer {
        let found = transfers::get(&self.database, DEFAULT_TENANT, id).await;
        found
            .expect("the database answers")
            .expect("the transfer exists")
    }

    /// A second tenant, or a third.
    pub async fn tenant(&self) -> TenantId {
        let id = TenantId::generate();
        self.put_tenant(id).await;
        id
    }

    pub async fn put_tenant(&self, id: TenantId) {
        sqlx::query("INSERT INTO tenants (id, name) VALUES ($1, $2)")
            .bind(id)
            .bind(id.to_string())
            .execute(&self.database.pool)
            .await
            .expect("a tenant");
    }

    /// A key's text.
    pub async fn key_of(&self, tenant: TenantId, role: Role) -> String {
        let made = keys::create(&self.database, "test", tenant, role, None).await;
        made.expect("a key").1
    }

    /// Runs statements of the test's own.
    pub async fn execute(&self, sql: &str) {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        done.execute(&self.database.pool)
            .await
            .expect("our own SQL");
    }

    /// The kinds of a transfer's events, in order.
    pub async fn event_kinds(&self, id: TransferId) -> Vec<String> {
        let events = events::list(&self.database, DEFAULT_TENANT, id, 0, 1000).await;
        events
            .expect("the database answers")
            .into_iter()
            .map(|event| event.kind.to_string())
            .collect()
    }

    /// Waits until the transfer is as `wanted`, looking again whenever something changed.
    pub async fn until(&self, id: TransferId, wanted: impl Fn(&Transfer) -> bool) -> Transfer {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            loop {
                let transfer = self.get(id).await;
                if wanted(&transfer) {
                    return transfer;
                }
                // Lagging behind also means that something changed.
                let _ = changes.recv().await;
            }
        };
        let Ok(transfer) = time::timeout(PATIENCE, waiting).await else {
            panic!("waited in vain; the transfer is {:#?}", self.get(id).await);
        };
        transfer
    }
}

/// Drops databases of runs an hour ago and more.
async fn forget_old(admin: &Database) {
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    let since = hour_ago
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let oldest = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, since, 0));
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database WHERE datname LIKE 't\\_%' AND datname < $1",
    )
    .bind(format!("t_{}", oldest.simple()))
    .fetch_all(&admin.pool)
    .await
    .unwrap_or_default();
    for name in names {
        // One still in use stays.
        let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"));
        let _ = sqlx::raw_sql(drop).execute(&admin.pool).await;
    }
}

/// The next transfer, for a worker of its own.
pub async fn claim(database: &Database, policy: RetryPolicy) -> Option<Lease<Claimed>> {
    attempts::claim(database, WorkerId::generate(), policy)
        .await
        .expect("the database answers")
}

/// A good end, with this verdict.
pub fn outcome(transfer: TransferId, verdict: Verdict) -> Outcome {
    Outcome {
        uri: format!("file:///out/{transfer}/"),
        manifest_sha256: "ab".into(),
        bytes: 1000,
        verdict,
        recommendation: Some(Recommendation::Transfer),
        metrics: json!({"method": "identity", "accuracy": 0.9}),
    }
}

/// What [`TestDatabase::queued`] submits.
pub fn enqueue() -> Enqueue {
    Enqueue {
        tenant: DEFAULT_TENANT,
        spec: spec("file:///a/", "file:///b/"),
        metadata: json!({}),
        idempotency: None,
        max_attempts: 3,
    }
}

pub fn spec(source: &str, target: &str) -> Value {
    json!({
        "source": {"base": source, "trajectory": "file:///t/"},
        "target": {"base": target},
        "methods": ["identity"],
        "output": "file:///out/"
    })
}

/// Leases that outlive a test.
pub const LONG: RetryPolicy = RetryPolicy {
    lease: PATIENCE,
    backoff: PATIENCE,
    max_wait: PATIENCE,
    give_up: PATIENCE,
};
/// Leases that have run out as soon as they are given.
pub const OVER: RetryPolicy = RetryPolicy {
    lease: Duration::ZERO,
    ..LONG
};
