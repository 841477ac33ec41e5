//! The pages for people.
use super::state::AppState;
use axum::Router;
pub fn router(_state: AppState) -> Router {
    Router::new()
}
