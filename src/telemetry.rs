//! Logs, to stderr: stdout belongs to what a command answers. [`traces`] go to a collector.

pub mod traces;

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Log, LogFormat};

/// Starts logging by the settings. A second call in a process changes nothing.
///
/// # Errors
/// When `log.level` is neither a level nor directives.
pub fn start(log: &Log) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&log.level)?;
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would report to stderr that stderr cannot be written, and panic: a full disk under the
        // log would take the process down.
        .log_internal_errors(false);
    // An error here says that logging has started already.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused() {
        let log = |level: &str| Log {
            level: level.into(),
            format: LogFormat::Text,
        };
        assert!(start(&log("info=loud")).is_err());
        assert!(start(&log("warn,sqlx=error")).is_ok());
    }
}
