//! Processes of the program under test.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::time;

use super::{PATIENCE, within};

/// The program under test, without any of our own settings.
pub fn retune() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retune"));
    for (name, _) in std::env::vars() {
        if name.starts_with("RETUNE_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    // Tests do not find what others have left.
    command.env("RETUNE_WORKER_CACHE_DIR", "none");
    command
}

/// `retune serve` with as many workers, on a free port; its state lies in `data_dir`.
pub fn retune_serve(workers: &str, data_dir: impl AsRef<OsStr>) -> Command {
    let mut command = retune();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", workers])
        .arg("--data-dir")
        .arg(data_dir);
    command
}

/// A data folder for services that keep nothing in it: their PostgreSQL is the test's.
pub fn unused_folder() -> PathBuf {
    std::env::temp_dir().join("retune-tests-unused")
}

/// Commands of the program, as people give them.
pub trait Commands {
    /// The program, told of what it talks to.
    fn program(&self) -> Command;

    fn run(&self, arguments: &[&str]) -> Output {
        let done = self.program().args(arguments).output();
        done.expect("the program starts")
    }

    /// What a command prints that must succeed.
    fn text(&self, arguments: &[&str]) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.run(arguments);
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(stdout).expect("text")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }
}

/// A process that ends with the test.
pub struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// The next line on stdout; empty at the end.
    pub async fn line(&mut self) -> String {
        let mut stdout = self.stdout.take().expect("read by one at a time");
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("stdout is text");
            (stdout, line)
        });
        let (stdout, line) = time::timeout(PATIENCE, reading)
            .await
            .expect("a line in time")
            .expect("no panic");
        self.stdout = Some(stdout);
        line.trim_end().to_owned()
    }

    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process number")
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal).expect("the process lives");
    }

    /// Waits for the end; the exit code, if it was not a signal.
    pub async fn ended(&mut self) -> Option<i32> {
        within("the process ends", || {
            let status = self.child.try_wait().expect("our child");
            async move { status }
        })
        .await
        .code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Stopped processes too take this signal. It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `retune serve` on a port of its own.
pub struct Served {
    pub process: Process,
    /// `http://127.0.0.1:…`
    pub url: String,
}

impl Served {
    /// Starts `command` (`retune serve …`) and waits for its line.
    pub async fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command);
        let line = process.line().await;
        let url = line
            .strip_prefix("retune listening on ")
            .expect(&line)
            .to_owned();
        Self { process, url }
    }
}
