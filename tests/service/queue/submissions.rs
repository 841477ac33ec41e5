//! What is submitted: once under a key, listed newest first, and heard of.

use std::collections::HashSet;

use retune::{
    contract::ids::{TenantId, TransferId},
    pipeline::Verdict,
    service::{
        database::{
            idempotency::Idempotency,
            transfers::{self, Enqueue, ListFilter},
        },
        domain::{access::DEFAULT_TENANT, transfers::Status},
        registry::{
            submit::{self, EnqueueError},
            transitions,
        },
    },
};
use serde_json::json;

use crate::support::{PATIENCE, TestDatabase, enqueue, spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_under_one_key_make_one_transfer() {
    let test = TestDatabase::fresh().await;
    let request = |sha: u8| Enqueue {
        idempotency: Some(Idempotency {
            key: "k".into(),
            request_sha256: [sha; 32],
        }),
        ..enqueue()
    };
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (database, request) = (test.database.clone(), request(1));
        requests.spawn(async move { submit::enqueue(&database, request).await.unwrap() });
    }
    let answers = requests.join_all().await;
    let ids: HashSet<TransferId> = answers.iter().map(|answer| answer.transfer.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    let other = submit::enqueue(&test.database, request(2)).await;
    assert!(matches!(other, Err(EnqueueError::KeyReused(_))));
    let kinds = test.event_kinds(*ids.iter().next().unwrap()).await;
    assert_eq!(kinds, ["transfer.queued"]);
}

#[tokio::test]
async fn lists_are_filtered_newest_first_and_paged() {
    let test = TestDatabase::fresh().await;
    let submit = async |source: &str, target: &str, team: &str| {
        let new = Enqueue {
            spec: spec(source, target),
            metadata: json!({"team": team}),
            ..enqueue()
        };
        test.submit(new).await.id
    };
    let one = submit("file:///a/", "file:///b/", "x").await;
    let two = submit("file:///b/", "file:///c/", "y").await;
    let three = submit("file:///a/", "file:///c/", "x").await;
    transitions::request_cancel(&test.database, DEFAULT_TENANT, two)
        .await
        .unwrap();
    let list = async |filter: ListFilter| {
        let filter = ListFilter {
            limit: if filter.limit == 0 { 10 } else { filter.limit },
            ..filter
        };
        let found = transfers::list(&test.database, DEFAULT_TENANT, &filter)
            .await
            .unwrap();
        found
            .into_iter()
            .map(|transfer| transfer.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(ListFilter::default()).await, [three, two, one]);
    let base = |base: &str| ListFilter {
        base: Some(base.into()),
        ..ListFilter::default()
    };
    assert_eq!(list(base("file:///b/")).await, [two, one]);
    let of = |statuses: &[Status]| ListFilter {
        statuses: statuses.to_vec(),
        ..ListFilter::default()
    };
    assert_eq!(list(of(&[Status::Cancelled])).await, [two]);
    assert_eq!(
        list(of(&[Status::Cancelled, Status::Queued])).await,
        [three, two, one]
    );
    let search = |text: &str| ListFilter {
        search: Some(text.into()),
        ..ListFilter::default()
    };
    assert_eq!(list(search("/C/")).await, [three, two]);
    assert_eq!(list(search(&three.to_string()[30..])).await, [three]);
    assert!(list(search("%")).await.is_empty(), "no pattern");
    let since = test.get(two).await.created_at;
    let after = ListFilter {
        created_after: Some(since),
        ..ListFilter::default()
    };
    assert_eq!(list(after).await, [three, two]);
    let before = ListFilter {
        created_before: Some(since),
        ..ListFilter::default()
    };
    assert_eq!(list(before).await, [one]);
    let published = ListFilter {
        verdict: Some(Verdict::Published),
        ..ListFilter::default()
    };
    assert!(list(published).await.is_empty());
    let team = ListFilter {
        metadata: vec![("team".into(), "x".into())],
        ..ListFilter::default()
    };
    assert_eq!(list(team).await, [three, one]);
    assert_eq!(
        list(ListFilter {
            limit: 1,
            ..ListFilter::default()
        })
        .await,
        [three]
    );
    let next = ListFilter {
        limit: 1,
        after: Some(three),
        ..ListFilter::default()
    };
    assert_eq!(list(next).await, [two]);
    let any = ListFilter {
        limit: 9,
        ..ListFilter::default()
    };
    let elsewhere = transfers::list(&test.database, TenantId::generate(), &any);
    assert!(elsewhere.await.unwrap().is_empty());
}

#[tokio::test]
async fn changes_are_heard() {
    let test = TestDatabase::fresh().await;
    let mut changes = test.changes.subscribe();
    // What happens before the ear is open goes unheard: again after each look at everything.
    let heard = async {
        loop {
            let id = test.queued(3).await.id;
            loop {
                match changes.recv().await.unwrap() {
                    heard if heard == id => return,
                    TransferId::ANY => break,
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard)
        .await
        .expect("heard in time");
}
