//! The bundles that this process can judge with, by the digest of their files: loaded and tried ahead, so that a swap is a
//! look at another shelf.
//!
//! *Invariant:* what is on the shelf as ready passed its cases in this process, and it comes into force only under a
//! version that somebody vouched for; everything else is [`Unready`], which refuses.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::bundle::Bundle;
use super::fault::BundleError;

/// The bundles of this process. One task changes the shelf (`mandate`), every request reads it.
#[derive(Debug)]
pub struct Policy {
    /// Of the directory that the configuration names, for as long as nothing else is in force.
    own: Option<Arc<Bundle>>,
    shelf: ArcSwap<Shelf>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Clone, Default)]
struct Shelf {
    bundles: BTreeMap<Arc<str>, Shelved>,
    /// Versions that put a bundle in force, and whether that was in order; the newest few.
    vouched: BTreeMap<i64, Result<(), Arc<str>>>,
}

/// A bundle that was tried.
#[derive(Debug, Clone)]
pub enum Shelved {
    Ready(Arc<Bundle>),
    /// It cannot be used: why.
    Bad(Arc<str>),
}

/// There is no judging now: the bundle in force is not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bundle {}: {}", .digest, .why.as_deref().unwrap_or("it is being loaded"))]
pub struct Unready {
    /// Empty when none is named and the configuration names no directory.
    pub digest: Arc<str>,
    /// Why it cannot be used; `None` while it may still come.
    pub why: Option<Arc<str>>,
}

impl Policy {
    /// With this bundle for as long as the database names none.
    #[must_use]
    pub fn new(own: Option<Bundle>) -> Self {
        let own = own.map(Arc::new);
        Self { own, shelf: ArcSwap::default(), changed: watch::Sender::new(0) }
    }

    /// Reads a bundle strictly and runs its cases and canaries.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with file and line.
    pub async fn load(dir: &Path, at_unix_s: i64) -> Result<Self, BundleError> {
        Ok(Self::new(Some(Bundle::load(dir, at_unix_s).await?)))
    }

    /// The bundle to judge with while the database names none.
    ///
    /// # Errors
    /// When the configuration names none either.
    pub fn own(&self) -> Result<Arc<Bundle>, Unready> {
        let why = "no bundle is in force and the configuration names no directory";
        self.own.clone().ok_or_else(|| Unready { digest: "".into(), why: Some(why.into()) })
    }

    /// The bundle to judge with when the facts name this one since this version: take it once for each request and keep it
    /// to the end.
    ///
    /// # Errors
    /// When it is not here, cannot be used, or nobody vouched for its coming into force.
    pub fn named(&self, digest: &Arc<str>, since: i64) -> Result<Arc<Bundle>, Unready> {
        let unready = |why| Unready { digest: Arc::clone(digest), why };
        let now = self.shelf.load();
        match now.vouched.get(&since) {
            Some(Ok(())) => {}
            Some(Err(why)) => return Err(unready(Some(Arc::clone(why)))),
            None => return Err(unready(None)),
        }
        match now.bundles.get(digest) {
            Some(Shelved::Ready(bundle)) => Ok(Arc::clone(bundle)),
            Some(Shelved::Bad(why)) => Err(unready(Some(Arc::clone(why)))),
            None => Err(unready(None)),
        }
    }

    /// A bundle of the shelf, whether it is in force or not.
    #[must_use]
    pub fn staged(&self, digest: &str) -> Option<Shelved> {
        self.shelf.load().bundles.get(digest).cloned()
    }

    /// What is on the shelf.
    #[must_use]
    pub fn all_staged(&self) -> Vec<(Arc<str>, Shelved)> {
        self.shelf.load().bundles.iter().map(|(key, one)| (Arc::clone(key), one.clone())).collect()
    }

    /// Puts a bundle on the shelf, or why it cannot be there.
    pub fn stage(&self, digest: &str, tried: Shelved) {
        self.change(|shelf| drop(shelf.bundles.insert(digest.into(), tried)));
    }

    /// Says whether a version's change of bundle was in order.
    pub fn vouch(&self, since: i64, verdict: Result<(), Arc<str>>) {
        self.change(|shelf| {
            shelf.vouched.insert(since, verdict);
            while shelf.vouched.len() > VOUCHED_MAX {
                shelf.vouched.pop_first();
            }
        });
    }

    /// Whether somebody said so.
    #[must_use]
    pub fn is_vouched(&self, since: i64) -> bool {
        self.shelf.load().vouched.contains_key(&since)
    }

    /// Takes every other bundle off the shelf. A request that judges with one keeps it to its end.
    pub fn keep(&self, digests: &[Arc<str>]) {
        if self.shelf.load().bundles.keys().any(|digest| !digests.contains(digest)) {
            self.change(|shelf| shelf.bundles.retain(|digest, _| digests.contains(digest)));
        }
    }

    /// Told whenever the shelf changes.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        let mut next = Shelf::clone(&self.shelf.load());
        change(&mut next);
        self.shelf.store(Arc::new(next));
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A request under way may still look at the version before; more are never asked for.
const VOUCHED_MAX: usize = 8;
