//! The server process: join a live one, start one, stop it.
//!
//! `postmaster.pid` in the data folder is PostgreSQL's own account of itself: process number in the
//! first line, `starting`, `ready` or `stopping` in the eighth. The file outlives a crash, so the
//! socket says whether anyone is there.

use std::{
    fs::{self, File},
    os::unix::{net::UnixStream, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    SOCKET_NAME,
    account::Account,
    error::{ClusterError, at},
    programs::Programs,
};

/// Recovery after a crash can take long.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The last checkpoint waits for the disk.
const STOP_LIMIT: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

fn answers(sockets: &Path) -> bool {
    UnixStream::connect(sockets.join(SOCKET_NAME)).is_ok()
}

/// Returns the server's process if this call started it.
pub fn start_or_join(
    home: &Path,
    sockets: &Path,
    programs: &Programs,
    account: &Account,
) -> Result<Option<Child>, ClusterError> {
    let begun = Instant::now();
    let mut child = None;
    while begun.elapsed() < START_LIMIT {
        let state = state(home);
        if answers(sockets) && state.as_ref().is_some_and(|(_, word)| word == "ready") {
            return Ok(child);
        }
        // One that is stopping still holds the folder: wait for its end.
        let stopping = state.is_some_and(|(pid, word)| word == "stopping" && is_alive(pid));
        if child.as_mut().is_some_and(has_ended) {
            break;
        }
        if child.is_none() && !stopping && !answers(sockets) {
            child = Some(spawn(home, sockets, programs, account)?);
        }
        thread::sleep(LOOK_AGAIN);
    }

    let log = home.join("log");
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(8)..].join("\n");

    Err(ClusterError::DidNotStart { log, tail })
}

/// In a process group of its own, so that a Ctrl-C meant for us does not reach it before its time.
fn spawn(
    home: &Path,
    sockets: &Path,
    programs: &Programs,
    account: &Account,
) -> Result<Child, ClusterError> {
    let log_path = home.join("log");
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(|error| at(&log_path, error))?;

    let errors = log.try_clone().map_err(|error| at(&log_path, error))?;
    let mut command = Command::new(programs.postgres());
    command
        .arg("-D")
        .arg(home.join("data"))
        .args([
            "-c",
            "listen_addresses=",
            "-c",
            "unix_socket_permissions=0700",
        ])
        .args(["-c", "shared_buffers=64MB", "-c"])
        .arg(format!("unix_socket_directories={}", quoted(sockets)))
        .current_dir(home)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);

    account.apply(&mut command);
    command
        .spawn()
        .map_err(|error| at(&programs.postgres(), error))
}

/// A path as one element of a list setting.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\""))
}

/// Stops the server, be it ours or one that we joined, by PostgreSQL's "fast shutdown".
pub fn stop(home: &Path, child: Option<&mut Child>) -> Result<(), ClusterError> {
    let Some((pid, _)) = state(home) else {
        return Ok(());
    };

    // An error says that it is gone already.
    let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
    let begun = Instant::now();
    let mut child = child;
    while begun.elapsed() < STOP_LIMIT {
        let gone = match &mut child {
            Some(child) => has_ended(child),
            None => !is_alive(pid) || state(home).is_none(),
        };
        if gone {
            return Ok(());
        }
        thread::sleep(LOOK_AGAIN);
    }

    Err(ClusterError::DoesNotStop { pid })
}

/// Whether the server lives, be it ours or one that we joined. By its process, not by its socket: one
/// that is stopped or overworked does not answer, and is not dead.
pub fn is_running(home: &Path, child: Option<&mut Child>) -> bool {
    // Ours must be waited for, else it stays in the list of processes.
    !child.is_some_and(has_ended) && state(home).is_some_and(|(pid, _)| is_alive(pid))
}

fn has_ended(child: &mut Child) -> bool {
    child.try_wait().is_ok_and(|status| status.is_some())
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

fn state(home: &Path) -> Option<(i32, String)> {
    read_state(&fs::read_to_string(home.join("data/postmaster.pid")).ok()?)
}

/// Process number and state word of a `postmaster.pid`.
fn read_state(text: &str) -> Option<(i32, String)> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let word = lines.nth(6).unwrap_or_default().trim().to_owned();
    Some((pid, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_and_state_are_read_from_the_servers_own_file() {
        let text = "4711\n/d/data\n1700000000\n5432\n/d/run\n\n  5432001     12\nready   \n";
        assert_eq!(read_state(text), Some((4711, "ready".into())));
        assert_eq!(read_state("4711\n/d/data\n"), Some((4711, String::new())));
        assert_eq!(read_state(""), None);
    }

    #[test]
    fn a_folder_with_a_comma_or_quote_stays_one_folder() {
        assert_eq!(quoted(Path::new("/a, b\"c")), "\"/a, b\"\"c\"");
    }
}
