//! Processes of the program under test.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
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
