//! `PgBouncer` between the service and its database, where it is installed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use retune::{
    contract::ids::WorkerId,
    service::{
        database::Database,
        registry::{attempts, submit},
    },
};

use super::server::Server;
use crate::support::{LONG, Process, enqueue, within};

/// A pooler before a server's database `postgres`, reached by a socket of its own.
struct Pooler {
    _process: Process,
    folder: PathBuf,
}

impl Pooler {
    async fn start(server: &Server, mode: &str) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|it| Path::new(it).exists())?;
        let folder = server.folder.join(mode);
        std::fs::create_dir(&folder).expect("our own folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&folder, open).expect("our own folder");
        let sockets = server.sockets().display().to_string();
        let users = folder.join("users.txt");
        std::fs::write(&users, "\"app\" \"\"\n").expect("our own folder");
        // Nothing is ignored of what the service says at the beginning.
        let settings = format!(
            "[databases]\npostgres = host={sockets} port=5432\n[pgbouncer]\nlisten_addr =\nlisten_port = 5432\n\
             unix_socket_dir = {}\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n",
            folder.display(),
            users.display()
        );
        let file = folder.join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("our own folder");
        let mut command = Command::new(program);
        // It refuses to run as root, and must reach the server's socket.
        command.args(["-q"]).arg(&file).stderr(Stdio::null());
        as_server(&mut command, server.sockets());
        let pooler = Self {
            _process: Process::start(&mut command),
            folder,
        };
        within("the pooler answers", async || {
            Database::connect_to(&pooler.url(), 1)
                .await
                .ok()
                .map(|_| ())
        })
        .await;
        Some(pooler)
    }

    fn url(&self) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://app@localhost/postgres?host={folder}")
    }
}

/// As the user whose socket it is.
fn as_server(command: &mut Command, sockets: &Path) {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};
    let owner = std::fs::metadata(sockets).expect("a socket's folder");
    if nix::unistd::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_pooled_without_a_setting_and_transactions_are_refused_by_name() {
    let server = Server::private().await;
    let Some(session) = Pooler::start(&server, "session").await else {
        eprintln!("pgbouncer is not installed: nothing was tried with it");
        return;
    };
    let database = Database::connect_to(&session.url(), 4)
        .await
        .expect("the pooler answers");
    database.migrate().await.expect("the schema");
    let queued = submit::enqueue(&database, enqueue()).await;
    let queued = queued.expect("a tenant writes").transfer.id;
    let lease = attempts::claim(&database, WorkerId::generate(), LONG)
        .await
        .expect("it answers");
    assert_eq!(lease.map(|lease| lease.transfer), Some(queued));

    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&server, mode).await.expect("installed");
        let shared = Database::connect_to(&pooler.url(), 4)
            .await
            .expect("the pooler answers");
        let refusal = shared
            .migrate()
            .await
            .expect_err("connections are shared")
            .to_string();
        assert!(refusal.contains("pool_mode = session"), "{mode}: {refusal}");
    }
}
