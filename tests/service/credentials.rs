//! Tenants with keys of their own for S3, and with roots of their own, in a service as a process.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex},
};

use reqwest::{Method, StatusCode};
use retune::{
    contract::ids::TenantId,
    service::{
        database::tenants,
        domain::access::{DEFAULT_TENANT, Role},
    },
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::{
    Served, TestDatabase, http, reachable_folder, retune_serve, s3_server::S3Server, within,
};

const KEYS: [(&str, &str); 2] = [("visionkey", "hunter2"), ("audiokey", "hunter4")];

/// A service whose tenants `vision` and `audio` have keys of their own.
struct Installation {
    served: Served,
    /// Of the service's own tenant, `vision` and `audio`.
    api_keys: Vec<String>,
    _database: TestDatabase,
}

impl Installation {
    async fn begin(server: &S3Server, folder: &Path) -> Self {
        let database = TestDatabase::fresh().await;
        let mut settings = format!(
            "[storage]\nroots = ['s3://bucket/allowed/']\n[storage.s3]\nendpoint = '{}'\nallow_http = true\n",
            server.config.endpoint.as_deref().expect("an address"),
        );
        let mut command = retune_serve("0", folder.join("state"));
        let mut tenants = vec![DEFAULT_TENANT];
        for (key, secret) in KEYS {
            let tenant = tenants::add(&database.database, key)
                .await
                .expect("a tenant");
            let (id, secret_name) = (format!("{key}_ID"), format!("{key}_SECRET"));
            settings += &format!(
                "[storage.credentials.{tenant}]\naccess_key_id = '{id}'\nsecret_access_key = '{secret_name}'\n"
            );
            command.env(id, key).env(secret_name, secret);
            tenants.push(tenant);
        }
        let file = folder.join("retune.toml");
        std::fs::write(&file, settings).expect("our own folder");
        let api_keys =
            futures::future::join_all(tenants.into_iter().map(|tenant| key_of(&database, tenant)));
        let api_keys = api_keys.await;
        command
            .arg("--config")
            .arg(file)
            .env("DATABASE_URL", &database.url)
            .env("RETUNE_LOG_LEVEL", "debug")
            .env("AWS_ACCESS_KEY_ID", "nobody")
            .env("AWS_SECRET_ACCESS_KEY", "hunter5")
            .stderr(File::create(folder.join("log")).expect("our own folder"));
        Self {
            served: Served::start(&mut command).await,
            api_keys,
            _database: database,
        }
    }

    /// As the tenant of this place in `api_keys`.
    async fn ask(
        &self,
        who: usize,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, String) {
        let request = http()
            .request(method, format!("{}{path}", self.served.url))
            .bearer_auth(&self.api_keys[who])
            .json(body);
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    }
}

async fn key_of(database: &TestDatabase, tenant: TenantId) -> String {
    database.key_of(tenant, Role::Admin).await
}

#[test]
fn each_tenant_reads_by_its_own_keys_and_nobody_sees_them() {
    let runtime = Runtime::new().expect("a runtime");
    let server = S3Server::asking_for(runtime.handle(), &KEYS);
    for name in ["1", "2"] {
        server.put(&format!("allowed/visionkey/{name}/config.json"), "{}");
        server.put(&format!("allowed/visionkey/{name}/model.safetensors"), name);
    }
    let (_guard, folder) = reachable_folder();
    let said = runtime.block_on(async {
        let all = Installation::begin(&server, &folder).await;
        let mut said = String::new();
        let body = json!({"version": "1", "uri": "s3://bucket/allowed/visionkey/1/"});
        for (who, wanted) in [(1, true), (0, false), (2, false)] {
            let put = all
                .ask(who, Method::PUT, "/v1/base_models/llama", &json!({}))
                .await;
            assert_eq!(put.0, 201, "{}", put.1);
            let (status, text) = all
                .ask(who, Method::POST, "/v1/base_models/llama/versions", &body)
                .await;
            assert_eq!(status == 201, wanted, "{who}: {status} {text}");
            said += &text;
        }
        // What is found by looking is read by the same keys.
        let place = "/v1/base_models/llama/inbound_tokens";
        let body = json!({"prefix": "s3://bucket/allowed/visionkey/", "poll_seconds": 30});
        for who in [1, 2] {
            assert_eq!(all.ask(who, Method::POST, place, &body).await.0, 201);
        }
        let arrivals = "/v1/base_models/llama/arrivals?status=registered";
        within("the folder is listed and read", async || {
            let (_, text) = all.ask(1, Method::GET, arrivals, &Value::Null).await;
            text.contains("visionkey/2/").then_some(())
        })
        .await;
        said += &within("the other tenant's listing has failed", async || {
            let (_, text) = all.ask(2, Method::GET, place, &Value::Null).await;
            text.contains("403").then_some(text)
        })
        .await;
        said
    });
    let log = std::fs::read_to_string(folder.join("log")).expect("a log");
    assert!(!log.is_empty());
    for text in [&said, &log] {
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[tokio::test]
async fn the_settings_give_a_tenant_roots_in_place_of_the_services() {
    let database = TestDatabase::fresh().await;
    let (_guard, folder) = reachable_folder();
    let vision = tenants::add(&database.database, "vision")
        .await
        .expect("a tenant");
    let root = |name: &str| format!("file://{}/{name}/", folder.display());
    let file = folder.join("retune.toml");
    let settings = format!(
        "[storage]\nroots = ['{}']\n[storage.tenant_roots]\n{vision} = ['{}']\n",
        root("shared"),
        root("vision"),
    );
    std::fs::write(&file, settings).expect("our own folder");
    let api_keys = [
        key_of(&database, vision).await,
        key_of(&database, DEFAULT_TENANT).await,
    ];
    let mut command = retune_serve("1", folder.join("state"));
    command
        .arg("--config")
        .arg(file)
        .env("DATABASE_URL", &database.url);
    let served = Served::start(&mut command).await;
    let ask = async |who: usize, root: &str| {
        let request = http().post(format!("{}/v1/transfers", served.url));
        let answer = request
            .bearer_auth(&api_keys[who])
            .json(&spec_in(root))
            .send()
            .await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    for (who, own, other) in [(0, "vision", "shared"), (1, "shared", "vision")] {
        let (status, text) = ask(who, &root(own)).await;
        assert_eq!(status, 202, "{text}");
        let (status, text) = ask(who, &root(other)).await;
        assert!(
            status == 422 && text.contains("location_not_allowed"),
            "{status} {text}"
        );
    }
    // The workers have the same settings: their jobs end for what is missing, not for where it should be.
    let codes = within("both jobs have ended", async || {
        let mut codes = Vec::new();
        for key in &api_keys {
            let request = http()
                .get(format!("{}/v1/transfers", served.url))
                .bearer_auth(key);
            let listed = request.send().await.expect("an answer");
            let listed: Value = listed.json().await.expect("JSON");
            codes.push(listed["data"][0]["error"]["code"].as_str()?.to_owned());
        }
        Some(codes)
    })
    .await;
    assert!(
        codes.iter().all(|code| code != "location_not_allowed"),
        "{codes:?}"
    );
}

fn spec_in(root: &str) -> Value {
    json!({
        "source": {"base": format!("{root}old/"), "trajectory": format!("{root}tuned/")},
        "target": {"base": format!("{root}new/")},
        "methods": ["identity"],
        "output": format!("{root}out/"),
    })
}

/// What a store was asked with, by a command whose secrets lie in files.
async fn asked_with(variables: &[(&str, &str)], place: &str) -> Vec<String> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let store = axum::Router::new().fallback(move |request: axum::extract::Request| async move {
        let header = request.headers().get("authorization");
        let header = header.and_then(|value| value.to_str().ok());
        let query = request.uri().query().unwrap_or_default();
        let said = format!("{} {query}", header.unwrap_or_default());
        noted.lock().expect("no panic").push(said);
        StatusCode::FORBIDDEN
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, store).await });

    let folder = tempfile::tempdir().expect("a folder");
    let mut command = crate::support::retune();
    for (name, value) in variables {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("{value}\n")).expect("our own file");
        command.env(format!("{name}_FILE"), file);
    }
    command
        .args(["symmetry", place])
        .env("AZURE_STORAGE_USE_EMULATOR", "true")
        .env("AZURITE_BLOB_STORAGE_URL", format!("http://{address}"));
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    let ran = ran.expect("no panic").expect("the program starts");
    assert!(!ran.status.success());
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!said.contains("hunter"), "{said}");
    let asked = asked.lock().expect("no panic").clone();
    assert!(!asked.is_empty(), "{said}");
    asked
}

#[tokio::test]
async fn secrets_of_other_stores_come_from_files_too() {
    let place = "az://container/model/";
    let token = [("AZURE_STORAGE_TOKEN", "hunter1")];
    let asked = asked_with(&token, place).await;
    assert!(asked[0].starts_with("Bearer hunter1 "), "{asked:?}");

    let signature = [("AZURE_STORAGE_SAS_TOKEN", "sv=2026&sig=hunter2")];
    let asked = asked_with(&signature, place).await;
    assert!(asked[0].contains("sig=hunter2"), "{asked:?}");
}
