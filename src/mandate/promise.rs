//! The canaries of the bundle in force, as this replica finds them under another: what the commands say when they propose,
//! approve and activate, every replica says again before it judges.
//!
//! *Invariant:* a bundle that was activated judges here only if the canaries of the one that it replaced pass under it in this
//! process, or it retires them by name.

use std::sync::Arc;

use sqlx::PgPool;

use super::keeper::short;
use super::{Enacted, How, MandateError, store};
use crate::policy::{Bundle, BundleError, Folder, Policy, Shelved};

/// What this replica found of bundles that may be activated in place of the one in force.
#[derive(Debug, Default)]
pub(super) struct Promises {
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    bundle: Arc<str>,
    in_force: Arc<str>,
    /// Why the one may not replace the other.
    why: Option<Arc<str>>,
}

impl Promises {
    /// Tries these against the one in force, each once.
    pub async fn look(
        &mut self,
        parts: (&PgPool, &Policy),
        wanted: &[Arc<str>],
        in_force: &Arc<str>,
        now: i64,
    ) -> Result<(), MandateError> {
        self.found.retain(|one| wanted.contains(&one.bundle) && one.in_force == *in_force);
        for bundle in wanted.iter().filter(|bundle| *bundle != in_force) {
            if self.found.iter().any(|one| one.bundle == *bundle) {
                continue;
            }
            // One that is not ready is refused for that.
            let Some(Shelved::Ready(next)) = parts.1.staged(bundle) else { continue };
            let why = match before(parts, in_force, now).await? {
                Some(before) => broken(next, before).await,
                None => None,
            };
            if let Some(why) = &why {
                tracing::warn!(bundle = &**bundle, %why, "a bundle breaks a canary of the one in force: it cannot be activated");
            }
            let (bundle, in_force) = (Arc::clone(bundle), Arc::clone(in_force));
            self.found.push(Found { bundle, in_force, why });
        }
        Ok(())
    }

    /// Bundles that break one, and why.
    pub fn broken(&self) -> Vec<(String, String)> {
        let broken = |one: &Found| Some((one.bundle.to_string(), one.why.as_deref()?.to_owned()));
        self.found.iter().filter_map(broken).collect()
    }
}

/// Why the bundle that this row activated may not judge here; `None` where it may, as far as canaries go. It is staged by then.
pub(super) async fn breaks(
    parts: (&PgPool, &Policy),
    row: &Enacted,
    now: i64,
) -> Result<Option<Arc<str>>, MandateError> {
    // Back, and out of an emergency, one must be able to go whatever was promised since.
    let (How::Activate, Some(previous)) = (row.how, &row.previous) else { return Ok(None) };
    if *previous == row.bundle {
        return Ok(None);
    }
    let Some(Shelved::Ready(next)) = parts.1.staged(&row.bundle) else { return Ok(None) };
    match before(parts, previous, now).await? {
        Some(before) => Ok(broken(next, before).await),
        None => Ok(None),
    }
}

/// The bundle of which canaries are kept. One that cannot be read any more must be replaced: nothing can be asked of it.
async fn before(
    (pool, policy): (&PgPool, &Policy),
    digest: &Arc<str>,
    now: i64,
) -> Result<Option<Arc<Bundle>>, MandateError> {
    if let Some(Shelved::Ready(bundle)) = policy.staged(digest) {
        return Ok(Some(bundle));
    }
    let files = store::files(pool, digest).await?;
    match read(files, now).await {
        Ok(bundle) => Ok(Some(Arc::new(bundle))),
        Err(error) => {
            let why = short(&error);
            tracing::warn!(
                bundle = &**digest,
                why,
                "a bundle that was in force cannot be read: its canaries are not kept"
            );
            Ok(None)
        }
    }
}

/// Without its own cases: whether it passes them is no matter here.
async fn read(files: Vec<u8>, now: i64) -> Result<Bundle, BundleError> {
    let folder = Folder::from_bytes(&files).map_err(|fault| BundleError { faults: vec![fault] })?;
    Bundle::of(&folder, now).await
}

/// On a thread of its own: some milliseconds for each canary.
async fn broken(next: Arc<Bundle>, before: Arc<Bundle>) -> Option<Arc<str>> {
    let judging = tokio::task::spawn_blocking(move || next.keeps(&before).whole().err());
    match judging.await {
        Ok(error) => error.map(|error| short(&error).into()),
        Err(error) => Some(format!("trying the canaries stopped: {error}").into()),
    }
}
