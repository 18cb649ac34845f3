//! What is shown: health, metrics and a read-only JSON API over the log for reviewers. Pages come later.
//!
//! *Invariant:* this room cannot forward, decide or write; its pool belongs to a role that only reads.

mod api;
mod store;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use sqlx::PgPool;

/// One part of the gateway, for `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub name: String,
    pub ready: bool,
    /// What is wrong, or what was found to be right.
    pub cause: String,
}

/// What the console shows, given by the app.
#[derive(Clone)]
pub struct Sources {
    pub pool: PgPool,
    /// The state of every part now.
    pub parts: Arc<dyn Fn() -> Vec<Part> + Send + Sync>,
    /// The metrics text now.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Bundle, registry and build in force now.
    pub in_force: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
}

/// The routes of the console's listener.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/in-force", get(in_force))
        .route("/v1/log", get(api::log))
        .route("/v1/decisions", get(api::decisions))
        .route("/v1/decisions/{id}", get(api::decision))
        .route("/v1/decisions/{id}/leaf", get(api::leaf))
        .route("/v1/decisions/{id}/receipt", get(api::receipt))
        .with_state(sources)
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    parts: Vec<Part>,
}

async fn ready(State(sources): State<Sources>) -> Response {
    let parts = (sources.parts)();
    let ready = parts.iter().all(|part| part.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, parts })).into_response()
}

async fn metrics(State(sources): State<Sources>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], (sources.metrics)()).into_response()
}

async fn in_force(State(sources): State<Sources>) -> Response {
    Json((sources.in_force)()).into_response()
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
