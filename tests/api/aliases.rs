//! Fine-tunes that follow aliases of their base model: what counts is where these stand now.

use retune::{pipeline::Verdict, service::registry::attempts};
use serde_json::{Value, json};

use super::{app::App, registry::outcome};

impl App {
    /// Base versions `1` to `3`, and fine-tunes by name that follow these aliases.
    async fn with_followers(mode: &str, followers: &[(&str, Option<&str>)]) -> Self {
        let app = Box::pin(Self::with_base()).await;
        for version in ["2", "3"] {
            app.version("llama", version).await.ok(201);
        }
        for (name, alias) in followers {
            let mut body = app.fine_tune_body(mode);
            body["policy"] = json!({"on": "alias_moved", "alias": alias, "mode": mode});
            app.put(&format!("/v1/fine_tunes/{name}"), &body, &[])
                .await
                .ok(201);
        }
        app
    }

    async fn point(&self, alias: &str, version: &str) {
        let path = format!("/v1/base_models/llama/aliases/{alias}");
        self.put(&path, &json!({"version": version}), &[])
            .await
            .ok(200);
    }

    /// Base version and status of every transfer, oldest first.
    async fn carried(&self) -> Vec<(String, String)> {
        sqlx::query_as(
            "SELECT v.version, t.status::text FROM transfers t
             JOIN base_model_versions v ON v.id = t.base_version ORDER BY t.id",
        )
        .fetch_all(&self.db.database.pool)
        .await
        .expect("the database answers")
    }

    /// On which base version the fine-tune's production stands.
    async fn stands(&self, fine_tune: &str) -> Value {
        let answer = self
            .get(&format!("/v1/fine_tunes/{fine_tune}/aliases/production"))
            .await;
        if answer.status == 404 {
            Value::Null
        } else {
            answer.json()["base_version"].clone()
        }
    }
}

fn pairs(carried: &[(String, String)]) -> Vec<(&str, &str)> {
    carried
        .iter()
        .map(|(version, status)| (version.as_str(), status.as_str()))
        .collect()
}

#[tokio::test]
async fn what_waits_for_a_version_that_the_alias_has_left_is_cancelled() {
    let app = App::with_followers("promote", &[("news", Some("stable"))]).await;
    for version in ["1", "2", "3", "2"] {
        app.point("stable", version).await;
    }
    // The first onto 2 is history; that the alias came back made another.
    let expected = [("2", "cancelled"), ("3", "cancelled"), ("2", "queued")];
    assert_eq!(pairs(&app.carried().await), expected);
    let first = app.retunes().await.pop().expect("the oldest");
    assert_eq!(
        (&first["status"], &first["reason"]),
        (&json!("cancelled"), &json!("alias_moved"))
    );
    app.finish_next(Verdict::Published).await;
    assert!(app.nothing_to_claim().await);
    assert_eq!(app.stands("news").await, "2");

    // Also where nothing is to be made: 1 is what it was tuned from.
    app.point("stable", "3").await;
    app.point("stable", "1").await;
    assert_eq!(pairs(&app.carried().await)[3..], [("3", "cancelled")]);
    assert!(app.nothing_to_claim().await);
}

#[tokio::test]
async fn production_goes_back_with_the_alias_to_a_result_that_is_there() {
    let app = App::with_followers("promote", &[("news", Some("stable")), ("b", None)]).await;
    app.fine_tune("other", "promote").await.ok(201);
    for version in ["2", "3"] {
        app.point("stable", version).await;
        for _ in 0..2 {
            app.finish_next(Verdict::Published).await;
        }
        assert_eq!(app.stands("news").await, *version);
    }
    let retunes = app.retunes().await.len();
    app.point("stable", "2").await;
    assert_eq!(
        (app.stands("news").await, app.stands("b").await),
        (json!("2"), json!("2"))
    );
    app.point("stable", "3").await;
    assert_eq!(app.stands("news").await, "3");
    // There is no result on what it was tuned from.
    app.point("stable", "1").await;
    assert_eq!(
        (app.stands("news").await, app.retunes().await.len()),
        (json!("3"), retunes)
    );
    let kinds = app.registry_events().await;
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "fine_tune.version.promoted")
            .count(),
        8
    );
    assert_eq!(
        app.stands("other").await,
        Value::Null,
        "it follows no alias"
    );
}

#[tokio::test]
async fn only_what_is_good_and_current_goes_back_to_production() {
    let app = App::with_followers("promote", &[("rejected", None), ("replaced", None)]).await;
    let mut body = app.fine_tune_body("publish");
    body["policy"] = json!({"on": "alias_moved", "mode": "publish"});
    app.put("/v1/fine_tunes/published", &body, &[])
        .await
        .ok(201);
    app.point("stable", "2").await;
    for verdict in [Verdict::Rejected, Verdict::Published, Verdict::Published] {
        app.finish_next(verdict).await;
    }
    app.point("stable", "3").await;
    for _ in 0..3 {
        app.finish_next(Verdict::Published).await;
    }
    body["policy"]["mode"] = json!("promote");
    body["trajectory"] = json!(app.uri("tuned-better/"));
    app.put("/v1/fine_tunes/replaced", &body, &[]).await.ok(200);
    app.point("stable", "2").await;
    assert_eq!(app.stands("rejected").await, "3");
    assert_eq!(
        app.stands("replaced").await,
        "3",
        "what replaces it was never carried over"
    );
    assert_eq!(app.stands("published").await, Value::Null);
}

#[tokio::test]
async fn a_result_is_promoted_where_the_alias_stands_when_it_ends() {
    let app = App::with_followers("promote", &[("news", Some("stable"))]).await;
    app.point("stable", "2").await;
    let late = app.claim().await;
    app.point("stable", "3").await;
    app.finish_next(Verdict::Published).await;
    let done = outcome(late.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &late, &done)
            .await
            .unwrap()
    );
    assert_eq!(app.stands("news").await, "3");
    app.point("stable", "2").await;
    assert_eq!(app.stands("news").await, "2");
    // An older number is no hindrance.
    app.version("llama", "1.5").await.ok(201);
    app.point("stable", "1.5").await;
    app.finish_next(Verdict::Published).await;
    assert_eq!(app.stands("news").await, "1.5");
    // Nor are other names for the same bytes.
    app.version_of("llama", "4", "llama 3").await.ok(201);
    app.point("stable", "4").await;
    assert_eq!(app.stands("news").await, "3");
    assert!(app.nothing_to_claim().await);
}

#[tokio::test]
async fn what_another_followed_alias_stands_on_is_still_wanted() {
    let app = App::with_followers("promote", &[("every", None), ("one", Some("stable"))]).await;
    app.point("stable", "2").await;
    app.point("latest", "2").await;
    // Two transfers onto 2; `every` still follows `latest` there, `one` has left.
    app.point("stable", "3").await;
    let two = app.carried().await;
    let expected = [
        ("2", "queued"),
        ("2", "cancelled"),
        ("3", "queued"),
        ("3", "queued"),
    ];
    assert_eq!(pairs(&two), expected);
    // An alias that nobody names concerns nobody but who follows every one.
    app.point("beta", "1").await;
    assert_eq!(app.carried().await, two);
    app.finish_next(Verdict::Published).await;
    assert_eq!(app.stands("every").await, "2");
    app.point("latest", "3").await;
    for _ in 0..2 {
        app.finish_next(Verdict::Published).await;
    }
    assert!(app.nothing_to_claim().await);
    assert_eq!(
        (app.stands("every").await, app.stands("one").await),
        (json!("3"), json!("3"))
    );
}

#[tokio::test]
async fn a_retune_by_hand_goes_beyond_the_alias_and_leaves_its_transfers_alone() {
    let app = App::with_followers("promote", &[("news", Some("stable"))]).await;
    app.point("stable", "2").await;
    let wish = json!({"base_model": "llama", "version": "3"});
    app.post("/v1/retunes", &wish, &[]).await.ok(202);
    assert_eq!(
        pairs(&app.carried().await),
        [("2", "queued"), ("3", "queued")]
    );
    app.finish_next(Verdict::Published).await;
    assert_eq!(app.stands("news").await, "2");
    app.finish_next(Verdict::Published).await;
    assert_eq!(app.stands("news").await, "3", "as by hand until now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_alias_that_moves_while_a_result_arrives_takes_production_along() {
    let app = App::with_followers("promote", &[("news", Some("stable"))]).await;
    app.point("stable", "3").await;
    app.finish_next(Verdict::Published).await;
    for round in 0..8 {
        // Away from what runs, and back at the moment when it ends.
        let version = format!("3.{round}");
        app.version("llama", &version).await.ok(201);
        app.point("stable", &version).await;
        let lease = app.claim().await;
        app.point("stable", "3").await;
        assert_eq!(app.stands("news").await, "3");
        let done = outcome(lease.transfer, Verdict::Published);
        let ended = attempts::succeed(&app.db.database, &lease, &done);
        let (ended, ()) = tokio::join!(ended, app.point("stable", &version));
        assert!(ended.unwrap());
        assert_eq!(app.stands("news").await, json!(version));
        app.point("stable", "3").await;
    }
}

#[tokio::test]
async fn where_aliases_have_stood_can_be_read() {
    let app = App::with_followers("promote", &[("news", Some("stable"))]).await;
    for version in ["1", "2", "3"] {
        app.point("stable", version).await;
    }
    app.point("stable", "3").await;
    let path = "/v1/base_models/llama/aliases/stable/moves";
    let page = app.get(&format!("{path}?limit=2")).await.ok(200).json();
    let moves = page["data"].as_array().unwrap();
    assert_eq!(
        (&moves[0]["version"], &moves[0]["previous"]),
        (&json!("3"), &json!("2"))
    );
    assert_eq!(
        (&moves[1]["version"], &moves[1]["previous"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!(
        (&moves[1]["base_model"], &moves[1]["alias"]),
        (&json!("llama"), &json!("stable"))
    );
    let next = page["next"].as_str().unwrap();
    let rest = app
        .get(&format!("{path}?limit=2&after={next}"))
        .await
        .ok(200)
        .json();
    let first = &rest["data"][0];
    assert_eq!(
        (&first["version"], &first["previous"]),
        (&json!("1"), &Value::Null)
    );
    assert!(first["moved_at"].is_string() && rest["next"].is_null());

    app.finish_next(Verdict::Published).await;
    app.point("stable", "2").await;
    app.finish_next(Verdict::Published).await;
    let rollback = "/v1/fine_tunes/news/versions/2/rollback";
    app.post(rollback, &json!({}), &[]).await.ok(200);
    let path = "/v1/fine_tunes/news/aliases/production/moves";
    let page = app.get(path).await.ok(200).json();
    let moves: Vec<_> = page["data"].as_array().unwrap().iter().collect();
    let read = |i: usize| ["move", "version", "previous"].map(|name| moves[i][name].clone());
    assert_eq!(read(0), [json!("rolled_back"), json!(1), json!(2)]);
    assert_eq!(read(1), [json!("promoted"), json!(2), json!(1)]);
    assert_eq!(read(2), [json!("promoted"), json!(1), Value::Null]);
    assert_eq!((moves.len(), &page["next"]), (3, &Value::Null));
    for path in [
        "base_models/llama/aliases/beta",
        "fine_tunes/news/aliases/beta",
    ] {
        app.get(&format!("/v1/{path}/moves"))
            .await
            .problem(404, "not_found");
    }
    let bad = app.get(&format!("{path}?sort=id")).await;
    assert_eq!(bad.problem(422, "invalid_query"), ["/sort"]);
}
