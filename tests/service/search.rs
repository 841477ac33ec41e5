//! Transfers are found by any part of what they say, by an index and behind the wall.

use retune::{
    contract::ids::TenantId,
    service::{
        database::transfers::{self, Enqueue, ListFilter},
        domain::access::DEFAULT_TENANT,
    },
};
use serde_json::{Value, json};

use crate::support::{TestDatabase, enqueue};

async fn found(test: &TestDatabase, tenant: TenantId, text: &str) -> Vec<String> {
    let filter = ListFilter {
        search: Some(text.to_owned()),
        limit: 100,
        ..ListFilter::default()
    };
    let rows = transfers::list(&test.database, tenant, &filter).await;
    let mut names: Vec<String> = rows
        .expect("the database answers")
        .into_iter()
        .map(|one| one.name.expect("named"))
        .collect();
    names.sort();
    names
}

fn job(name: &str, target: &str, metadata: Value) -> Enqueue {
    let mut new = enqueue();
    new.spec["name"] = json!(name);
    new.spec["target"]["base"] = json!(target);
    new.metadata = metadata;
    new
}

async fn other_tenant(test: &TestDatabase) -> TenantId {
    let tenant = TenantId::generate();
    sqlx::query("INSERT INTO tenants (id, name) VALUES ($1, 'other')")
        .bind(tenant)
        .execute(&test.database.pool)
        .await
        .expect("a tenant");
    tenant
}

#[tokio::test]
async fn every_part_of_what_is_told_finds_a_transfer() {
    let test = TestDatabase::fresh().await;
    let other = other_tenant(&test).await;
    let first = test
        .submit(job("Weekly News", "s3://Models/llama/7/", json!({})))
        .await;
    let labels = json!({"team": "Übersicht 100%_é"});
    test.submit(job("second", "s3://models/qwen/2/", labels))
        .await;
    // More than is indexed.
    let long: serde_json::Map<_, _> = (0..60)
        .map(|at| (format!("key{at}"), json!("x".repeat(200))))
        .collect();
    test.submit(job("long", "s3://models/phi/4/", long.into()))
        .await;
    test.submit(Enqueue {
        tenant: other,
        ..job("Theirs", "s3://models/llama/7/", json!({}))
    })
    .await;

    let id = first.id.to_string();
    for (text, names) in [
        ("weekly", vec!["Weekly News"]),
        ("LY NE", vec!["Weekly News"]),
        ("LLAMA/7", vec!["Weekly News"]),
        (&id[20..], vec!["Weekly News"]),
        ("Übersicht 100", vec!["second"]),
        ("%_é", vec!["second"]),
        ("\"team\"", vec!["second"]),
        ("file:///t/", vec!["Weekly News", "long", "second"]),
        ("KEY59", vec!["long"]),
        ("xxxxxxxx", vec!["long"]),
        // Too short for the index.
        ("qw", vec!["second"]),
        ("é", vec!["second"]),
        // Its runs are there, and it is not.
        ("llama/7 llama/7", vec![]),
        ("theirs", vec![]),
        ("nothing", vec![]),
    ] {
        assert_eq!(found(&test, DEFAULT_TENANT, text).await, names, "{text}");
    }
    assert_eq!(found(&test, other, "llama").await, ["Theirs"]);
    assert_eq!(found(&test, other, "key59").await, Vec::<String>::new());
}

/// Behind row-level security most operators keep an index from being used.
#[tokio::test]
async fn the_index_serves_whoever_has_entered_a_tenant() {
    let test = TestDatabase::fresh().await;
    test.queued(1).await;
    let mut scope = test
        .database
        .scope(DEFAULT_TENANT)
        .await
        .expect("a transaction");
    sqlx::query("SET LOCAL enable_seqscan = off")
        .execute(&mut *scope)
        .await
        .expect("set");
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT transfer FROM transfer_grams
         WHERE grams @> search_grams($1, $2) OR grams @> search_mark($1) LIMIT $3",
    )
    .bind(DEFAULT_TENANT)
    .bind("nothing")
    .bind(5001_i64)
    .fetch_all(&mut *scope)
    .await
    .expect("a plan");
    assert!(
        plan.iter().any(|line| line.contains("transfers_by_text")),
        "{plan:#?}"
    );
}

/// A text within another has no run that this has not, whatever it is made of.
#[tokio::test]
async fn the_index_loses_no_part_of_a_text() {
    let test = TestDatabase::fresh().await;
    let text = "s3://Ab/ÄÖ ß İI ﬁ 日本語 🦀é\u{301} \t\"'\\ 100%_ aaa";
    let letters: Vec<char> = text.chars().collect();
    let mut parts: Vec<String> = Vec::new();
    for start in 0..letters.len() {
        for end in start + 1..=letters.len() {
            parts.push(letters[start..end].iter().collect());
        }
    }
    let lost: Vec<String> = sqlx::query_scalar(
        "SELECT part FROM unnest($2::text[]) AS part
         WHERE position(lower(part) IN lower($1)) > 0
           AND NOT search_grams($3, $1) @> search_grams($3, part)",
    )
    .bind(text)
    .bind(&parts)
    .bind(TenantId::generate())
    .fetch_all(&test.database.pool)
    .await
    .expect("the database answers");
    assert!(parts.len() > 700, "{}", parts.len());
    assert_eq!(lost, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_removed_is_found_no_more_and_tenants_have_no_run_in_common() {
    let test = TestDatabase::fresh().await;
    let gone = test.queued(1).await;
    sqlx::query("DELETE FROM events")
        .execute(&test.database.pool)
        .await
        .expect("deleted");
    sqlx::query("DELETE FROM transfers WHERE id = $1")
        .bind(gone.id)
        .execute(&test.database.pool)
        .await
        .expect("deleted");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM transfer_grams")
        .fetch_one(&test.database.pool)
        .await
        .expect("the database answers");
    assert_eq!(left, 0);

    let shared: bool = sqlx::query_scalar("SELECT search_grams($1, $3) && search_grams($2, $3)")
        .bind(DEFAULT_TENANT)
        .bind(TenantId::generate())
        .bind("s3://models/llama/7/")
        .fetch_one(&test.database.pool)
        .await
        .expect("the database answers");
    assert!(!shared);
}
