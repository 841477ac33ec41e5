//! What the pages change: as the API does, by role, and only from our own pages.

mod pages;

use axum::http::Method;
use retune::service::domain::access::Role;

use super::app::{Answer, App, request};

/// A browser that has opened a page: its cookies, and the token in that page's forms.
struct Browser<'a> {
    app: &'a App,
    cookies: String,
    token: String,
}

impl<'a> Browser<'a> {
    /// Signed in with a key, or where none is asked for.
    async fn open(app: &'a App, key: Option<&str>) -> Self {
        let key = key
            .map(|key| format!("retune_key={key}; "))
            .unwrap_or_default();
        let page = app.get_with("/retunes", &[("cookie", &key)]).await.ok(200);
        let session = page
            .header("set-cookie")
            .split(';')
            .next()
            .expect("a cookie")
            .to_owned();
        assert!(session.starts_with("retune_session="), "{session}");
        let (_, token) = page_token(&page);
        Self {
            app,
            cookies: format!("{key}{session}"),
            token,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.app.get_with(path, &[("cookie", &self.cookies)]).await
    }

    /// Posts a form as the browser of a user does.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(
            path,
            fields,
            &[("sec-fetch-site", "same-origin")],
            &self.token,
        )
        .await
    }

    async fn post_with(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
        token: &str,
    ) -> Answer {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("form_token", token).extend_pairs(fields);
        let mut all = vec![("cookie", self.cookies.as_str())];
        all.push(("content-type", "application/x-www-form-urlencoded"));
        all.extend_from_slice(headers);
        self.app
            .send(request(Method::POST, path, &all, form.finish().into()))
            .await
    }
}

/// The place and the text of the first form's token.
fn page_token(page: &Answer) -> (usize, String) {
    let text = page.text();
    let mark = "name=\"form_token\" value=\"";
    let at = text.find(mark).expect("a form") + mark.len();
    (
        at,
        text[at..].split('"').next().expect("a value").to_owned(),
    )
}

#[tokio::test]
async fn a_transfer_is_cancelled_and_retried_by_buttons() {
    let app = App::closed().await;
    let key = app.key(Role::Submit).await;
    let browser = Browser::open(&app, Some(&key)).await;
    let id = app.db.queued(1).await.id;
    let page = browser
        .get(&format!("/transfers/{id}"))
        .await
        .ok(200)
        .text();
    assert!(
        page.contains("/cancel") && page.contains("next of yours"),
        "{page}"
    );
    let done = browser
        .post(&format!("/transfers/{id}/cancel"), &[])
        .await
        .ok(303);
    assert_eq!(done.header("location"), format!("/transfers/{id}"));
    assert_eq!(app.db.get(id).await.status.name(), "cancelled");
    let page = browser
        .get(&format!("/transfers/{id}"))
        .await
        .ok(200)
        .text();
    assert!(page.contains("/retry") && !page.contains("/cancel"));
    browser
        .post(&format!("/transfers/{id}/retry"), &[])
        .await
        .ok(303);
    assert_eq!(app.db.get(id).await.status.name(), "queued");
    // What cannot be done is told, with the API's own words.
    let refused = browser
        .post(&format!("/transfers/{id}/retry"), &[])
        .await
        .ok(409)
        .text();
    assert!(
        refused.contains("Nothing was changed") && refused.contains("invalid_state"),
        "{refused}"
    );
    browser.post("/transfers/x/cancel", &[]).await.ok(404);
}

#[tokio::test]
async fn a_reader_sees_no_button_and_a_forged_one_is_refused_and_recorded() {
    let app = App::closed().await;
    let reader = Browser::open(&app, Some(&app.key(Role::Read).await)).await;
    let id = app.db.queued(1).await.id;
    let page = reader.get(&format!("/transfers/{id}")).await.ok(200).text();
    assert!(!page.contains("/cancel") && !page.contains("New like this"));
    assert!(
        !reader
            .get("/retunes")
            .await
            .ok(200)
            .text()
            .contains("Begin one by hand")
    );
    for path in [
        &*format!("/transfers/{id}/cancel"),
        "/retunes",
        "/fine-tunes/news/versions/1/promote",
        "/transfers/new",
        "/webhooks",
        "/webhooks/ci/test",
        "/keys",
        "/keys/0190f000-0000-7000-8000-000000000000/revoke",
    ] {
        let spec = app.spec().to_string();
        let fields = [
            ("spec", &*spec),
            ("do", "submit"),
            ("name", "a"),
            ("role", "admin"),
            ("base_model", "llama"),
            ("version", "1"),
        ];
        reader.post(path, &fields).await.ok(403);
    }
    assert_eq!(app.db.get(id).await.status.name(), "queued");
    for path in ["/keys", "/audit", "/webhooks", "/webhooks/ci"] {
        assert!(
            reader.get(path).await.ok(403).text().contains("role admin"),
            "{path}"
        );
    }

    let admin = Browser::open(&app, Some(&app.key(Role::Admin).await)).await;
    let audit = admin.get("/audit?outcome=refused").await.ok(200).text();
    assert!(
        audit.contains("forbidden") && audit.contains("/v1/transfers/{id}/cancel"),
        "{audit}"
    );
}

#[tokio::test]
async fn no_other_site_posts_a_form() {
    for open in [true, false] {
        let app = if open {
            App::open().await
        } else {
            App::closed().await
        };
        let key = if open {
            None
        } else {
            Some(app.key(Role::Admin).await)
        };
        let browser = Browser::open(&app, key.as_deref()).await;
        let other = Browser::open(&app, key.as_deref()).await;
        assert_ne!(browser.token, other.token, "one session's, not another's");
        let id = app.db.queued(1).await.id;
        let path = format!("/transfers/{id}/cancel");
        let ours = [("sec-fetch-site", "same-origin")];
        for (headers, token) in [
            (&ours[..], ""),
            (&ours, "0"),
            (&ours, &*other.token),
            (&[("sec-fetch-site", "cross-site")], &*browser.token),
            (&[("sec-fetch-site", "same-site")], &*browser.token),
            (
                &[("origin", "http://127.0.0.1:9"), ("host", "127.0.0.1:8")],
                &*browser.token,
            ),
            (
                &[("origin", "null"), ("host", "127.0.0.1:8")],
                &*browser.token,
            ),
        ] {
            browser.post_with(&path, &[], headers, token).await.ok(403);
        }
        let planted = Browser {
            cookies: other.cookies.clone(),
            token: browser.token.clone(),
            app: &app,
        };
        planted.post(&path, &[]).await.ok(403);
        let bare = Browser {
            cookies: key
                .map(|key| format!("retune_key={key}"))
                .unwrap_or_default(),
            token: browser.token.clone(),
            app: &app,
        };
        bare.post(&path, &[]).await.ok(403);
        assert_eq!(app.db.get(id).await.status.name(), "queued");
        // The same by our own page.
        browser.post(&path, &[]).await.ok(303);
        assert_eq!(app.db.get(id).await.status.name(), "cancelled");
    }
}

#[tokio::test]
async fn nobody_is_signed_in_or_out_by_another_site() {
    let app = App::closed().await;
    let key = app.key(Role::Read).await;
    let form = format!("key={key}&next=%2F%2Fevil.example");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let foreign = [kind, ("sec-fetch-site", "cross-site")];
    let refused = app
        .send(request(
            Method::POST,
            "/login",
            &foreign,
            form.clone().into(),
        ))
        .await
        .ok(403);
    assert!(refused.header("set-cookie").is_empty());
    let ours = [kind, ("sec-fetch-site", "same-origin")];
    let entered = app
        .send(request(Method::POST, "/login", &ours, form.into()))
        .await
        .ok(303);
    assert_eq!(
        entered.header("location"),
        "/",
        "and nobody is led elsewhere"
    );
    let browser = Browser::open(&app, Some(&key)).await;
    browser
        .post_with(
            "/logout",
            &[],
            &[("sec-fetch-site", "cross-site")],
            &browser.token,
        )
        .await
        .ok(403);
    let left = browser.post("/logout", &[]).await.ok(303);
    assert!(left.header("set-cookie").contains("Max-Age=0"));
}
