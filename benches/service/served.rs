//! A service of the bench's own.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::Failure;

/// A running `retune serve`, killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub url: String,
}

impl Served {
    pub fn start(folder: &Path, database: &str, workers: usize) -> Result<Self, Failure> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_retune"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--workers",
                &workers.to_string(),
            ])
            .arg("--data-dir")
            .arg(folder.join("state"))
            .env("DATABASE_URL", database)
            .env(
                "RETUNE_STORAGE_ROOTS",
                format!("file://{}/", folder.display()),
            )
            .env("RETUNE_WORKER_CACHE_DIR", "none")
            // All browsers are of one address here.
            .env("RETUNE_HTTP_CONNECTIONS_PER_ADDRESS", "1000")
            .env("RETUNE_HTTP_RATE_LIMIT", "100000")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let url = line
            .trim()
            .strip_prefix("retune listening on ")
            .ok_or("it listens")?
            .to_owned();
        Ok(Self { child, url })
    }

    /// PSS in MB of the service and of its workers.
    pub fn memory(&self) -> Result<f64, Failure> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let all = children
            .split_whitespace()
            .map(str::to_owned)
            .chain([own.to_string()]);
        let pss = |pid: String| -> Option<f64> {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Ok(all.filter_map(pss).sum::<f64>() / 1024.0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
