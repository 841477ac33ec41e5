//! The embedded default: a PostgreSQL of our own under the data dir, reached by a socket alone.
//!
//! Order of events: find the programs, take the lock, make the folder (`initdb`, once), reuse a
//! server that lives there (one of another command, or one orphaned by a kill) or start one, and
//! at the end stop it if nobody else uses it. Users hold a shared lock for as long as they use it;
//! the last one out stops the server.
//!
//! PostgreSQL refuses to run as root, so root runs it as `postgres` or `nobody` and gives that user
//! the folder `<data dir>/postgres`. Folders that were there before are never loosened.

mod account;
mod error;
mod keeper;
mod programs;
mod server;

use std::{
    fs::{self, File},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use account::Account;
pub use error::ClusterError;
use error::at;
pub use keeper::keep;
use programs::Programs;

/// Longest path of a Unix socket, in bytes.
const SOCKET_LIMIT: usize = 107;
/// The name that PostgreSQL gives its socket.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// A running private server. End with [`PrivateCluster::close`]; merely dropped, it lives on and
/// the next user finds it.
#[derive(Debug)]
pub struct PrivateCluster {
    home: PathBuf,
    sockets: PathBuf,
    /// Locked shared while we use the server.
    users: File,
    /// The server, where this process started it.
    child: Mutex<Option<Child>>,
    programs: Programs,
    account: Account,
}

impl PrivateCluster {
    /// Starts the server under `data_dir`, or joins the one that runs there. `pg_bin` is the folder
    /// of PostgreSQL's programs; empty: the usual places.
    ///
    /// # Errors
    /// See [`ClusterError`]; each names what to install or change.
    pub fn open(data_dir: &Path, pg_bin: &str) -> Result<Self, ClusterError> {
        let programs = Programs::find(pg_bin)?;
        let account = Account::of_server()?;
        let home = data_dir.join("postgres");
        account.create_searchable(data_dir)?;
        account.create_private(&home)?;
        account.check_searchable(&home)?;

        let _turn = lock_turn(&home)?;
        let users = open_lock(&home.join("users.lock"))?;
        users.lock_shared().map_err(|error| at(&home, error))?;
        initialise(&home, &programs, &account)?;
        programs.check_version(&home.join("data"))?;
        let sockets = socket_folder(&home, &account)?;
        let child = server::start_or_join(&home, &sockets, &programs, &account)?;

        Ok(Self {
            home,
            sockets,
            users,
            child: Mutex::new(child),
            programs,
            account,
        })
    }

    /// Whether the server's process lives.
    fn is_alive(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        server::is_running(&self.home, child.as_mut())
    }

    /// Starts the server anew, or joins the one that another process has started meanwhile.
    fn revive(&self) -> Result<(), ClusterError> {
        let _turn = lock_turn(&self.home)?;
        let child =
            server::start_or_join(&self.home, &self.sockets, &self.programs, &self.account)?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = child;
        Ok(())
    }

    /// Where the server writes its log.
    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// The folder of the server's socket, as `psql -h` and `pg_dump -h` take it; the user is `app`, the
    /// database `postgres`.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// The URL under which this process and its children reach the server.
    pub fn url(&self) -> String {
        let folder: String =
            url::form_urlencoded::byte_serialize(self.sockets.as_os_str().as_bytes()).collect();
        format!("postgres://app@localhost/postgres?host={folder}")
    }

    /// Stops the server unless another process still uses it.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub fn close(self) -> Result<(), ClusterError> {
        let _turn = lock_turn(&self.home)?;
        self.users.unlock().map_err(|error| at(&self.home, error))?;
        if self.users.try_lock().is_err() {
            tracing::debug!("another process uses the private database; leaving it running");
            return Ok(());
        }

        let mut child = self
            .child
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        server::stop(&self.home, child.as_mut())
    }
}

/// Makes a folder, where it is missing, so that a server under it can be reached by its account.
///
/// # Errors
/// When it cannot be made, or root has no account to run the server as.
pub fn create_folder(folder: &Path) -> Result<(), ClusterError> {
    Account::of_server()?.create_searchable(folder)
}

/// Starting and stopping happen one process at a time.
fn lock_turn(home: &Path) -> Result<File, ClusterError> {
    let path = home.join("turn.lock");
    let turn = open_lock(&path)?;
    turn.lock().map_err(|error| at(&path, error))?;
    Ok(turn)
}

fn open_lock(path: &Path) -> Result<File, ClusterError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| at(path, error))
}

/// Makes `data/`, aside and then by one rename: a half-made one is never taken for a whole one.
fn initialise(home: &Path, programs: &Programs, account: &Account) -> Result<(), ClusterError> {
    let data = home.join("data");
    if data.join("PG_VERSION").exists() {
        return Ok(());
    }

    let aside = home.join("data.new");
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(|error| at(&aside, error))?;
    }
    tracing::info!(folder = %data.display(), "making a private database; this takes some seconds, once");
    let mut command = Command::new(programs.initdb());
    command
        .args([
            "-U",
            "app",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--data-checksums",
            "-D",
        ])
        .arg(&aside)
        .current_dir(home);

    account.apply(&mut command);
    let output = command
        .output()
        .map_err(|error| at(&programs.initdb(), error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(ClusterError::InitDb(said.trim().to_owned()));
    }

    fs::rename(&aside, &data).map_err(|error| at(&data, error))
}

/// `<home>/run`, or a short folder of ours in the temporary one where that path is too long.
fn socket_folder(home: &Path, account: &Account) -> Result<PathBuf, ClusterError> {
    let mut folder = home.join("run");
    if folder.join(SOCKET_NAME).as_os_str().len() > SOCKET_LIMIT {
        let digest = hex::encode(Sha256::digest(home.as_os_str().as_bytes()));
        folder = PathBuf::from("/tmp").join(format!("retune-{}", &digest[..16]));
    }

    account.create_private(&folder)?;
    // The name in the temporary folder can be guessed: take it only if it is ours and closed.
    let found = fs::symlink_metadata(&folder).map_err(|error| at(&folder, error))?;
    let closed = found.permissions().mode().trailing_zeros() >= 6;
    if !(found.is_dir() && closed && account.owns(&found)) {
        return Err(ClusterError::ForeignFolder(folder));
    }

    Ok(folder)
}
