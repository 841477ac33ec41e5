//! What must never be written down: keys, signing secrets, the database's password.

use std::fs::{self, File};

use nix::sys::signal::Signal;
use retune::service::{
    domain::access::{DEFAULT_TENANT, Role},
    registry::keys,
};
use serde_json::{Value, json};

use crate::support::{Served, TestDatabase, http, receiver::Receiver, retune_serve};

#[tokio::test]
async fn no_secret_is_in_the_log_or_in_an_error() {
    let test = TestDatabase::fresh().await;
    let made = keys::create(&test.database, "ci", DEFAULT_TENANT, Role::Admin, None).await;
    let key = made.expect("a key").1;
    let mut hook = Receiver::answering(&[500]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut command = retune_serve("0", folder.path());
    command
        .env("DATABASE_URL", test.url.replace("app@", "app:hunter2@"))
        .env("RETUNE_LOG_LEVEL", "trace")
        .env("RETUNE_WEBHOOKS_ALLOW_PRIVATE", "true")
        .env("RETUNE_WEBHOOKS_BACKOFF_SECONDS", "0.05")
        .env("RETUNE_WEBHOOKS_POLL_SECONDS", "0.1")
        .stderr(File::create(&log).expect("a file"));
    let mut served = Served::start(&mut command).await;
    let ask = async |method: reqwest::Method, path: &str, key: &str, body: Value| {
        let request = http()
            .request(method, format!("{}{path}", served.url))
            .bearer_auth(key);
        let answer = request.json(&body).send().await.expect("an answer");
        answer.text().await.expect("text")
    };
    let secret_in = |text: &str| {
        let json: Value = serde_json::from_str(text).expect("JSON");
        json["secret"].as_str().expect("a secret").to_owned()
    };
    let (put, post) = (reqwest::Method::PUT, reqwest::Method::POST);
    let path = "/v1/webhook_endpoints/ci";
    let target = json!({"url": format!("{}?token=hunter3", hook.url)});
    let forged = format!("{}{}", &key[..16], "7".repeat(64));
    let forged_token = format!("{}{}", &key[..16], "8".repeat(64));
    let mut secrets = vec![
        key[16..].to_owned(),
        "hunter2".to_owned(),
        "hunter3".to_owned(),
    ];
    secrets.push(secret_in(&ask(put.clone(), path, &key, target).await));
    secrets.push(secret_in(
        &ask(post.clone(), &format!("{path}/rotate"), &key, json!({})).await,
    ));
    let callback = ask(post.clone(), "/v1/callback_secret/rotate", &key, json!({})).await;
    secrets.push(secret_in(&callback));
    let wanted = json!({"name": "more", "role": "read"});
    let more = secret_in(&ask(post.clone(), "/v1/api_keys", &key, wanted).await);
    // An address for notifications is a secret itself.
    ask(put.clone(), "/v1/base_models/llama", &key, json!({})).await;
    let prefix = format!("file://{}/objects/llama/", folder.path().display());
    let tokens = "/v1/base_models/llama/inbound_tokens";
    let made = ask(post.clone(), tokens, &key, json!({"prefix": prefix})).await;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let token = made["token"].as_str().expect("a token").to_owned();
    for token in [&token, &forged_token] {
        let inbound = format!("/v1/inbound/s3/{token}");
        ask(post.clone(), &inbound, "", json!({"Records": []})).await;
        ask(put.clone(), &inbound, "", json!({})).await;
        ask(post.clone(), &format!("/v1/nothing/{token}"), "", json!({})).await;
    }
    secrets.extend([token[16..].to_owned(), forged_token[16..].to_owned()]);
    test.queued(1).await;
    hook.post().await;
    hook.post().await;
    let mut errors = String::new();
    for key in [&key, &more, &forged] {
        errors += &ask(post.clone(), "/v1/api_keys", key, json!({"name": 3})).await;
        let unsafe_url = json!({"url": "https://a:hunter4@x/"});
        errors += &ask(put.clone(), path, key, unsafe_url).await;
    }
    secrets.extend([
        more[16..].to_owned(),
        forged[16..].to_owned(),
        "hunter4".to_owned(),
    ]);

    served.process.signal(Signal::SIGTERM);
    assert_eq!(served.process.ended().await, Some(0));
    let log = fs::read_to_string(log).expect("the log");
    for route in [
        "/v1/webhook_endpoints/{name}",
        "/v1/inbound/{sender}/{token}",
    ] {
        assert!(log.contains(route), "requests are logged");
    }
    for secret in secrets {
        let bare = secret.trim_start_matches("whsec_");
        for (place, text) in [("the log", &log), ("an error", &errors)] {
            let line = text.lines().find(|line| line.contains(bare));
            assert_eq!(line, None, "{secret} is in {place}");
        }
    }
}
