//! The documents: their commands run as they stand, their links lead somewhere, the first page stays short.

mod commands;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{process::Command, time::timeout};

use crate::support::reachable_folder;

/// A block may take so long, unoptimised and beside other tests.
const PATIENCE: Duration = Duration::from_mins(5);

/// What is between two fences is such a block.
const FENCE: &str = "```";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file for readers, by its path in the repository.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![
        PathBuf::from("README.md"),
        PathBuf::from("CHANGELOG.md"),
        PathBuf::from("docker/chart/README.md"),
    ];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository().join(&folder)).expect("a folder of documents") {
            let name = folder.join(entry.expect("an entry").file_name());
            if repository().join(&name).is_dir() {
                folders.push(name);
            } else if name.extension().is_some_and(|extension| extension == "md") {
                documents.push(name);
            }
        }
    }
    documents.sort();
    documents
}

fn text_of(document: &Path) -> String {
    fs::read_to_string(repository().join(document)).expect("a document")
}

/// The blocks of a document that a reader can run as they stand.
fn blocks(text: &str) -> Vec<&str> {
    let opening = format!("{FENCE}sh\n");
    let after = text.split(opening.as_str()).skip(1);
    after
        .map(|rest| rest.split(FENCE).next().unwrap_or_default())
        .collect()
}

/// All in one folder, as somebody does who reads on; the quick start first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_documents_runs() {
    let (folder, path) = reachable_folder();
    // What a reader has already.
    let pickle = repository().join("tests/fixtures/pickles/training.pt");
    fs::copy(pickle, path.join("model.pt")).expect("our own file");

    let mut documents = documents();
    documents.sort_by_key(|document| !document.ends_with("quickstart.md"));
    let mut count = 0;
    for document in &documents {
        for block in blocks(&text_of(document)) {
            let said = run(block, &path).await;
            assert!(
                said.is_ok(),
                "{}:\n{block}\n{}",
                document.display(),
                said.unwrap_err()
            );
            count += 1;
        }
    }
    assert!(count >= 8, "only {count} blocks were found");
    drop(folder);
}

/// Runs a block by a shell that ends at the first failure; what it said where it failed.
async fn run(block: &str, folder: &Path) -> Result<(), String> {
    let program = Path::new(env!("CARGO_BIN_EXE_retune"));
    let programs = program.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let address = free_address();
    let log = folder.join("said.txt");
    let said = fs::File::create(&log).expect("our own file");

    let mut shell = Command::new("bash");
    shell
        .args(["-euc", block])
        .current_dir(folder)
        .env("PATH", format!("{programs}:{path}"))
        .env("RETUNE_LISTEN", &address)
        .env("RETUNE_URL", format!("http://{address}"))
        .env("RETUNE_DATA_DIR", folder.join("data"))
        .env_remove("DATABASE_URL")
        .env_remove("RETUNE_API_KEY")
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("our own file"))
        .stderr(said)
        .process_group(0);
    let mut child = shell.spawn().expect("bash");
    let group = child.id().map(|id| Pid::from_raw(id.cast_signed()));
    let ended = timeout(PATIENCE, child.wait()).await;
    // A service that the block has left behind, too; mostly there is none.
    let _ = group.map(|group| killpg(group, Signal::SIGKILL));
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        other => Err(format!(
            "{other:?}\n{}",
            fs::read_to_string(log).unwrap_or_default()
        )),
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for document in documents() {
        let folder = repository().join(&document);
        let folder = folder.parent().expect("a folder");
        for link in text_of(&document).split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(
                folder.join(file).exists(),
                "{}: {target}",
                document.display()
            );
            count += 1;
        }
    }
    assert!(count > 50, "only {count} links were found");
}

/// A document that names a file of the repository names one that there is.
#[test]
fn every_named_file_is_there() {
    let folders = [
        "src/",
        "tests/",
        "benches/",
        "config/",
        "docs/",
        "docker/",
        "migrations/",
    ];
    let mut count = 0;
    for document in documents() {
        for named in text_of(&document).split('`').skip(1).step_by(2) {
            // Not patterns, nor commands.
            let is_file = folders.iter().any(|folder| named.starts_with(folder))
                && !named.contains(['{', '*', '<', '…', ' ']);
            if is_file {
                assert!(
                    repository().join(named).exists(),
                    "{}: {named}",
                    document.display()
                );
                count += 1;
            }
        }
    }
    assert!(count > 50, "only {count} files were found");
}

#[test]
fn the_first_page_is_short() {
    let text = text_of(Path::new("README.md"));
    assert!(
        text.lines().count() <= 120,
        "{} lines",
        text.lines().count()
    );
    assert!(
        text.split_whitespace().count() <= 1000,
        "{} words",
        text.split_whitespace().count()
    );
}
