//! `GET /v1/audit_events`.

use axum::{Json, extract::State};

use crate::service::{
    api::{
        AppState,
        authentication::Administrator,
        extract::QueryPairs,
        page::{Cut, Page, PageQuery},
        problem::{Problem, QueryRefusals, Refusals},
    },
    database::audit_events::{self, ListFilter},
    domain::access::{AuditEvent, AuditOutcome},
};

/// List who did what in the tenant's name, newest first. Filters are combined.
#[utoipa::path(
    get,
    path = "/v1/audit_events",
    tag = "audit_events",
    operation_id = "list_audit_events",
    params(
        ("key" = Option<Uuid>, Query, description = "Only what was done by this key"),
        ("action" = Option<String>, Query, description = "Only this: `transfer.submit`"),
        ("subject" = Option<String>, Query, description = "Only what was done to this: `transfers/{id}`"),
        ("outcome" = Option<AuditOutcome>, Query, description = "Only what was done, or refused"),
        PageQuery,
    ),
    responses(
        (status = 200, body = Page<AuditEvent>),
        QueryRefusals,
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Administrator(caller): Administrator,
    QueryPairs(query): QueryPairs,
) -> Result<Json<Page<AuditEvent>>, Problem> {
    let (filter, cut) = filter(query)?;
    let rows = audit_events::list(&state.database, caller.tenant, &filter).await?;
    Ok(cut.page(rows))
}

/// The filter, one row wider than the page, and the page.
fn filter(query: Vec<(String, String)>) -> Result<(ListFilter, Cut), Problem> {
    let mut filter = ListFilter::default();
    let cut = Cut::read(query, |name, value| {
        let fault = |detail| Problem::invalid_query(name, detail);
        match name {
            "key" => filter.key = Some(value.parse().map_err(|_| fault("the id of a key"))?),
            "action" => filter.action = Some(value),
            "subject" => filter.subject = Some(value),
            "outcome" => {
                let outcome = serde_json::from_value(value.into());
                filter.outcome = Some(outcome.map_err(|_| fault("one of done, refused"))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;

    (filter.after, filter.limit) = (cut.after(), cut.rows());
    Ok((filter, cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<(ListFilter, Cut), Problem> {
        filter(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn filters_are_read_and_what_is_not_understood_is_refused() {
        assert_eq!(
            read("outcome", "refused").unwrap().0.outcome,
            Some(AuditOutcome::Refused)
        );
        assert_eq!(read("limit", "3").unwrap().0.limit, 4);
        for (name, value) in [
            ("outcome", "ok"),
            ("key", "x"),
            ("after", "x"),
            ("limit", "0"),
            ("sort", "id"),
        ] {
            assert_eq!(
                read(name, value).unwrap_err().code(),
                "invalid_query",
                "{name}"
            );
        }
    }
}
