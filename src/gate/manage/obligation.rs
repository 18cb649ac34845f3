//! Obligations of the caller's own organisation: listed, and closed by whoever may say that they were fulfilled.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use verdict::reason::Reason;

use super::{Gate, Known, NotDone, answer, invalid, parameter, refused};
use crate::obligation::{CloseError, Done, Obligation, State};
use crate::workload::NotUnderstood;
use crate::workload::haetae::{Errand, read};

/// The body of a closing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closing {
    reason: String,
    /// `sha256:` and hex.
    evidence: String,
}

impl Gate {
    pub(super) async fn list_obligations(
        &self,
        known: &Known,
        errand: &Errand,
    ) -> Result<Response<Body>, NotDone> {
        let state = errand.asked("state").map(|name| State::named(name).ok_or_else(no_such_state));
        let state = state.transpose()?;
        let mut all = self.obligations.list(&known.caller.org, self.clock.unix_s()).await?;
        all.retain(|one| state.is_none_or(|state| state == one.state));
        let all: Vec<Value> = all.iter().map(|one| told(known, one)).collect();
        Ok(answer::managed(&json!({ "obligations": all })))
    }

    pub(super) async fn close_obligation(
        &self,
        known: &Known,
        errand: &Errand,
        body: &Bytes,
    ) -> Result<Response<Body>, NotDone> {
        let Closing { reason, evidence } = read(body)?;
        let evidence = digest(&evidence).ok_or_else(|| {
            invalid("`evidence` is `sha256:` and the 64 hex digits of what shows it")
        })?;
        let now = self.clock.unix_s();
        let done = Done { person: &known.caller.actor, reason: &reason, evidence, now };
        let id = errand.id.as_deref().unwrap_or_default();
        let closed = self.obligations.close(&known.caller.org, id, &done).await?;
        Ok(answer::managed(&told(known, &closed)))
    }
}

/// With what its code means in the reader's language.
fn told(known: &Known, one: &Obligation) -> Value {
    let mut value = serde_json::to_value(one).unwrap_or_default();
    if let Some(value) = value.as_object_mut() {
        value.insert("duty".into(), json!(one.told(known.language())));
    }
    value
}

fn digest(text: &str) -> Option<[u8; 32]> {
    hex::decode(text.strip_prefix("sha256:")?).ok()?.try_into().ok()
}

fn no_such_state() -> NotUnderstood {
    parameter("`state` is `broken`, `overdue`, `open`, `met` or `closed`")
}

impl From<CloseError> for NotDone {
    fn from(error: CloseError) -> Self {
        let (status, reason) = match error {
            CloseError::Database(error) => return error.into(),
            CloseError::NotFound => (StatusCode::NOT_FOUND, Reason::NotFound),
            CloseError::NotOpen(_) | CloseError::Broken => (StatusCode::CONFLICT, Reason::NotOpen),
            CloseError::Reason => (StatusCode::BAD_REQUEST, Reason::BodyInvalid),
        };
        Self::Refused(refused(status, reason, error.to_string()))
    }
}
