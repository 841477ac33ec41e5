//! The judgement of a run: it must be able to fail.

use std::{fs, time::Duration};

use retune::service::domain::transfers::Status;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    case::Expected,
    check::{Evidence, Folder, Judgement, Row, look},
    client::Submitted,
    faults::{Injected, Kind},
    recovery::{self, Step, recoveries},
};

fn row() -> Row {
    Row {
        id: Uuid::from_u128(1),
        idempotency_key: Some("job-1".into()),
        status: Status::Succeeded,
        verdict: Some("published".into()),
        manifest_sha256: Some("a".into()),
        error_code: None,
        error_detail: None,
        attempt: 2,
        successes: 1,
        ends: 1,
    }
}

fn clean() -> Evidence {
    let row = row();
    let submitted = Submitted {
        key: "job-1".into(),
        ids: vec![row.id, row.id],
        expected: Expected::Published,
    };
    let folder = Folder {
        manifest_sha256: Some("a".into()),
        has_model: true,
        manifests: 1,
        ..Folder::default()
    };
    Evidence {
        folders: [(row.id.to_string(), folder)].into(),
        submitted: vec![submitted],
        rows: vec![row],
        complaints: Vec::new(),
        answers: [("202".to_owned(), 3), ("503".to_owned(), 1)].into(),
    }
}

fn after(change: impl FnOnce(&mut Evidence)) -> Judgement {
    let mut evidence = clean();
    change(&mut evidence);
    evidence.judge()
}

#[test]
fn what_holds_is_not_complained_of() {
    assert!(clean().judge().is_clean());
}

#[test]
fn what_is_lost_is_seen() {
    assert_eq!(after(|e| e.rows.clear()).lost.len(), 1);
    assert_eq!(after(|e| e.rows[0].status = Status::Running).lost.len(), 1);
    let twin = after(|e| {
        e.rows.push(Row {
            id: Uuid::from_u128(2),
            ..row()
        });
    });
    assert_eq!(twin.lost, ["job-1: 2 rows"]);
}

#[test]
fn what_was_published_twice_is_seen() {
    assert_eq!(after(|e| e.rows[0].successes = 2).published_twice.len(), 1);
    let twice = after(|e| {
        e.folders
            .values_mut()
            .for_each(|folder| folder.manifests = 2);
    });
    assert_eq!(twice.published_twice.len(), 1);
}

#[test]
fn an_end_that_should_not_be_is_seen() {
    let complains = |change: fn(&mut Evidence)| assert!(!after(change).other.is_empty());
    complains(|e| e.rows[0].status = Status::Failed);
    complains(|e| e.rows[0].manifest_sha256 = Some("b".into()));
    complains(|e| e.folders.clear());
    complains(|e| e.submitted[0].ids.push(Uuid::from_u128(9)));
    complains(|e| e.submitted[0].expected = Expected::Rejected);
    complains(|e| e.submitted[0].expected = Expected::Failed("empty_trajectory"));
    complains(|e| e.complaints.push("seen".into()));
    complains(|e| e.answers.extend([("500".into(), 1)]));
    complains(|e| e.folders.extend([("stray".into(), Folder::default())]));
}

#[test]
fn a_job_whose_input_was_changed_ends_as_one_of_two() {
    let end = |status, error_code: Option<&str>| {
        after(|e| {
            e.submitted[0].expected = Expected::PublishedOr(&["input_changed"]);
            if status == Status::Failed {
                e.folders.clear();
            }
            e.rows[0].status = status;
            e.rows[0].error_code = error_code.map(str::to_owned);
        })
    };
    assert!(end(Status::Succeeded, None).is_clean());
    assert!(end(Status::Failed, Some("input_changed")).is_clean());
    assert!(!end(Status::Failed, Some("not_found")).is_clean());
}

#[test]
fn a_file_that_was_changed_after_the_manifest_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("our own file");
    };
    let digest = hex::encode(Sha256::digest("{}"));
    let manifest =
        serde_json::json!({"outputs": [{"name": "report.json", "size": 2, "sha256": digest}]});
    write("report.json", "{}");
    write("manifest.json", &manifest.to_string());
    assert!(look(folder.path()).expect("readable").faults.is_empty());
    write("report.json", "[]");
    write("more", "");
    assert_eq!(look(folder.path()).expect("readable").faults.len(), 2);
}

const START: OffsetDateTime = time::macros::datetime!(2026-11-01 00:00 UTC);

fn at(seconds: u64) -> OffsetDateTime {
    START + Duration::from_secs(seconds)
}

#[test]
fn a_wait_counts_once_and_for_the_fault_that_began_it() {
    let transfer = Uuid::from_u128(1);
    let fault = |kind, seconds| Injected {
        kind,
        at: at(seconds),
        touched: vec![transfer],
        requests: 0,
    };
    let injected = [
        fault(Kind::PgBackendKill, 20),
        fault(Kind::WorkerKill, 10),
        fault(Kind::PgBackendKill, 50),
    ];
    let steps = [5, 40, 53].map(|seconds| Step {
        transfer,
        at: at(seconds),
    });
    let found = recoveries(&injected, &steps);
    assert_eq!(found[&Kind::WorkerKill], [Duration::from_secs(30)]);
    assert_eq!(found[&Kind::PgBackendKill], [Duration::from_secs(3)]);
}

#[test]
fn quantiles_are_times_that_were_measured() {
    let times: Vec<Duration> = (1..=100).map(Duration::from_secs).collect();
    let quantile = |share| recovery::quantile(&times, share).map(|time| time.as_secs());
    assert_eq!(
        (quantile(0.5), quantile(0.99), quantile(1.0)),
        (Some(50), Some(99), Some(100))
    );
    assert_eq!(recovery::quantile(&[], 0.5), None);
}
