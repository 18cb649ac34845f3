//! A record of the caller's own organisation, so that whoever got an answer can check its receipt: the leaf that was hashed, and a proof of
//! it under a newer checkpoint.
//!
//! *Invariant:* whose record it is comes from the caller and the record itself. Another organisation's is answered as one that does not
//! exist, and as late.
//!
//! Not told to the log as a `read`: that is for who sees records of others, or what a digest hides. Here an organisation is given back what
//! it said and was told, and each look would be one more record to look at.

use std::sync::Arc;
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
        // Rows and checkpoints follow a record within a second: who asks right after its answer waits for them here.
        let until = Instant::now() + FOLLOW_MAX;
        let mut seen = self.look(org, id, part).await?;
        let may_follow = |seen: &Option<_>| matches!(seen, None | Some(None));
        while may_follow(&seen) && is_young(id, self.clock.unix_s()) && Instant::now() < until {
            sleep(LOOK_AGAIN).await;
            seen = self.look(org, id, part).await?;
        }
        let uncovered = NotDone::Unavailable(Unavailable::uncovered());
        Ok(answer::file(seen.ok_or_else(no_record)?.ok_or(uncovered)?))
    }

    /// One look. The organisation's place is held while a connection is, and given back before the next look is waited for.
    async fn look(&self, org: &Arc<str>, id: Uuid, part: Part) -> Result<Option<Shown>, NotDone> {
        let Ok(_place) = timeout(PLACE_WAIT_MAX, self.limits.read(org)).await else {
            return Err(NotDone::Unavailable(Unavailable::overloaded()));
        };
        let Ok(proven) = timeout(LOOK_MAX, audit::prove_own(&self.reads, id, org)).await else {
            return Err(NotDone::Unavailable(Unavailable::store()));
        };
        Ok(proven?.map(|proven| proven.part(part)))
    }
}

/// A part of a record with its media type; none while no checkpoint covers it.
type Shown = Option<(&'static str, Vec<u8>)>;

/// Whether a record with this id may be so new that not everything follows it yet: its id says when it was made. One whose lane has times
/// ahead of the clock says a time that is to come.
fn is_young(id: Uuid, now: i64) -> bool {
    let made = id.get_timestamp().and_then(|at| i64::try_from(at.to_unix().0).ok());
    made.is_some_and(|made| made >= now - YOUNG_S)
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

/// For the place that the organisation has.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(2);
/// Longer than one statement of it may take: one that hangs is ended by Postgres, and not left behind with its connection.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Twice as long as rows and checkpoints usually need.
const FOLLOW_MAX: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Clocks of gateways differ by less, and an id that was reserved is not older when its record follows.
const YOUNG_S: i64 = 60;

#[cfg(test)]
mod tests {
    //! Who asks right after its answer waits for what follows a record, whatever the clock said.

    use super::*;

    #[test]
    fn an_id_of_a_lane_that_is_ahead_is_young_and_an_old_one_is_not() {
        let now = 1_795_000_000;
        let made = |seconds: u64| {
            let millis = seconds * 1_000;
            uuid::Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid()
        };
        let is_young = |seconds: u64| is_young(made(seconds), now);
        assert!(is_young(1_795_000_000) && is_young(1_794_999_950));
        assert!(is_young(1_795_003_600), "an hour ahead");
        assert!(!is_young(1_794_999_930));
        assert!(!super::is_young(Uuid::nil(), now), "it says no time");
    }
}
