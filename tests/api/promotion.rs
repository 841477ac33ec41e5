//! What becomes of a fine-tune's results: versions, aliases, promotion and rollback.

use retune::{
    pipeline::Verdict,
    service::{domain::access::Role, registry::attempts},
};
use serde_json::{Value, json};

use super::app::{Answer, App, bearer};

impl App {
    async fn production(&self, fine_tune: &str) -> Answer {
        self.get(&format!("/v1/fine_tunes/{fine_tune}/aliases/production"))
            .await
    }

    async fn step(&self, version: i32, verb: &str) -> Answer {
        let path = format!("/v1/fine_tunes/news/versions/{version}/{verb}");
        self.send(super::app::request(
            axum::http::Method::POST,
            &path,
            &[],
            "".into(),
        ))
        .await
    }
}

#[tokio::test]
async fn a_new_base_becomes_a_new_production_version() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.production("news").await.problem(404, "not_found");
    let landed = app.version("llama", "2").await.ok(201).json();
    let path = format!("/v1/retunes/{}", landed["retune"].as_str().unwrap());
    let queued = app.get(&path).await.ok(200);
    assert_eq!(queued.json()["status"], "queued");
    assert_eq!(queued.json()["counts"]["queued"], 1);
    assert_eq!(queued.json()["base_version"], "2");
    app.get_with(&path, &[("if-none-match", queued.header("etag"))])
        .await
        .ok(304);

    let members = format!(
        "/v1/transfers?retune={}",
        landed["retune"].as_str().unwrap()
    );
    let members = app.get(&members).await.ok(200).json();
    let transfer = &members["data"][0];
    assert_eq!(
        (&transfer["fine_tune"], &transfer["retune"]),
        (&json!("news"), &landed["retune"])
    );
    let spec = &transfer["spec"];
    assert_eq!(spec["source"]["base"], json!(app.uri("llama-1-llama-1/")));
    assert_eq!(spec["source"]["trajectory"], json!(app.uri("tuned/")));
    assert_eq!(spec["target"]["base"], landed["uri"]);
    assert_eq!(spec["options"]["timesteps"], 10, "defaults are written out");

    let id = app.finish_next(Verdict::Published).await;
    let production = app.production("news").await.ok(200);
    let version = production.json();
    assert_eq!(
        (&version["version"], &version["state"]),
        (&json!(1), &json!("published"))
    );
    assert_eq!(version["uri"], json!(format!("file:///out/{id}/")));
    assert_eq!(
        (&version["transfer"], &version["base_version"]),
        (&json!(id), &json!("2"))
    );
    assert_eq!(
        (&version["method"], &version["parent"]),
        (&json!("identity"), &Value::Null)
    );
    let known = [("if-none-match", production.header("etag"))];
    app.get_with("/v1/fine_tunes/news/aliases/production", &known)
        .await
        .ok(304);
    let ended = app.get(&path).await.json();
    assert_eq!(
        (&ended["status"], &ended["counts"]["succeeded"]),
        (&json!("succeeded"), &json!(1))
    );
    assert!(ended["started_at"].is_string() && ended["finished_at"].is_string());
    assert_eq!(
        app.get("/v1/fine_tunes/news").await.json()["aliases"],
        json!({"production": 1})
    );
    assert_eq!(
        app.registry_events().await,
        [
            "base_model.version.created",
            "base_model.version.created",
            "retune.created",
            "fine_tune.version.created",
            "fine_tune.version.promoted",
            "retune.completed"
        ]
    );
}

#[tokio::test]
async fn a_result_goes_as_far_as_its_policy_and_its_gate_let_it() {
    let app = App::with_base().await;
    for mode in ["propose", "publish", "promote"] {
        app.fine_tune(mode, mode).await.ok(201);
    }
    app.version("llama", "2").await.ok(201);
    for _ in 0..3 {
        app.finish_next(Verdict::Published).await;
    }
    app.version("llama", "3").await.ok(201);
    for _ in 0..3 {
        app.finish_next(Verdict::Rejected).await;
    }
    let state = async |name: &str, version: i32| {
        app.get(&format!("/v1/fine_tunes/{name}/versions/{version}"))
            .await
            .ok(200)
            .json()["state"]
            .clone()
    };
    assert_eq!(state("propose", 1).await, "proposed");
    assert_eq!(state("publish", 1).await, "published");
    assert_eq!(state("promote", 1).await, "published");
    for name in ["propose", "publish"] {
        app.production(name).await.problem(404, "not_found");
    }
    assert_eq!(app.production("promote").await.ok(200).json()["version"], 1);
    for name in ["propose", "publish", "promote"] {
        assert_eq!(state(name, 2).await, "rejected");
        for verb in ["promote", "rollback"] {
            let path = format!("/v1/fine_tunes/{name}/versions/2/{verb}");
            app.post(&path, &json!({}), &[])
                .await
                .problem(409, "version_rejected");
        }
    }
    // A person takes the proposal.
    app.post("/v1/fine_tunes/propose/versions/1/promote", &json!({}), &[])
        .await
        .ok(200);
    assert_eq!(state("propose", 1).await, "published");
    assert_eq!(app.production("propose").await.ok(200).json()["version"], 1);
    let rejected = app.get("/v1/retunes").await.json();
    assert_eq!(
        rejected["data"][0]["status"], "succeeded",
        "a verdict is a result"
    );
}

#[tokio::test]
async fn aliases_are_moved_and_rolled_back_by_hand() {
    let app = App::with_base().await;
    app.fine_tune("news", "publish").await.ok(201);
    for version in ["2", "3", "4"] {
        app.version("llama", version).await.ok(201);
        app.finish_next(Verdict::Published).await;
    }
    let versions = app
        .get("/v1/fine_tunes/news/versions?limit=2")
        .await
        .ok(200)
        .json();
    assert_eq!(
        (
            &versions["data"][0]["version"],
            &versions["data"][0]["parent"]
        ),
        (&json!(3), &json!(2))
    );
    assert!(versions["next"].is_string());
    app.step(1, "rollback").await.problem(409, "not_current");
    app.step(1, "promote").await.ok(200);
    app.step(1, "rollback").await.problem(409, "nothing_before");
    app.step(2, "promote").await.ok(200);
    app.step(2, "promote").await.ok(200);
    assert_eq!(app.step(3, "promote").await.ok(200).json()["version"], 3);
    app.step(1, "rollback").await.problem(409, "not_current");
    // Back as far as it went forward.
    assert_eq!(app.step(3, "rollback").await.ok(200).json()["version"], 2);
    assert_eq!(app.step(2, "rollback").await.ok(200).json()["version"], 1);
    app.step(1, "rollback").await.problem(409, "nothing_before");
    assert_eq!(app.production("news").await.ok(200).json()["version"], 1);

    let canary = json!({"alias": "canary"});
    let path = "/v1/fine_tunes/news/versions/3/promote";
    assert_eq!(
        app.post(path, &canary, &[]).await.ok(200).json()["alias"],
        "canary"
    );
    assert_eq!(app.production("news").await.json()["version"], 1);
    let aliases = json!({"production": 1, "canary": 3});
    assert_eq!(
        app.get("/v1/fine_tunes/news").await.json()["aliases"],
        aliases
    );
    let bad = app.post(path, &json!({"alias": "a/b"}), &[]).await;
    assert_eq!(bad.problem(422, "invalid_body"), ["/alias"]);
    for version in ["9", "x", "99999999999"] {
        let path = format!("/v1/fine_tunes/news/versions/{version}");
        app.get(&path).await.problem(404, "not_found");
        app.post(&format!("{path}/promote"), &json!({}), &[])
            .await
            .problem(404, "not_found");
    }
    let moved = app.registry_events().await;
    assert_eq!(
        moved
            .iter()
            .filter(|kind| *kind == "fine_tune.version.promoted")
            .count(),
        4
    );
    assert_eq!(
        moved
            .iter()
            .filter(|kind| *kind == "fine_tune.version.rolled_back")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_late_result_for_an_older_base_does_not_move_production_back() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.version("llama", "2").await.ok(201);
    let late = app.claim().await;
    app.version("llama", "3").await.ok(201);
    app.finish_next(Verdict::Published).await;
    let outcome = super::registry::outcome(late.transfer, Verdict::Published);
    assert!(
        attempts::succeed(&app.db.database, &late, &outcome)
            .await
            .unwrap()
    );
    let production = app.production("news").await.ok(200).json();
    assert_eq!(
        (&production["version"], &production["base_version"]),
        (&json!(1), &json!("3"))
    );
    let late = app
        .get("/v1/fine_tunes/news/versions/2")
        .await
        .ok(200)
        .json();
    assert_eq!(
        (&late["state"], &late["base_version"]),
        (&json!("published"), &json!("2"))
    );
}

#[tokio::test]
async fn what_was_made_of_a_replaced_trajectory_waits_for_a_person() {
    let app = App::with_base().await;
    app.fine_tune("news", "promote").await.ok(201);
    app.version("llama", "2").await.ok(201);
    let mut body = app.fine_tune_body("promote");
    body["trajectory"] = json!(app.uri("tuned-better/"));
    app.put("/v1/fine_tunes/news", &body, &[]).await.ok(200);
    app.finish_next(Verdict::Published).await;
    app.production("news").await.problem(404, "not_found");
    let made = app
        .get("/v1/fine_tunes/news/versions/1")
        .await
        .ok(200)
        .json();
    assert_eq!(made["trajectory"], json!(app.uri("tuned/")));
}

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
