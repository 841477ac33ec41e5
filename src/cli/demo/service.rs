//! The demo's own service: `retune serve` as a child process on a free port, everything embedded.
//!
//! It runs on defaults whatever the environment says, so that a configured machine shows the same
//! demo and its database stays untouched. What it says goes to `service.log`.

use std::{env, fs, fs::File, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time,
};
use url::Url;

const LOG: &str = "service.log";
/// What `serve` says before its address.
const READY: &str = "retune listening on ";
/// Beyond what the service itself grants its workers and open requests.
const START_TIMEOUT: Duration = Duration::from_secs(25);
/// Lines of the log that are shown when the service does not start.
const TAIL_LINES: usize = 8;

/// A running service. End it by [`Service::stop`].
pub struct Service {
    pub url: Url,
    child: Child,
    /// Kept open: the service may write to it.
    _stdout: BufReader<ChildStdout>,
}

impl Service {
    /// Starts the service on `dir`, which exists, and waits until it is ready. The first start
    /// makes a database, which takes some seconds.
    ///
    /// # Errors
    /// What the service said when it did not start.
    pub async fn start(dir: &Path, pg_bin: &str) -> anyhow::Result<Self> {
        let log = dir.join(LOG);
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let program = env::current_exe().context("cannot find our own program")?;
        let mut command = Command::new(program);
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--workers",
                "1",
                "--data-dir",
            ])
            .arg(dir);

        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy().into_owned();
            if text.starts_with("DATABASE_URL") || text.starts_with("RETUNE_") {
                command.env_remove(name);
            }
        }

        if !pg_bin.is_empty() {
            command.env("RETUNE_PG_BIN", pg_bin);
        }

        // A group of its own: Ctrl-C reaches us alone, and we end it in good order.
        command.process_group(0).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file);
        let mut child = command.spawn().context("cannot start the service")?;
        let stdout = child.stdout.take().context("the service has no output")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .await
            .context("the service's output")?;

        let Some(address) = line.trim().strip_prefix(READY) else {
            let status = child.wait().await?;
            bail!(
                "the demo's service, which uses a private PostgreSQL and never DATABASE_URL, did \
                 not start ({status}):\n{}",
                tail(&log)
            );
        };

        let url = address
            .parse()
            .with_context(|| format!("the service's address {address:?}"))?;
        Ok(Self {
            url,
            child,
            _stdout: stdout,
        })
    }

    /// Ends the service: workers first, the database last.
    ///
    /// # Errors
    /// When it can be neither ended nor killed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }

        if time::timeout(START_TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            self.child
                .kill()
                .await
                .context("the service does not end")?;
        }
        Ok(())
    }

    /// Returns when the service ends by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        bail!("the service ended by itself ({status})")
    }
}

/// The last lines of the log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_log_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join(LOG);
        assert_eq!(tail(&log), "");
        let lines: Vec<String> = (1..=20).map(|i| i.to_string()).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        assert_eq!(tail(&log), "13\n14\n15\n16\n17\n18\n19\n20");
    }
}
