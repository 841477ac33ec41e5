//! A check that runs in a process of its own, which may crash, hang, or flood its standard error.

use std::{
    io::{self, BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Between two looks at whether it has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// For what it said, once it has ended: somebody else may hold its standard error open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// Bytes of a line that are kept.
const MAX_LINE_BYTES: u64 = 4096;

/// Runs a command and says what is wrong, if it does not end well within `patience`.
///
/// # Errors
/// How it ended and the last line that it said; that it did not end, or could not be started.
pub(super) fn ends_well(command: &mut Command, patience: Duration) -> Result<(), String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let words = last_words(&mut child);

    let until = Instant::now() + patience;
    while Instant::now() < until {
        match child.try_wait().map_err(|error| error.to_string())? {
            None => thread::sleep(POLL_INTERVAL),
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                let last = words
                    .recv_timeout(OUTPUT_GRACE)
                    .ok()
                    .filter(|last| !last.is_empty());
                let last = last.unwrap_or_else(|| "it said nothing".to_owned());
                return Err(format!("its check ended with {status}: {last}"));
            }
        }
    }

    // It has been given up; whatever became of it. Waited for, so that no dead process stays.
    if child.kill().is_ok() {
        let _ = child.wait();
    }

    Err(format!(
        "its check did not end within {} s",
        patience.as_secs_f64()
    ))
}

/// Hears the last line of a process's standard error once that is closed. It is read all the while: a process
/// whose pipe is full stands still.
fn last_words(child: &mut Child) -> mpsc::Receiver<String> {
    let (said, heard) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            // Nobody may listen any more.
            let _ = said.send(last_line(BufReader::new(stderr)).unwrap_or_default());
        });
    }
    heard
}

/// The last line that says something, of which the beginning is kept.
fn last_line(mut lines: impl BufRead) -> io::Result<String> {
    let mut last = String::new();
    loop {
        let mut line = Vec::new();
        if lines
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(last);
        }
        let said = String::from_utf8_lossy(&line).trim().to_owned();
        if !said.is_empty() {
            last = said;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Result<(), String> {
        ends_well(Command::new("sh").args(["-c", script]), patience)
    }

    #[test]
    fn whatever_a_driver_does_it_is_an_answer() {
        let minute = Duration::from_mins(1);
        assert_eq!(shell("true", minute), Ok(()));
        let refused = shell("echo compiling >&2; echo wrong by 3 >&2; exit 1", minute).unwrap_err();
        assert!(
            refused.contains("exit status: 1") && refused.ends_with("wrong by 3"),
            "{refused}"
        );
        let crashed = shell("kill -SEGV $$", minute).unwrap_err();
        assert!(crashed.contains("signal: 11"), "{crashed}");
        assert!(crashed.ends_with("it said nothing"), "{crashed}");
        let hung = shell("exec sleep 600", Duration::from_millis(100)).unwrap_err();
        assert!(hung.contains("did not end within 0.1 s"), "{hung}");
        let missing = ends_well(&mut Command::new("/no/such/program"), minute).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn a_flood_of_words_stops_nobody() {
        let flood =
            "head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; yes | head -n 100000 >&2; exit 3";
        let refused = shell(flood, Duration::from_mins(1)).unwrap_err();
        assert!(refused.ends_with("exit status: 3: y"), "{refused}");
    }
}
