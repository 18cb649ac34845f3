//! The JSON API over the log: keyset-paged lists, one decision from end to end, its leaf and its receipt.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Sources, store};
use crate::audit::{self, Part};

/// `?org=&outcome=&site=&reason=&before=&limit=`; `before` is the `next` of the page before.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    pub org: Option<String>,
    pub outcome: Option<String>,
    pub site: Option<String>,
    pub reason: Option<String>,
    pub before: Option<String>,
    pub limit: Option<i64>,
}

#[derive(Serialize)]
struct Page {
    decisions: Vec<store::Row>,
    /// Give it as `before` for the next page; absent on the last one.
    next: Option<String>,
}

pub async fn decisions(
    State(sources): State<Sources>,
    Query(filter): Query<Filter>,
) -> Result<Response, ApiError> {
    let limit = filter.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let before = filter.before.as_deref().map(Cursor::read).transpose()?;
    let rows = store::decisions(&sources.pool, &filter, before, limit).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|count| count == limit);
    let next = rows.last().filter(|_| full).map(|row| Cursor::of(row).write());
    Ok(Json(Page { decisions: rows, next }).into_response())
}

pub async fn decision(
    State(sources): State<Sources>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    let found = store::decision(&sources.pool, id).await?.ok_or(ApiError::NotFound(id))?;
    Ok(Json(found).into_response())
}

pub async fn leaf(
    State(sources): State<Sources>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    part(&sources, id, Part::Leaf).await
}

/// The C2SP tlog-proof of the decision under the newest checkpoint.
pub async fn receipt(
    State(sources): State<Sources>,
    Path(id): Path<Uuid>,
) -> Result<Response, ApiError> {
    part(&sources, id, Part::Receipt).await
}

async fn part(sources: &Sources, id: Uuid, part: Part) -> Result<Response, ApiError> {
    let proven = audit::prove(&sources.pool, id).await?;
    let given = proven.and_then(|proven| proven.part(part)).ok_or(ApiError::NotFound(id))?;
    Ok(([(header::CONTENT_TYPE, given.0)], given.1).into_response())
}

pub async fn log(State(sources): State<Sources>) -> Result<Response, ApiError> {
    Ok(Json(json!({ "lanes": store::lanes(&sources.pool).await? })).into_response())
}

/// A place in the list, newest first: (time, lane, index).
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    pub at_ns: i64,
    pub lane: i32,
    pub index: i64,
}

impl Cursor {
    fn of(row: &store::Row) -> Self {
        Self { at_ns: row.at_ns, lane: row.lane, index: row.index }
    }

    fn write(self) -> String {
        format!("{}.{}.{}", self.at_ns, self.lane, self.index)
    }

    fn read(text: &str) -> Result<Self, ApiError> {
        let mut parts = text.split('.');
        let mut next = || parts.next().and_then(|part| part.parse::<i64>().ok());
        let (at_ns, lane, index) = (next(), next(), next());
        match (at_ns, lane.and_then(|lane| i32::try_from(lane).ok()), index) {
            (Some(at_ns), Some(lane), Some(index)) => Ok(Self { at_ns, lane, index }),
            _ => Err(ApiError::Cursor),
        }
    }
}

/// What the API answers when it cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("no decision `{0}` is shown yet: rows follow the log within a second")]
    NotFound(Uuid),
    #[error("`before` is not the `next` of a page")]
    Cursor,
    #[error("the database did not answer")]
    Database(#[from] sqlx::Error),
    #[error("the record could not be proven: {0}")]
    Prove(#[from] audit::AuditError),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Cursor => StatusCode::BAD_REQUEST,
            Self::Database(_) | Self::Prove(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

const PAGE_DEFAULT: i64 = 50;
const PAGE_MAX: i64 = 1_000;
