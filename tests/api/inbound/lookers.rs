//! Who looks at announcements: one that dies, one that is overtaken, one that stops.

use std::time::Duration;

use retune::service::{
    database::arrivals::{self, Claimed},
    domain::leases::{Lease, RetryPolicy},
    registry::arrivals as outcome,
};
use tokio_util::sync::CancellationToken;

use super::{super::app::App, OVER, is};

#[tokio::test]
async fn a_looker_that_dies_loses_nothing_and_one_that_was_overtaken_records_nothing() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.put_model("llama/2", "weights");
    app.notify(
        &app.address("cloudevents").await,
        &app.landed("llama/2/config.json"),
    )
    .await;
    let dead = claim(&app).await;
    // Two processes look; one registers it.
    let lookers = [
        app.look(app.shutdown.clone()),
        app.look(app.shutdown.clone()),
    ];
    app.arrived("2", is("registered")).await;
    assert!(!outcome::know(&app.db.database, &dead).await.unwrap());
    assert!(
        !outcome::fail(&app.db.database, &dead, "late")
            .await
            .unwrap()
    );
    assert_eq!(
        outcome::put_off(&app.db.database, &dead, "late", OVER)
            .await
            .unwrap(),
        None
    );
    app.arrived("2", is("registered")).await;
    assert_eq!(
        (app.versions().await.len(), app.retunes().await.len()),
        (2, 1)
    );
    app.shutdown.cancel();
    for looker in lookers {
        looker.await.expect("it ends");
    }
}

async fn claim(app: &App) -> Lease<Claimed> {
    let mut claimed = arrivals::claim(&app.db.database, 4, OVER)
        .await
        .expect("the database answers");
    assert_eq!(claimed.len(), 1);
    claimed.pop().expect("one")
}

#[tokio::test]
async fn an_announcement_while_it_is_looked_at_is_not_lost() {
    let app = App::with_base().await;
    let address = app.address("cloudevents").await;
    let slow = RetryPolicy {
        lease: Duration::from_mins(5),
        backoff: Duration::from_mins(5),
        max_wait: Duration::from_mins(5),
        ..OVER
    };
    app.notify(&address, &app.landed("llama/2/config.json"))
        .await;
    let looking = arrivals::claim(&app.db.database, 4, slow)
        .await
        .unwrap()
        .pop()
        .unwrap();
    let nothing = async || {
        arrivals::claim(&app.db.database, 4, OVER)
            .await
            .unwrap()
            .is_empty()
    };
    app.notify(&address, &app.landed("llama/2/model.safetensors"))
        .await;
    assert!(nothing().await, "it is looked at by one at a time");
    outcome::put_off(&app.db.database, &looking, "too early", slow)
        .await
        .unwrap();
    assert_eq!(claim(&app).await.looks, 2);
    // Without one, it has to wait.
    let again = claim(&app).await;
    outcome::put_off(&app.db.database, &again, "too early", slow)
        .await
        .unwrap();
    assert!(nothing().await);
}

#[tokio::test]
async fn a_looker_that_stops_gives_back_what_it_has() {
    let app = App::with_base().await;
    app.put_model("llama/2", "weights");
    let address = app.address("cloudevents").await;
    app.notify(&address, &app.landed("llama/2/config.json"))
        .await;
    let long = RetryPolicy {
        lease: Duration::from_mins(5),
        ..OVER
    };
    let claimed = arrivals::claim(&app.db.database, 1, long)
        .await
        .unwrap()
        .pop()
        .unwrap();
    arrivals::release(&app.db.database, &claimed).await.unwrap();
    let shutdown = CancellationToken::new();
    let looker = app.look(shutdown.clone());
    app.arrived("2", is("registered")).await;
    shutdown.cancel();
    looker.await.expect("it ends");
}
