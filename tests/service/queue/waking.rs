//! Who is woken by a transfer that is queued.

use retune::{
    contract::ids::WorkerId,
    service::{
        database::workers::{self, Introduction},
        registry::attempts,
    },
};
use sqlx::postgres::PgListener;
use tokio::time;

use crate::support::{LONG, PATIENCE, TestDatabase};

/// Where the database tells all workers.
const ALL: &str = "transfer_queued";

fn introduction() -> Introduction {
    Introduction {
        host: "host".into(),
        pid: 1,
        device: "cpu".into(),
    }
}

/// A worker that is known, and what it hears.
struct Known {
    id: WorkerId,
    heard: PgListener,
}

impl Known {
    async fn new(test: &TestDatabase) -> Self {
        let id = WorkerId::generate();
        workers::seen(&test.database, id, &introduction())
            .await
            .unwrap();
        let mut heard = PgListener::connect(&test.url).await.unwrap();
        heard
            .listen_all([ALL, &workers::channel(id)])
            .await
            .unwrap();
        Self { id, heard }
    }

    /// Whether it was new that it waits, and how many do.
    async fn wait(&self, test: &TestDatabase) -> (bool, u32) {
        self.wait_and(true, test).await
    }

    /// The same of one that listens, or that looks by itself.
    async fn wait_and(&self, listens: bool, test: &TestDatabase) -> (bool, u32) {
        let waiting = workers::say_waiting(&test.database, self.id, listens)
            .await
            .unwrap();
        (waiting.is_new, waiting.processes)
    }

    async fn hears_alone(&mut self) {
        assert_eq!(self.next().await, workers::channel(self.id));
    }

    async fn hears_with_all(&mut self) {
        assert_eq!(self.next().await, ALL);
    }

    /// The channel of the next notification.
    async fn next(&mut self) -> String {
        let notified = time::timeout(PATIENCE, self.heard.recv()).await;
        notified.expect("in time").unwrap().channel().to_owned()
    }
}

#[tokio::test]
async fn each_queued_transfer_wakes_one_that_waits() {
    let test = TestDatabase::fresh().await;
    let (mut first, mut second) = (Known::new(&test).await, Known::new(&test).await);
    assert_eq!(first.wait(&test).await, (true, 1));
    assert_eq!(first.wait(&test).await, (false, 1));
    assert_eq!(second.wait(&test).await, (true, 2));

    // The one that has waited for the shortest time; then the other; then nobody waits, and all are told.
    for _ in 0..3 {
        test.queued(3).await;
    }

    // In this order: had one been told of the other's transfer, it would hear of that first.
    second.hears_alone().await;
    first.hears_alone().await;
    first.hears_with_all().await;
    second.hears_with_all().await;
    // It was woken, so that it is new that it waits.
    assert_eq!(first.wait(&test).await, (true, 1));
}

#[tokio::test]
async fn who_looks_by_itself_waits_and_is_not_woken() {
    let test = TestDatabase::fresh().await;
    let (mut looks, mut listens) = (Known::new(&test).await, Known::new(&test).await);
    assert_eq!(listens.wait(&test).await, (true, 1));
    assert_eq!(looks.wait_and(false, &test).await, (true, 2));
    assert_eq!(looks.wait_and(false, &test).await, (false, 2));
    for _ in 0..2 {
        test.queued(3).await;
    }
    listens.hears_alone().await;
    listens.hears_with_all().await;
    looks.hears_with_all().await;

    // Since they are fewer, it listens, too.
    assert_eq!(looks.wait(&test).await, (true, 1));
    test.queued(3).await;
    looks.hears_alone().await;
}

#[tokio::test]
async fn who_works_or_is_silent_is_not_woken() {
    let test = TestDatabase::fresh().await;
    let (mut silent, mut works) = (Known::new(&test).await, Known::new(&test).await);
    let mut waits = Known::new(&test).await;
    silent.wait(&test).await;
    sqlx::query("UPDATE workers SET last_seen_at = now() - interval '2 minutes'")
        .execute(&test.database.pool)
        .await
        .unwrap();
    for one in [&works, &waits] {
        workers::seen(&test.database, one.id, &introduction())
            .await
            .unwrap();
    }
    test.queued(3).await;
    for one in [&mut silent, &mut works, &mut waits] {
        one.hears_with_all().await;
    }

    // It waits, looks unasked, and finds the transfer.
    assert_eq!(works.wait(&test).await, (true, 1));
    let taken = attempts::claim(&test.database, works.id, LONG)
        .await
        .unwrap();
    assert!(taken.is_some());
    assert_eq!(waits.wait(&test).await, (true, 1));
    test.queued(3).await;
    waits.hears_alone().await;

    // Somebody else takes it, and nobody waits.
    test.queued(3).await;
    for one in [&mut silent, &mut works, &mut waits] {
        one.hears_with_all().await;
    }
}

#[tokio::test]
async fn an_abandoned_submission_wakes_nobody() {
    let test = TestDatabase::fresh().await;
    let mut worker = Known::new(&test).await;
    worker.wait(&test).await;

    let queued = test.queued(3).await;
    worker.hears_alone().await;
    worker.wait(&test).await;
    let mut transaction = test.database.pool.begin().await.unwrap();
    sqlx::query("UPDATE transfers SET status = 'queued', attempt = attempt + 1 WHERE id = $1")
        .bind(queued.id.0)
        .execute(&mut *transaction)
        .await
        .unwrap();
    // Its row is locked: another submission does not wait for it, and tells all.
    test.queued(3).await;
    worker.hears_with_all().await;
    transaction.rollback().await.unwrap();

    assert_eq!(worker.wait(&test).await, (false, 1));
    test.queued(3).await;
    worker.hears_alone().await;
}
