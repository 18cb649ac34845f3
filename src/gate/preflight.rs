//! A look ahead: what would be decided if this were sent. It is judged as the request would be and recorded as what it is;
//! nothing is forwarded, no hold is opened, and nothing is used up.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, request::Parts};
use verdict::reason::Reason;

use super::manage::NotDone;
use super::prepare::Prepared;
use super::{Gate, JUDGE_AGAIN_MAX, Known, answer, draft};
use crate::audit::{Draft, Keeps, Proof, RecordError, Recorded};
use crate::workload::haetae::asked;

impl Gate {
    /// # Errors
    /// When the body does not say what would be sent, or the answer cannot be recorded now.
    pub(super) async fn preflight(
        &self,
        head: &Parts,
        known: &Known,
        body: &Bytes,
    ) -> Result<Response<Body>, NotDone> {
        let claims = asked(&head.headers, body)?;
        for _ in 0..JUDGE_AGAIN_MAX {
            let prepared = self.look_ahead(known, &claims).await.map_err(NotDone::Unavailable)?;
            let keeps = Keeps::default();
            let draft = draft::build(known, Some(&claims), &prepared, None, keeps);
            match self.audit.record(Draft { preflight: true, ..draft }).await {
                Ok(Recorded::Refusal(proof)) => return Ok(looked_ahead(known, &prepared, &proof)),
                // A look ahead names no site, so audit cannot have made this. Never use it.
                Ok(Recorded::Permit(permit)) => {
                    drop(permit);
                    break;
                }
                Err(RecordError::FactsMoved { now }) => self.facts(now).await,
                Err(error) => return Err(NotDone::Unavailable(error.into())),
            }
        }
        Err(NotDone::Unavailable(answer::Unavailable::facts_moving()))
    }
}

/// Who may not send it may not ask either, and learns as little.
fn looked_ahead(known: &Known, prepared: &Prepared, proof: &Proof) -> Response<Body> {
    let first = prepared.judgement.decision.reasons.first();
    if first.is_some_and(|why| NO_RIGHT.contains(&why.code)) {
        answer::refusal(known, prepared, proof, answer::More::Held(None))
    } else {
        answer::preflight(known, prepared, proof)
    }
}

const NO_RIGHT: [Reason; 2] = [Reason::AccessDenied, Reason::UnknownOrganisation];
