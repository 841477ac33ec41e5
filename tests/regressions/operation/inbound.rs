//! Senders that ask first, wrap what they say, or name what only they can find.

use axum::{body::Body, http::Method};
use serde_json::{Value, json};

use crate::api::app::{Answer, App, request};

/// An address for notifications about `llama/`; ends with the token.
async fn address(app: &App, sender: &str) -> String {
    app.put("/v1/base_models/llama", &json!({}), &[]).await;
    let body = json!({"prefix": app.uri("llama/")});
    let made = app
        .post("/v1/base_models/llama/inbound_tokens", &body, &[])
        .await
        .ok(201);
    format!(
        "/v1/inbound/{sender}/{}",
        made.json()["token"].as_str().expect("a token")
    )
}

async fn post_as(app: &App, address: &str, kind: &str, body: &Value) -> Answer {
    let headers = [("content-type", kind)];
    app.send(request(
        Method::POST,
        address,
        &headers,
        Body::from(body.to_string()),
    ))
    .await
}

async fn arrivals(app: &App) -> Vec<Value> {
    let listed = app
        .get("/v1/base_models/llama/arrivals")
        .await
        .ok(200)
        .json();
    listed["data"].as_array().expect("rows").clone()
}

#[tokio::test]
async fn a_model_that_only_mlflow_can_find_leaves_an_arrival_that_says_so() {
    let app = App::open().await;
    let address = address(&app, "mlflow").await;
    for (version, source) in [
        ("2", "models:/m-1a2b"),
        ("3", "runs:/77/model"),
        ("4", "mlflow-artifacts:/1/2"),
    ] {
        let created = json!({"entity": "model_version", "action": "created",
            "data": {"name": "llama", "version": version, "source": source, "run_id": "77", "tags": {}}});
        let answer = app.post(&address, &created, &[]).await.ok(202).json();
        assert_eq!(answer["arrivals"][0]["status"], "ignored", "{answer}");
        let newest = &arrivals(&app).await[0];
        assert_eq!(
            (&newest["uri"], &newest["version"]),
            (&json!(source), &json!(version))
        );
        let reason = newest["reason"].as_str().expect("a reason");
        assert!(
            reason.contains(source) && reason.contains("retune.uri"),
            "{reason}"
        );
    }
    let tagged = json!({"data": {"name": "llama", "version": "5", "source": "models:/m-1a2b",
        "tags": {"retune.uri": app.uri("llama/run-5/")}}});
    let answer = app.post(&address, &tagged, &[]).await.ok(202).json();
    assert_eq!(answer["arrivals"][0]["status"], "waiting", "{answer}");
    assert_eq!(answer["arrivals"][0]["uri"], app.uri("llama/run-5/"));
}

#[tokio::test]
async fn a_topic_of_sns_is_heard_and_its_question_is_left_to_the_administrator() {
    let app = App::open().await;
    let address = address(&app, "s3").await;
    let plain = "text/plain; charset=UTF-8";
    let own = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37";
    let asked = json!({"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:eu-west-1:1:t",
        "SubscribeURL": own});
    let answer = post_as(&app, &address, plain, &asked).await.ok(202).json();
    let arrival = &answer["arrivals"][0];
    assert_eq!(
        (&arrival["status"], &arrival["uri"]),
        (&json!("ignored"), &json!(own))
    );
    assert!(
        arrival["reason"]
            .as_str()
            .expect("a reason")
            .contains("to confirm it"),
        "{arrival}"
    );

    // The folder is a local one: an object of S3 is not below it, and that is what is said of it.
    let record = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": "models"}, "object": {"key": "llama/2/config.json"}}}]});
    let told = json!({"Type": "Notification", "Message": record.to_string()});
    for body in [told, record] {
        let answer = post_as(&app, &address, plain, &body).await.ok(202).json();
        assert_eq!(
            answer["ignored"][0]["uri"], "s3://models/llama/2/config.json",
            "{answer}"
        );
    }

    // What a stranger calls a confirmation is no address to open.
    let foreign =
        json!({"Type": "SubscriptionConfirmation", "SubscribeURL": "http://169.254.169.254/"});
    let answer = post_as(&app, &address, plain, &foreign)
        .await
        .ok(202)
        .json();
    assert_eq!(answer["arrivals"], json!([]));
    post_as(&app, &address, plain, &json!("no object"))
        .await
        .ok(202);
    let broken = [("content-type", plain)];
    app.send(request(
        Method::POST,
        &address,
        &broken,
        Body::from("Hello"),
    ))
    .await
    .problem(400, "malformed_json");
}

#[tokio::test]
async fn event_grid_can_subscribe_in_both_of_its_schemas() {
    let app = App::open().await;
    let address = address(&app, "cloudevents").await;
    let asked = json!([{"id": "1", "topic": "t", "subject": "",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6-c7b8", "validationUrl": "https://rp-westus2.eventgrid.azure.net/"}}]);
    let answer = app
        .post(
            &address,
            &asked,
            &[("aeg-event-type", "SubscriptionValidation")],
        )
        .await
        .ok(200);
    assert_eq!(
        answer.json(),
        json!({"validationResponse": "512d38b6-c7b8"})
    );

    let headers = [("webhook-request-origin", "eventgrid.azure.net")];
    let answer = app
        .send(request(Method::OPTIONS, &address, &headers, Body::empty()))
        .await
        .ok(200);
    assert_eq!(
        answer.header("webhook-allowed-origin"),
        "eventgrid.azure.net"
    );
    assert_eq!(answer.header("webhook-allowed-rate"), "*");
    let wrong = address.replace("/cloudevents/", "/cloudevents/rt_");
    app.send(request(Method::OPTIONS, &wrong, &headers, Body::empty()))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn the_data_of_an_event_may_be_text_or_base64() {
    let app = App::open().await;
    let address = address(&app, "cloudevents").await;
    let data = json!({"uri": app.uri("llama/2/config.json")}).to_string();
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &data);
    for event in [
        json!({"specversion": "1.0", "data": data}),
        json!({"specversion": "1.0", "data_base64": encoded}),
    ] {
        let answer = app.post(&address, &event, &[]).await.ok(202).json();
        assert_eq!(answer["arrivals"][0]["uri"], app.uri("llama/2/"), "{event}");
    }
}
