use retune::service::api;

use super::app::App;

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let app = App::closed().await;
    assert_eq!(
        app.get("/openapi.json").await.ok(200).json(),
        serde_json::to_value(api::openapi()).unwrap()
    );
    let page = app.get("/docs/").await.ok(200);
    assert!(page.header("content-type").starts_with("text/html"));
}
