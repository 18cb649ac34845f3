//! Steps 5 to 7 where a decision may use something up, or is held: what it would take is locked, then it is judged on what
//! others have taken and on what persons released, and its own share is reserved only if it allows. Everybody else passes by.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;
use verdict::question::Release;

use super::answer::Unavailable;
use super::prepare::{More, Prepared};
use super::{Gate, Known};
use crate::audit::{Held, Keeps, Target};
use crate::caller::Caller;
use crate::hold::{OnFile, Same};
use crate::reserve::{Desk, Once, Reserved, Sought};
use crate::workload::Claims;

/// A decision that may be recorded: what it uses up is reserved.
pub(super) struct Ready {
    pub prepared: Arc<Prepared>,
    pub target: Option<Target>,
    /// Dropped after the record was committed, or without it: then it is released.
    pub reserved: Option<Reserved>,
    /// What others had used up, where that was looked at.
    pub more: Option<Arc<More>>,
    /// What is on file for this request, if a rule holds it.
    pub on_file: OnFile,
}

impl Gate {
    pub(super) async fn ready(&self, known: &Known, claims: &Claims) -> Result<Ready, Unavailable> {
        self.preparer.settle(&self.clock).await;
        let now = self.clock.unix_s();
        let prepared = self.prepared(&known.caller, claims, now).await;
        // Most requests use nothing up and are not held: no word with the database before their record.
        if !prepared.may_use && prepared.held.is_none() {
            let target = self.choose(&prepared, known)?;
            let on_file = OnFile::default();
            return Ok(Ready { prepared, target, reserved: None, more: None, on_file });
        }
        let on_file = Box::pin(self.on_file(known, claims, now)).await?;
        if !prepared.may_use && on_file.releases.is_empty() {
            return Ok(Ready { prepared, target: None, reserved: None, more: None, on_file });
        }
        Box::pin(self.reserved(known, claims, now, on_file)).await
    }

    async fn on_file(
        &self,
        known: &Known,
        claims: &Claims,
        now: i64,
    ) -> Result<OnFile, Unavailable> {
        let (org, actor) = (&*known.caller.org, &*known.caller.actor);
        let same = Same { org, request: &request(known, claims), actor, now };
        Ok(self.holds.on_file(same).await?)
    }

    /// The judgement of a claim. Waits, a little, for the engine of the organisation's access entries if they changed just
    /// now.
    pub(super) async fn prepared(
        &self,
        caller: &Caller,
        claims: &Claims,
        now: i64,
    ) -> Arc<Prepared> {
        let mut prepared = self.preparer.prepare(caller, claims, now);
        for _ in 0..BUILD_AGAIN_MAX {
            if !prepared.unbuilt {
                break;
            }
            self.preparer.build_access(&caller.org, now).await;
            prepared = self.preparer.prepare(caller, claims, now);
        }
        prepared
    }

    /// The judgement of what was not sent: on what others have used up, of which nothing is taken.
    pub(super) async fn look_ahead(
        &self,
        known: &Known,
        claims: &Claims,
    ) -> Result<Arc<Prepared>, Unavailable> {
        let now = self.clock.unix_s();
        let prepared = self.prepared(&known.caller, claims, now).await;
        if !prepared.may_use {
            return Ok(prepared);
        }
        let sought = self.preparer.sought(&known.caller, claims, now);
        let place = self.desk_place(known).await?;
        let desk = self.reserve.open(&sought).await?;
        let more = seen(&desk, &sought, &OnFile::default());
        drop((desk, place));
        Ok(self.preparer.again(&known.caller, claims, now, &more).prepared)
    }

    /// Judged while what it may use up is locked.
    async fn reserved(
        &self,
        known: &Known,
        claims: &Claims,
        now: i64,
        on_file: OnFile,
    ) -> Result<Ready, Unavailable> {
        let mut sought = self.preparer.sought(&known.caller, claims, now);
        let once = on_file.releases.iter().filter_map(|one| one.id.clone());
        sought.once.extend(once.map(Once::Release));
        let _place = self.desk_place(known).await?;
        let desk = self.reserve.open(&sought).await?;
        let more = seen(&desk, &sought, &on_file);
        let again = self.preparer.again(&known.caller, claims, now, &more);
        let target = self.choose(&again.prepared, known)?;
        let uses = target.as_ref().map(|target| again.uses(&target.site)).unwrap_or_default();
        let reserved = if uses.is_nothing() {
            None
        } else {
            Some(desk.take(self.audit.new_id()?, &uses).await?)
        };
        let more = Some(Arc::new(more));
        Ok(Ready { prepared: again.prepared, target, reserved, more, on_file })
    }

    /// One desk, or one that waits for it, for each organisation: there are few, and each may wait for a lock.
    async fn desk_place(&self, known: &Known) -> Result<OwnedSemaphorePermit, Unavailable> {
        self.limits.desk(&known.caller.org).await.ok_or_else(Unavailable::reservations)
    }
}

/// What others have used up, and what they left.
fn seen(desk: &Desk<'_>, sought: &Sought, on_file: &OnFile) -> More {
    let free = |one: &&Release| one.id.clone().is_some_and(|id| desk.is_free(&Once::Release(id)));
    let used_up = sought.once.iter().filter(|once| !desk.is_free(once));
    More {
        counters: desk.counters().to_vec(),
        releases: on_file.releases.iter().filter(free).cloned().collect(),
        grounds_used: used_up
            .filter_map(|once| match once {
                Once::Ground(id) => Some(id.clone()),
                Once::Release(_) => None,
            })
            .collect(),
    }
}

impl Ready {
    /// What the commit of its record does besides.
    pub(super) fn keeps(&self, known: &Known, claims: &Claims) -> Keeps {
        let held = held(&self.prepared, known, claims).filter(|_| self.waits_as().is_none());
        Keeps { reserved: self.reserved.as_ref().map(Reserved::id), held }
    }

    /// The hold of the same question by the same person that waits already, if there is one.
    pub(super) fn waits_as(&self) -> Option<Uuid> {
        let held = self.prepared.held.as_ref()?;
        let same = self
            .on_file
            .waiting
            .iter()
            .find(|waiting| waiting.facts == held.facts && *waiting.bundle == *held.bundle)?;
        Some(same.id)
    }
}

/// What a release of it would be for, if it is held.
pub(super) fn held(prepared: &Prepared, known: &Known, claims: &Claims) -> Option<Arc<Held>> {
    let held = prepared.held.as_ref()?;
    Some(Arc::new(Held { request: request(known, claims), ..Held::clone(held) }))
}

/// SHA-256 over what makes another request the same one: who it is for, what is asked of which service, with which data
/// for which purpose, and the very bytes. Not who sends it, nor when; what is true of all this is in the facts.
pub(super) fn request(known: &Known, claims: &Claims) -> [u8; 32] {
    let onward: Vec<_> = claims.onward.iter().map(|one| (&one.what, &one.host)).collect();
    let same = serde_json::json!({
        "org": known.caller.org, "operation": claims.name, "service": claims.model,
        "datasets": claims.datasets, "purpose": claims.purpose, "no_data": claims.no_data, "site": claims.site,
        "onward": onward, "body": known.body_digest,
    });
    super::sha256(same.to_string().as_bytes())
}

/// Entries change by hand: a third time within one request is somebody at play, and is refused.
const BUILD_AGAIN_MAX: usize = 3;
