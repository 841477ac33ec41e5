//! A database that is away for longer than a lease.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    service::crash::Case,
    support::{Process, reachable_folder, within},
};

const SOCKET: &str = ".s.PGSQL.5432";

/// A way to the database that can be cut.
struct Line {
    url: String,
    open: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Line {
    fn to(url: &str) -> Self {
        let (folder, path) = reachable_folder();
        let mut url = url::Url::parse(url).expect("a URL");
        let (_, server) = url.query_pairs().next().expect("a socket's folder");
        let server = PathBuf::from(server.as_ref());
        let listener = UnixListener::bind(path.join(SOCKET)).expect("a socket");
        let own = path.to_str().expect("UTF-8").to_owned();
        url.query_pairs_mut().clear().append_pair("host", &own);
        let url = url.to_string();
        let (open, is_open) = watch::channel(true);
        let task = tokio::spawn(serve(listener, server, is_open));
        Self {
            url,
            open,
            task,
            _folder: folder,
        }
    }

    fn cut(&self) {
        self.open.send_replace(false);
    }

    fn mend(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: UnixListener,
    server: PathBuf,
    is_open: watch::Receiver<bool>,
) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        if *is_open.borrow() {
            tokio::spawn(carry(client, server.clone(), is_open.clone()));
        }
    }
}

async fn carry(mut client: UnixStream, server: PathBuf, mut is_open: watch::Receiver<bool>) {
    let Ok(mut server) = UnixStream::connect(Path::new(&server).join(SOCKET)).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = is_open.wait_for(|open| !open) => {}
    }
}

/// One freeze of 37 s once took a healthy transfer from its first attempt to its third and last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_a_transfer_no_attempt() {
    let case = Case::fresh().await;
    let line = Line::to(&case.test.url);
    let id = case.queued(100).await;
    let mut command = case.command();
    let worker = Process::start(command.env("DATABASE_URL", &line.url));
    case.aligning(id, 1).await;
    line.cut();
    within("the lease runs out", async || {
        let over: bool = sqlx::query_scalar(
            "SELECT lease_expires_at < now() - interval '1 second' FROM transfers",
        )
        .fetch_one(&case.test.database.pool)
        .await
        .expect("the test has its own way");
        over.then_some(())
    })
    .await;
    assert_eq!(case.test.get(id).await.attempt, 1);
    line.mend();
    case.succeeded_once(id).await;
    assert_eq!(case.test.get(id).await.attempt, 1);
    drop(worker);
}

/// The same where the result is there and only its record is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_was_ready_during_an_outage_is_recorded_after_it() {
    let case = Case::fresh().await;
    let line = Line::to(&case.test.url);
    let id = case.queued(60).await;
    let mut command = case.command();
    let log = tempfile::NamedTempFile::new().expect("a file");
    command
        .env("DATABASE_URL", &line.url)
        .env("RETUNE_WORKER_LEASE_SECONDS", "600")
        .stderr(log.reopen().expect("our own file"));
    let worker = Process::start(&mut command);
    case.aligning(id, 1).await;
    line.cut();
    within("the worker has something to record", async || {
        let said = std::fs::read_to_string(log.path()).expect("text");
        said.contains("cannot record the end").then_some(())
    })
    .await;
    line.mend();
    case.succeeded_once(id).await;
    assert_eq!(case.test.get(id).await.attempt, 1);
    drop(worker);
}
