//! API keys at the database and on the command line.

use retune::{
    contract::ids::TenantId,
    service::{
        database::api_keys,
        domain::access::{DEFAULT_TENANT, Role},
        registry::keys,
    },
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{TestDatabase, retune};

#[tokio::test]
async fn a_key_holds_until_it_is_withdrawn_or_expires() {
    let test = TestDatabase::fresh().await;
    let database = &test.database;
    assert!(!api_keys::any_exists(database).await.unwrap());
    let make = async |expires| {
        keys::create(database, "ci", DEFAULT_TENANT, Role::Submit, expires)
            .await
            .unwrap()
    };
    let (key, secret) = make(None).await;
    let caller = api_keys::authenticate(database, &secret)
        .await
        .unwrap()
        .unwrap()
        .principal;
    assert_eq!((caller.key_id, caller.role), (Some(key.id), Role::Submit));
    // The right prefix with another secret.
    let last = if secret.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &secret[..secret.len() - 1]);
    assert!(
        api_keys::authenticate(database, &forged)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        api_keys::authenticate(database, "rt_nonsense")
            .await
            .unwrap()
            .is_none()
    );

    assert!(
        !keys::revoke(database, TenantId::generate(), key.id)
            .await
            .unwrap()
    );
    assert!(
        keys::revoke(database, DEFAULT_TENANT, key.id)
            .await
            .unwrap()
    );
    assert!(
        api_keys::authenticate(database, &secret)
            .await
            .unwrap()
            .is_none()
    );
    // The service does not open when the last key is withdrawn.
    assert!(api_keys::any_exists(database).await.unwrap());

    let (_, expired) = make(Some(OffsetDateTime::now_utc() - Duration::seconds(1))).await;
    assert!(
        api_keys::authenticate(database, &expired)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        api_keys::list(database, DEFAULT_TENANT, None, 10)
            .await
            .unwrap()
            .len(),
        2
    );
    let nobody = keys::create(database, "x", TenantId::generate(), Role::Read, None).await;
    assert!(matches!(nobody, Err(keys::CreateError::UnknownTenant(_))));
}

#[tokio::test]
async fn keys_are_made_on_the_command_line() {
    let test = TestDatabase::fresh().await;
    let run = |arguments: &[&str]| {
        retune()
            .args(arguments)
            .env("DATABASE_URL", &test.url)
            .output()
            .expect("the program runs")
    };
    let made = run(&["keys", "create", "--role", "read", "--name", "monitor"]);
    assert!(made.status.success());
    let secret = String::from_utf8(made.stdout).unwrap();
    let caller = api_keys::authenticate(&test.database, secret.trim())
        .await
        .unwrap()
        .unwrap()
        .principal;
    assert_eq!(caller.role, Role::Read);
    let listed: Value = serde_json::from_slice(&run(&["keys", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed["data"][0]["name"], "monitor");
    assert!(listed["data"][0].get("secret_sha256").is_none());
    assert!(
        run(&["keys", "revoke", &caller.key_id.unwrap().to_string()])
            .status
            .success()
    );
    assert!(
        api_keys::authenticate(&test.database, secret.trim())
            .await
            .unwrap()
            .is_none()
    );
    let key = caller.key_id.unwrap().to_string();
    let again = run(&["keys", "revoke", &key, "--json"]).stdout;
    let again: Value = serde_json::from_slice(&again).unwrap();
    assert_eq!(again, json!({"id": key, "state": "withdrawn"}));
    let migrated: Value = serde_json::from_slice(&run(&["migrate", "--json"]).stdout).unwrap();
    assert!(migrated["schema"].as_i64().unwrap() >= 20_261_128_000_000);
    let unknown = run(&["keys", "revoke", &Uuid::now_v7().to_string()]);
    assert_eq!(unknown.status.code(), Some(2));

    let of = |name| {
        run(&[
            "keys",
            "create",
            "--tenant",
            name,
            "--expires-in",
            "1",
            "--json",
        ])
        .stdout
    };
    let (one, two): (Value, Value) = (
        serde_json::from_slice(&of("vision")).unwrap(),
        serde_json::from_slice(&of("vision")).unwrap(),
    );
    assert_eq!(
        one["key"]["tenant"], two["key"]["tenant"],
        "a name is one tenant"
    );
    assert_ne!(one["key"]["tenant"], json!(DEFAULT_TENANT));
    assert!(one["key"]["expires_at"].is_string());
    let vision = run(&["keys", "list", "--tenant", "vision", "--json"]).stdout;
    let vision: Value = serde_json::from_slice(&vision).unwrap();
    assert_eq!(vision["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        run(&["keys", "list", "--tenant", "audio"]).status.code(),
        Some(2)
    );
}
