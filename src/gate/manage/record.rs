//! A record of the caller's own organisation, so that whoever got an answer can check its receipt: the leaf that was hashed, and a proof of
//! it under a newer checkpoint.
//!
//! *Invariant:* whose record it is comes from the caller and the record itself. Another organisation's is answered as one that does not
//! exist, and as late.
//!
//! Not told to the log as a `read`: that is for who sees records of others, or what a digest hides. Here an organisation is given back what
//! it said and was told, and each look would be one more record to look at.

use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;
use verdict::reason::Reason;

use super::{Gate, Known, NotDone, Unavailable, answer, refused};
use crate::audit::{self, AuditError, Part};
use crate::workload::NotUnderstood;
use crate::workload::haetae::Errand;

impl Gate {
    pub(super) async fn show_record(
        &self,
        known: &Known,
        errand: &Errand,
        part: Part,
    ) -> Result<Response<Body>, NotDone> {
        let org = &known.caller.org;
        let id = record_id(errand)?;
        let Ok(_place) = timeout(PLACE_WAIT_MAX, self.limits.read(org)).await else {
            return Err(NotDone::Unavailable(Unavailable::overloaded()));
        };
        let reading = timeout(READ_MAX, self.read_record(org, id, part)).await;
        reading.unwrap_or(Err(NotDone::Unavailable(Unavailable::store())))
    }

    /// Rows and checkpoints follow a record within a second: who asks right after its answer waits for them here.
    async fn read_record(
        &self,
        org: &str,
        id: Uuid,
        part: Part,
    ) -> Result<Response<Body>, NotDone> {
        let look = async || {
            let proven = audit::prove_own(&self.reads, id, org).await?;
            Ok::<_, NotDone>(proven.map(|proven| proven.part(part)))
        };
        let until = Instant::now() + FOLLOW_MAX;
        let mut seen = look().await?;
        while matches!(seen, None | Some(None)) && self.is_young(id) && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
            seen = look().await?;
        }
        let uncovered = NotDone::Unavailable(Unavailable::uncovered());
        Ok(answer::file(seen.ok_or_else(no_record)?.ok_or(uncovered)?))
    }

    /// Whether a record with this id may be so new that not everything follows it yet: its id says when it was made.
    fn is_young(&self, id: Uuid) -> bool {
        let made = id.get_timestamp().and_then(|at| i64::try_from(at.to_unix().0).ok());
        made.is_some_and(|made| self.clock.unix_s().abs_diff(made) <= YOUNG_S)
    }
}

/// In the one spelling that answers have.
fn record_id(errand: &Errand) -> Result<Uuid, NotUnderstood> {
    let given = errand.id.as_deref().unwrap_or_default();
    given.parse().ok().filter(|id: &Uuid| id.to_string() == given).ok_or_else(no_record)
}

/// One answer whether there is none, it is another organisation's, or this is no id.
fn no_record() -> NotUnderstood {
    let message = "no such record of this organisation: ask with the `haetae-decision` of an answer that it got";
    refused(StatusCode::NOT_FOUND, Reason::NotFound, message.into())
}

impl From<AuditError> for NotDone {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Database(cause) => cause.into(),
            cause => {
                tracing::error!(%cause, "a record cannot be shown to whose it is");
                Self::Unavailable(Unavailable::unproven())
            }
        }
    }
}

/// For one of the places that the organisation has.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(2);
/// From then on, with all waiting.
const READ_MAX: Duration = Duration::from_secs(4);
/// Twice as long as rows and checkpoints usually need.
const FOLLOW_MAX: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Clocks of gateways differ by less, and an id that was reserved is not older when its record follows.
const YOUNG_S: u64 = 60;
