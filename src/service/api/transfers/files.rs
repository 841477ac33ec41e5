//! `GET /v1/transfers/{id}/files/{name}`: streams a file of a result, whole or in part.
//!
//! The digest from the manifest is the `ETag`, so an interrupted download can be resumed with
//! `Range` and `If-Range` and never mixes two files. One range a request (RFC 9110 lets a server
//! ignore lists of ranges).

mod range;

use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt, stream};
use utoipa::ToSchema;

use self::range::Wanted;
use crate::{
    contract::ids::TransferId,
    service::{
        api::{
            AppState,
            authentication::{KEY_ENDED, Reader},
            etag,
            extract::IdAndName,
            problem::{Problem, ProblemCode, Refusals},
        },
        results::{self, ResultError, ResultFile},
        state::Admission,
    },
};

/// The bytes of a file, for the documentation.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "documents what is streamed")]
struct FileContents(Vec<u8>);

/// Download a file of the result.
#[utoipa::path(
    get,
    path = "/v1/transfers/{id}/files/{name}",
    tag = "transfers",
    operation_id = "get_transfer_file",
    params(
        ("id" = Uuid, Path, description = "The transfer"),
        ("name" = String, Path, description = "A name that the manifest lists, or `manifest.json`"),
        ("Range" = Option<String>, Header, description = "`bytes=first-last`, one range"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` that the range continues"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` at hand"),
    ),
    responses(
        (status = 200, description = "The file", headers(("ETag" = String)), content(
            (FileContents = "application/octet-stream"), (serde_json::Value = "application/json"), (String = "text/plain"))),
        (status = 206, description = "The part asked for", headers(("Content-Range" = String)), content(
            (FileContents = "application/octet-stream"), (serde_json::Value = "application/json"), (String = "text/plain"))),
        (status = 304, description = "Unchanged"),
        (status = 404, body = Problem, content_type = "application/problem+json",
         description = "`not_found`, `no_result`, `result_gone`"),
        (status = 416, body = Problem, content_type = "application/problem+json", description = "`range_not_satisfiable`"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`location_not_allowed`: it lies outside the roots, which were wider once"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "`storage_unavailable`"),
        Refusals,
    ),
    security(("api_key" = []))
)]
pub async fn handle(
    State(state): State<AppState>,
    Reader(caller): Reader,
    IdAndName(id, name): IdAndName<TransferId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let transfer = super::load(&state, caller.tenant, id).await?;
    let storage = state.storage(caller.tenant);
    let (file, place) = results::file(&storage, &transfer, &name).await?;
    let etag = HeaderValue::try_from(format!("\"{}\"", file.sha256)).map_err(Problem::internal)?;
    if etag::matches(headers.get(header::IF_NONE_MATCH), &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }

    let continues = headers
        .get(header::IF_RANGE)
        .is_none_or(|known| *known == etag);
    let range = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let wanted = match range {
        Some(range) if continues => range::read(range, file.size),
        _ => Wanted::Whole,
    };

    let range = match wanted {
        Wanted::Whole => None,
        Wanted::Part(range) => Some(range),
        Wanted::Beyond => return Ok(beyond(&file)),
    };

    let download = storage.get_stream(&place, range.clone()).await;
    let download = download.map_err(ResultError::from)?;
    let admission = Admission::of(state, caller);
    let body = Body::from_stream(while_held(download.stream, admission));
    let sent = range.clone().unwrap_or(0..file.size);
    let mut response = (described(&file, etag), body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, (sent.end - sent.start).into());
    if range.is_some() {
        let part = format!("bytes {}-{}/{}", sent.start, sent.end - 1, file.size);
        headers.insert(
            header::CONTENT_RANGE,
            part.parse().map_err(Problem::internal)?,
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }

    Ok(response)
}

/// The stream for as long as its caller's key holds; one that ends before breaks the download off.
fn while_held<E: Into<BoxError>>(
    stream: impl Stream<Item = Result<Bytes, E>> + Unpin,
    admission: Admission,
) -> impl Stream<Item = Result<Bytes, BoxError>> {
    stream::try_unfold(
        (stream, admission),
        |(mut stream, mut admission)| async move {
            let Some(bytes) = stream.next().await else {
                return Ok(None);
            };
            if !admission.held_lately().await {
                return Err(BoxError::from(KEY_ENDED));
            }
            Ok(Some((bytes.map_err(Into::into)?, (stream, admission))))
        },
    )
}

/// Files come from users: they are downloads, and no browser may take them for a page.
fn described(file: &ResultFile, etag: HeaderValue) -> HeaderMap {
    let kind = match file.name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("json") => "application/json",
        Some("md" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };

    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox"),
    );
    // Immutable by construction, but private to the tenant.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    headers.insert(header::ETAG, etag);
    headers
}

fn beyond(file: &ResultFile) -> Response {
    let problem = Problem::new(
        ProblemCode::RangeNotSatisfiable,
        format!("the file has {} bytes", file.size),
    );
    (
        [(header::CONTENT_RANGE, format!("bytes */{}", file.size))],
        problem,
    )
        .into_response()
}
