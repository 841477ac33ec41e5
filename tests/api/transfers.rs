use axum::{body::Body, http::Method};
use retune::config::Settings;
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{App, request};

#[tokio::test]
async fn a_job_is_queued_shown_and_listed() {
    let app = App::open().await;
    let mut spec = app.spec();
    spec["metadata"] = json!({"team": "vision"});
    let created = app.post("/v1/transfers", &spec, &[]).await.ok(202);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("/v1/transfers/{id}"));
    assert_eq!(created.json()["status"], "queued");
    let shown = app.get(&format!("/v1/transfers/{id}")).await.ok(200);
    assert_eq!(shown.json(), created.json());
    assert_eq!(
        shown.json()["spec"]["options"]["timesteps"],
        10,
        "defaults are shown"
    );
    for query in ["", "?status=queued", "?metadata.team=vision", "?limit=1"] {
        let page = app
            .get(&format!("/v1/transfers{query}"))
            .await
            .ok(200)
            .json();
        assert_eq!(
            (&page["data"][0]["id"], &page["next"]),
            (&json!(id), &Value::Null),
            "{query}"
        );
    }
    for query in ["?status=failed", "?metadata.team=audio", "?base=file:///x/"] {
        assert_eq!(
            app.get(&format!("/v1/transfers{query}")).await.json()["data"],
            json!([])
        );
    }
    let named = app
        .get(&format!("/v1/transfers?base={}", app.uri("new")))
        .await
        .ok(200)
        .json();
    assert_ne!(
        named["data"],
        json!([]),
        "a folder is one with and without its slash"
    );
    let base = format!("?base={}", app.uri("new/"));
    assert_eq!(
        app.get(&format!("/v1/transfers{base}")).await.json()["data"][0]["id"],
        json!(id)
    );
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let app = App::open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(app.db.queued(1).await.id.to_string());
    }
    ids.reverse();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/v1/transfers?limit=2{after}"))
            .await
            .ok(200)
            .json();
        let rows = page["data"].as_array().unwrap();
        seen.extend(
            rows.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_job_is_found_by_a_part_of_its_name() {
    let app = App::open().await;
    let mut ids = Vec::new();
    for name in [Some("Mail sorter, base 3"), Some("news"), None] {
        let mut spec = app.spec();
        spec["name"] = json!(name);
        let made = app.post("/v1/transfers", &spec, &[]).await.ok(202).json();
        assert_eq!(made["name"], json!(name));
        ids.push(made["id"].clone());
    }
    for (query, found) in [
        ("?name=SORTER", &ids[..1]),
        ("?name=e", &ids[..2]),
        ("?name=%25", &[]),
    ] {
        let page = app
            .get(&format!("/v1/transfers{query}"))
            .await
            .ok(200)
            .json();
        let mut rows: Vec<_> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].clone())
            .collect();
        rows.reverse();
        assert_eq!(rows, found, "{query}");
    }
    for name in [json!(""), json!("x".repeat(81)), json!("a\tb")] {
        let pointers = refused(&app, |spec| spec["name"] = name.clone(), "invalid_spec").await;
        assert_eq!(pointers, ["/name"]);
    }
    let long = "é".repeat(80);
    let mut spec = app.spec();
    spec["name"] = json!(long);
    assert_eq!(
        app.post("/v1/transfers", &spec, &[]).await.ok(202).json()["name"],
        json!(long)
    );
}

#[tokio::test]
async fn a_transfer_knows_what_stands_before_it() {
    let app = App::open().await;
    let ids = [
        app.db.queued(1).await.id,
        app.db.queued(1).await.id,
        app.db.queued(1).await.id,
    ];
    let of = async |at: usize| {
        app.get(&format!("/v1/transfers/{}/position", ids[at]))
            .await
            .ok(200)
            .json()
    };
    let last = of(2).await;
    assert_eq!(
        (&last["ahead"], &last["at_work"], &last["held"]),
        (&json!(2), &json!(0), &json!(false))
    );
    assert_eq!(app.claim().await.transfer, ids[0]);
    let last = of(2).await;
    assert_eq!((&last["ahead"], &last["at_work"]), (&json!(1), &json!(1)));
    let first = of(0).await;
    assert_eq!(
        (&first["status"], &first["ahead"]),
        (&json!("running"), &Value::Null)
    );
    let unknown = Uuid::now_v7();
    app.get(&format!("/v1/transfers/{unknown}/position"))
        .await
        .problem(404, "not_found");
}

async fn refused(app: &App, change: impl Fn(&mut Value), code: &str) -> Vec<String> {
    let mut spec = app.spec();
    change(&mut spec);
    let planned = app
        .post("/v1/transfers:plan", &spec, &[])
        .await
        .problem(422, code);
    let created = app
        .post("/v1/transfers", &spec, &[])
        .await
        .problem(422, code);
    assert_eq!(planned, created);
    created
}

#[tokio::test]
async fn faults_of_a_specification_are_named() {
    let app = App::open().await;
    let unknown = |spec: &mut Value| spec["optons"] = json!({});
    assert_eq!(refused(&app, unknown, "invalid_spec").await, ["/optons"]);
    let private = |spec: &mut Value| spec["callback"] = json!({"url": "https://10.0.0.1/"});
    assert_eq!(
        refused(&app, private, "address_not_allowed").await,
        ["/callback/url"]
    );
    let nul = |spec: &mut Value| spec["metadata"] = json!({"a": "\0"});
    assert_eq!(refused(&app, nul, "invalid_text").await, ["/metadata/a"]);
    let outside = |spec: &mut Value| {
        spec["target"]["base"] = json!("file:///etc/");
        spec["output"] = json!("file:///tmp/../etc/");
    };
    assert_eq!(
        refused(&app, outside, "location_not_allowed").await,
        ["/target/base", "/output"]
    );
    assert_eq!(
        app.get("/v1/transfers").await.json()["data"],
        json!([]),
        "nothing was queued"
    );
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let mut settings = Settings::default();
    settings.http.body_limit = 1000;
    let app = App::start(true, settings).await;
    for (kind, body, status, code) in [
        ("application/json", "{".to_owned(), 400, "malformed_json"),
        ("text/plain", "{}".to_owned(), 415, "unsupported_media_type"),
        (
            "application/json",
            format!("\"{}\"", "x".repeat(1000)),
            413,
            "body_too_large",
        ),
        ("application/json", "[".repeat(500), 400, "malformed_json"),
        ("application/json", "3".to_owned(), 422, "invalid_spec"),
    ] {
        let headers = [("content-type", kind)];
        let sent = request(Method::POST, "/v1/transfers", &headers, body.into());
        app.send(sent).await.problem(status, code);
    }
    let bare = request(Method::POST, "/v1/transfers", &[], Body::from("{}"));
    app.send(bare).await.problem(415, "unsupported_media_type");
    for (encoding, is_read) in [("gzip", false), ("identity, br", false), ("Identity", true)] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", encoding),
        ];
        let sent = request(Method::POST, "/v1/transfers", &headers, Body::from("3"));
        let code = if is_read {
            "invalid_spec"
        } else {
            "unsupported_content_encoding"
        };
        app.send(sent)
            .await
            .problem(if is_read { 422 } else { 415 }, code);
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job() {
    let app = App::open().await;
    let key = [("idempotency-key", "k1")];
    let first = app
        .post("/v1/transfers", &app.spec(), &key)
        .await
        .ok(202)
        .json();
    let again = app
        .post("/v1/transfers", &app.spec(), &key)
        .await
        .ok(202)
        .json();
    assert_eq!(first["id"], again["id"]);
    let mut other = app.spec();
    other["options"] = json!({"seed": 1});
    let reused = app.post("/v1/transfers", &other, &key).await;
    reused.problem(422, "idempotency_key_reused");
    let without = app
        .post("/v1/transfers", &app.spec(), &[])
        .await
        .ok(202)
        .json();
    assert_ne!(first["id"], without["id"]);
    for bad in ["", &"k".repeat(256)] {
        let refused = app
            .post("/v1/transfers", &app.spec(), &[("idempotency-key", bad)])
            .await;
        refused.problem(422, "invalid_idempotency_key");
    }
}

#[tokio::test]
async fn a_known_revision_is_not_sent_again() {
    let app = App::open().await;
    let path = format!("/v1/transfers/{}", app.db.queued(1).await.id);
    let etag = app.get(&path).await.ok(200).header("etag").to_owned();
    assert!(etag.starts_with("W/\""));
    let known = app
        .get_with(&path, &[("if-none-match", &etag)])
        .await
        .ok(304);
    assert!(known.body.is_empty());
    app.post(&format!("{path}/cancel"), &json!({}), &[])
        .await
        .ok(200);
    let changed = app
        .get_with(&path, &[("if-none-match", &etag)])
        .await
        .ok(200);
    assert_ne!(changed.header("etag"), etag);
}

#[tokio::test]
async fn what_has_ended_can_be_retried_and_nothing_else() {
    let app = App::open().await;
    let path = format!("/v1/transfers/{}", app.db.queued(1).await.id);
    app.post(&format!("{path}/retry"), &json!({}), &[])
        .await
        .problem(409, "invalid_state");
    let cancelled = app
        .post(&format!("{path}/cancel"), &json!({}), &[])
        .await
        .ok(200);
    assert_eq!(cancelled.json()["status"], "cancelled");
    let retried = app
        .post(&format!("{path}/retry"), &json!({}), &[])
        .await
        .ok(202);
    assert_eq!(retried.json()["status"], "queued");
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_however_it_is_spelt() {
    let app = App::open().await;
    for id in [
        Uuid::now_v7().to_string(),
        "x".into(),
        "%00".into(),
        "..%2f".into(),
    ] {
        for tail in ["", "/events", "/report", "/files/report.json"] {
            app.get(&format!("/v1/transfers/{id}{tail}"))
                .await
                .problem(404, "not_found");
        }
        for verb in ["cancel", "retry"] {
            let path = format!("/v1/transfers/{id}/{verb}");
            app.post(&path, &json!({}), &[])
                .await
                .problem(404, "not_found");
        }
    }
    app.get("/v1/nothing").await.problem(404, "no_such_route");
    let wrong = app
        .send(request(Method::PUT, "/v1/transfers", &[], Body::empty()))
        .await;
    assert!(wrong.header("allow").contains("POST"));
    wrong.problem(405, "method_not_allowed");
}

#[tokio::test]
async fn queries_that_are_not_understood_are_refused() {
    let app = App::open().await;
    let id = app.db.queued(1).await.id;
    for (path, pointer) in [
        ("/v1/transfers?status=done".to_owned(), "/status"),
        ("/v1/transfers?limit=1000".to_owned(), "/limit"),
        ("/v1/transfers?after=x".to_owned(), "/after"),
        ("/v1/transfers?base=%00".to_owned(), "/base"),
        ("/v1/transfers?sort=id".to_owned(), "/sort"),
        (format!("/v1/transfers/{id}?wait=61"), "/wait"),
        (format!("/v1/transfers/{id}/events?after=x"), "/after"),
    ] {
        assert_eq!(
            app.get(&path).await.problem(422, "invalid_query"),
            [pointer],
            "{path}"
        );
    }
}

#[tokio::test]
async fn figures_and_health_are_open_and_true() {
    let app = App::closed().await;
    app.db.queued(1).await;
    assert!(
        app.get("/metrics")
            .await
            .ok(200)
            .text()
            .contains("retune_transfers{status=")
    );
    assert!(
        app.get("/metrics")
            .await
            .text()
            .contains("retune_http_requests_total{")
    );
    assert_eq!(app.get("/healthz").await.ok(200).json()["status"], "ok");
    app.get("/readyz").await.ok(200);
    app.db.database.pool.close().await;
    app.get("/healthz").await.ok(200);
    app.get("/readyz").await.problem(503, "not_ready");
    // Just then one looks.
    let blind = app.get("/metrics").await.ok(200).text();
    assert!(blind.contains("retune_database_up 0"), "{blind}");
}
