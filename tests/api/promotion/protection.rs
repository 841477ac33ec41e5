//! Protected aliases: who moves them, and what waits for whom.

use retune::{pipeline::Verdict, service::domain::access::Role};
use serde_json::{Value, json};

use crate::api::app::{App, bearer};

#[tokio::test]
async fn a_protected_alias_is_moved_by_an_administrator_alone() {
    let app = App::closed().await;
    let (admin, submitter) = (
        bearer(&app.key(Role::Admin).await),
        bearer(&app.key(Role::Submit).await),
    );
    let (as_admin, as_submitter) = (
        [("authorization", admin.as_str())],
        [("authorization", submitter.as_str())],
    );
    let path = |of: &str| format!("/v1/{of}");
    let put = async |of: &str, body: &Value| app.put(&path(of), body, &as_admin).await;
    put("base_models/llama", &json!({})).await.ok(201);
    for version in ["1", "2", "3"] {
        app.put_model(version, version);
        let new = json!({"version": version, "uri": app.uri(&format!("{version}/"))});
        let versions = path("base_models/llama/versions");
        app.post(&versions, &new, &as_admin).await.ok(201);
        if version == "1" {
            put("fine_tunes/news", &app.fine_tune_body("publish"))
                .await
                .ok(201);
        } else {
            app.finish_next(Verdict::Published).await;
        }
    }
    let promote = async |version: i32, alias: &str, who: &[(&str, &str)]| {
        let of = path(&format!("fine_tunes/news/versions/{version}/promote"));
        app.post(&of, &json!({"alias": alias}), who).await
    };
    let roll_back = async |version: i32, who: &[(&str, &str)]| {
        let of = path(&format!("fine_tunes/news/versions/{version}/rollback"));
        app.post(&of, &json!({}), who).await
    };
    promote(1, "production", &as_submitter).await.ok(200);

    let production = "fine_tunes/news/aliases/production";
    let (on, off) = (json!({"protected": true}), json!({"protected": false}));
    app.put(&path(production), &on, &as_submitter)
        .await
        .problem(403, "forbidden");
    let protected = put(production, &on).await.ok(200);
    assert_eq!(protected.json()["protected_aliases"], json!(["production"]));
    let shown = app.get_with(&path("fine_tunes/news"), &as_admin).await;
    assert_eq!(shown.header("etag"), protected.header("etag"));
    // Twice is once.
    assert_eq!(
        put(production, &on).await.ok(200).header("etag"),
        protected.header("etag")
    );

    promote(2, "production", &as_submitter)
        .await
        .problem(403, "alias_protected");
    promote(1, "production", &as_submitter)
        .await
        .problem(403, "alias_protected");
    promote(2, "canary", &as_submitter).await.ok(200);
    let moved = promote(2, "production", &as_admin).await.ok(200).json();
    assert_eq!(
        (&moved["version"], &moved["protected"]),
        (&json!(2), &json!(true))
    );
    roll_back(2, &as_submitter)
        .await
        .problem(403, "alias_protected");
    let back = roll_back(2, &as_admin).await.ok(200).json();
    assert_eq!(back["version"], 1);
    let refused = app
        .get_with("/v1/audit_events?outcome=refused&limit=1", &as_admin)
        .await;
    assert_eq!(refused.json()["data"][0]["code"], "alias_protected");

    // The pages show the mark, and the buttons to those alone for whom they work.
    let page = async |key: &str| {
        let cookie = format!("retune_key={}", key.trim_start_matches("Bearer "));
        let headers = [("cookie", cookie.as_str())];
        app.get_with("/fine-tunes/news", &headers)
            .await
            .ok(200)
            .text()
    };
    let (seen, of_admin) = (page(&submitter).await, page(&admin).await);
    assert!(seen.contains(">protected<") && of_admin.contains(">protected<"));
    assert!(!seen.contains("/promote\"") && of_admin.contains("/promote\""));
    assert!(!seen.contains("/unprotect\"") && of_admin.contains("/unprotect\""));

    put(production, &off).await.ok(200);
    promote(2, "production", &as_submitter).await.ok(200);
    put("fine_tunes/none/aliases/production", &on)
        .await
        .problem(404, "not_found");
    let unnamed = put("fine_tunes/news/aliases/a%20b", &on).await;
    assert_eq!(unnamed.problem(422, "invalid_body"), ["/alias"]);
}

#[tokio::test]
async fn what_would_move_a_protected_alias_waits_for_a_person() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    let production = "/v1/fine_tunes/news/aliases/production";
    let on = json!({"protected": true});
    app.put(production, &on, &[]).await.ok(200);
    app.version("llama", "2").await.ok(201);
    app.finish_next(Verdict::Published).await;

    app.production("news").await.problem(404, "not_found");
    let made = app.get("/v1/fine_tunes/news/versions/1").await.json();
    assert_eq!(made["state"], "proposed");
    assert_eq!(
        app.registry_events().await[3..],
        [
            "fine_tune.version.created",
            "fine_tune.version.awaiting_promotion",
            "retune.completed"
        ]
    );
    let overview = app.get("/v1/overview").await.json();
    assert_eq!(overview["proposed"], 1);
    assert_eq!(app.step(1, "promote").await.ok(200).json()["version"], 1);

    // What its gate rejects, and what is for an older base, waits for nobody.
    app.version("llama", "3").await.ok(201);
    app.finish_next(Verdict::Rejected).await;
    let events = app.registry_events().await;
    let waiting = events
        .iter()
        .filter(|kind| *kind == "fine_tune.version.awaiting_promotion");
    assert_eq!(waiting.count(), 1);

    // With the fine-tune its protection goes.
    app.delete("/v1/fine_tunes/news", &[]).await.ok(204);
    app.fine_tune("news", "promote").await.ok(201);
    let again = app.get("/v1/fine_tunes/news").await.json();
    assert_eq!(again["protected_aliases"], json!([]));
}

#[tokio::test]
async fn an_alias_of_the_base_that_moves_back_does_not_move_what_is_protected() {
    let app = App::with_base().await;
    let stable = "/v1/base_models/llama/aliases/stable";
    app.put(stable, &json!({"version": "1"}), &[]).await.ok(200);
    let mut body = app.fine_tune_body("promote");
    body["policy"] = json!({"on": "alias_moved", "mode": "promote"});
    app.put("/v1/fine_tunes/news", &body, &[]).await.ok(201);
    for version in ["2", "3"] {
        app.version("llama", version).await.ok(201);
        app.put(stable, &json!({"version": version}), &[])
            .await
            .ok(200);
        app.finish_next(Verdict::Published).await;
    }
    assert_eq!(app.production("news").await.ok(200).json()["version"], 2);

    let production = "/v1/fine_tunes/news/aliases/production";
    let on = json!({"protected": true});
    app.put(production, &on, &[]).await.ok(200);
    app.put(stable, &json!({"version": "2"}), &[]).await.ok(200);
    assert_eq!(app.production("news").await.ok(200).json()["version"], 2);
    let events = app.registry_events().await;
    assert_eq!(
        events.last().map(String::as_str),
        Some("fine_tune.version.awaiting_promotion")
    );
}
