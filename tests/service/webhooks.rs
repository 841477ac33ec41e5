//! Webhooks of a real `retune serve`.

use std::process::Command;

use nix::sys::signal::Signal;
use retune::service::domain::{access::DEFAULT_TENANT, events::DeliveryStatus};

use crate::support::{
    Served, TestDatabase,
    receiver::Receiver,
    retune_serve, unused_folder,
    webhooks::{newest_delivery, subscribe},
    within,
};

fn serve(test: &TestDatabase) -> Command {
    let mut command = retune_serve("0", unused_folder());
    command
        .env("DATABASE_URL", &test.url)
        .env("RETUNE_WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8")
        .env("RETUNE_WEBHOOKS_TIMEOUT_SECONDS", "1")
        .env("RETUNE_WEBHOOKS_POLL_SECONDS", "0.1");
    command
}

#[tokio::test]
async fn a_sender_killed_between_post_and_record_leaves_the_delivery_to_the_next() {
    let test = TestDatabase::fresh().await;
    let mut hook = Receiver::silent_first().await;
    let secret = subscribe(&test, DEFAULT_TENANT, "ci", &hook.url).await;
    let mut first = Served::start(&mut serve(&test)).await;
    test.queued(1).await;
    let posted = hook.post().await;
    // The receiver has it and has not answered.
    first.process.signal(Signal::SIGKILL);
    first.process.ended().await;
    assert_eq!(
        newest_delivery(&test, "ci").await.status,
        DeliveryStatus::Pending
    );

    let second = Served::start(&mut serve(&test)).await;
    let again = hook.post().await;
    assert_eq!(again.header("webhook-id"), posted.header("webhook-id"));
    assert_eq!(again.body, posted.body);
    assert!(posted.is_signed_by(&secret) && again.is_signed_by(&secret));
    let done = within("the delivery is recorded", async || {
        let now = newest_delivery(&test, "ci").await;
        (now.status == DeliveryStatus::Delivered).then_some(now)
    })
    .await;
    assert_eq!(done.attempts, 2);
    drop(second);
}

#[tokio::test]
async fn two_services_on_one_database_deliver_each_event_once() {
    let test = TestDatabase::fresh().await;
    let mut hook = Receiver::start().await;
    subscribe(&test, DEFAULT_TENANT, "ci", &hook.url).await;
    let _two = tokio::join!(async { Served::start(&mut serve(&test)).await }, async {
        Served::start(&mut serve(&test)).await
    });
    let mut expected = Vec::new();
    for _ in 0..30 {
        expected.push(format!("transfers/{}", test.queued(1).await.id));
    }
    let mut told = Vec::new();
    for _ in 0..expected.len() {
        told.push(
            hook.post().await.json()["subject"]
                .as_str()
                .expect("text")
                .to_owned(),
        );
    }
    told.sort_unstable();
    assert_eq!(told, expected, "ids rise with time");
    assert!(hook.is_quiet());
}
