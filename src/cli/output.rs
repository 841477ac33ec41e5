//! What a command says: answers to stdout, the rest to stderr.
//!
//! A reader that has seen enough (`| head`) closes its end. That is no fault: what follows is dropped, the
//! command goes on to its own end and its exit code says what it found. Any other failure to write, a full
//! disk, is remembered and told at the end by [`finish`].

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    sync::OnceLock,
};

/// Why an answer could not be written, the first time.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// `print!` for answers.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::output::answer(format_args!($($text)*)) };
}

/// `println!` for answers.
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::answer(format_args!("{}\n", format_args!($($text)*))) };
}

/// `eprint!` for whoever watches.
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::output::remark(format_args!($($text)*)) };
}

/// `eprintln!` for whoever watches.
macro_rules! tellln {
    ($($text:tt)*) => { $crate::cli::output::remark(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to stdout; see the module.
pub fn answer(text: fmt::Arguments<'_>) {
    note(io::stdout().lock().write_fmt(text));
}

/// Writes to stderr. Where that cannot be written, there is nobody to tell.
pub fn remark(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Hands the last of the answers over.
///
/// # Errors
/// Why an answer could not be written, unless nobody reads it.
pub fn finish() -> Result<(), &'static io::Error> {
    note(io::stdout().lock().flush());
    FAILED.get().map_or(Ok(()), Err)
}

fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        // The first one counts.
        let _ = FAILED.set(error);
    }
}
