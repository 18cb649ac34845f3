//! Which bundle judges now; and what is judged with while none can: the rulebook without a rule, which refuses.
//!
//! *Invariant:* what judges is the bundle that the snapshot in hand names, never the one of a moment before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::error::RecvError;
use verdict::Rulebook;
use verdict::reason::Reason;

use crate::audit::Text;
use crate::clock::Clock;
use crate::policy::{Bundle, Policy, Unready};
use crate::registry::{Registry, Snapshot};
use crate::workload::NotUnderstood;

/// The bundles of this process and the facts that name one of them.
pub struct Standing {
    policy: Arc<Policy>,
    pub(super) registry: Arc<Registry>,
    pub(super) none: Rulebook,
    pub(super) none_text: Arc<Text>,
}

/// The bundle that judges on this snapshot at `now` (unix seconds).
///
/// # Errors
/// When it is not here, cannot be used, or was in force for a while only that is over.
pub fn bundle_in_force(
    policy: &Policy,
    snapshot: &Snapshot,
    now: i64,
) -> Result<Arc<Bundle>, Unready> {
    let Some(named) = snapshot.in_force() else { return policy.own() };
    if named.until.is_some_and(|until| until <= now) {
        // Whoever keeps the bundles makes another version of it at once, so this is for the shortest of times.
        return Err(Unready { digest: Arc::clone(&named.digest), why: None });
    }
    policy.named(&named.digest, named.since)
}

/// What a caller is told while there is no bundle to ask about what it may do. Why there is none is for operators
/// (`/readyz`): it may name files and lines.
pub(super) fn no_bundle(unready: &Unready) -> NotUnderstood {
    NotUnderstood {
        status: http::StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        reason: Reason::PolicyUnavailable,
        message: format!("bundle {} cannot be judged with now: try again", unready.digest),
        param: None,
    }
}

impl Standing {
    pub fn new(policy: Arc<Policy>, registry: Arc<Registry>) -> Self {
        let none = Rulebook::none();
        let text = verdict::canonical(none.book()).unwrap_or_default();
        Self { policy, registry, none, none_text: Arc::new(Text::new(text.into())) }
    }

    pub fn bundle(&self, snapshot: &Snapshot, now: i64) -> Result<Arc<Bundle>, Unready> {
        if snapshot.is_without_facts() {
            let digest = snapshot.in_force().map_or_else(Arc::default, |it| Arc::clone(&it.digest));
            return Err(Unready { digest, why: Some(NO_FACTS.into()) });
        }
        bundle_in_force(&self.policy, snapshot, now)
    }

    /// Whether there is no bundle to judge with, but it may come.
    pub fn awaits(&self, now: i64) -> bool {
        let unready = self.bundle(&self.registry.current(), now).err();
        unready.is_some_and(|unready| unready.why.is_none())
    }

    /// Returns when there is a bundle to judge with, or it is known that there is none, or after [`BUNDLE_WAIT_MAX`].
    pub async fn settle(&self, clock: &Clock) {
        if !self.awaits(clock.unix_s()) {
            return;
        }
        let mut facts = self.registry.changed();
        let mut bundles = self.policy.changed();
        let waiting = async {
            while self.awaits(clock.unix_s()) {
                // An end of either means that this process ends.
                tokio::select! {
                    seen = facts.changed() => seen?,
                    seen = bundles.changed() => seen?,
                }
            }
            Ok::<_, RecvError>(())
        };
        // If it does not come, the request is refused with the reason that the policy is not available.
        let _ = tokio::time::timeout(BUNDLE_WAIT_MAX, waiting).await;
    }
}

/// Why no bundle judges. What was altered is for operators (`/readyz`).
pub(super) const NO_FACTS: &str = "the registry's entries are not those that were registered";
/// Longer than a swap takes (a look at the database), shorter than a caller's patience.
const BUNDLE_WAIT_MAX: Duration = Duration::from_millis(1_500);
