//! The gateway's own protocol: what an organisation manages itself, under `/v1/` beside the routes that are forwarded.
//!
//! A route is one row of [`ROUTES`]; the gate does what the row says, the document of [`document`] describes it.
//!
//! *Invariant:* nothing of this protocol is ever forwarded.

mod decide;
mod document;
mod routes;

use std::sync::Arc;

use bytes::Bytes;
use verdict::reason::Reason;

use super::NotUnderstood;

pub use decide::asked;
pub use document::document;
pub use routes::{ROUTES, Row, methods, route};

/// What a managing request asks for, beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    pub does: Does,
    /// The service on which the caller must be allowed the operation `admin`; none where the caller need only be known.
    pub service: Option<&'static str>,
    /// What stood where the path has `{id}`.
    pub id: Option<Arc<str>>,
    /// Query parameters that the row names, in the order of the request.
    pub query: Vec<(Arc<str>, Arc<str>)>,
}

/// The closed list of errands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// The document that describes all of this.
    Describe,
    ListHolds,
    ShowHold,
    ReleaseHold,
    RefuseHold,
    ListWebhooks,
    AddWebhook,
    TestWebhook,
    RotateWebhook,
    RemoveWebhook,
    ListObligations,
    CloseObligation,
    ListAccess,
    ExplainAccess,
    GrantRow,
    GrantRole,
    RevokeRow,
    RevokeRole,
    Decide,
    ShowLeaf,
    ShowReceipt,
}

impl Errand {
    /// The value of a query parameter.
    #[must_use]
    pub fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
    }
}

/// Reads a body of the gateway's own protocol. No error repeats what was sent.
///
/// # Errors
/// 400 when it is not what the route takes.
pub fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, NotUnderstood> {
    serde_json::from_slice(body).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        let what = "the body is not what this route takes";
        let message = format!("{what} ({at}): `GET /v1/openapi.json` says what it takes");
        NotUnderstood::new(400, Reason::BodyInvalid, message)
    })
}
