//! What each replica says of itself, so that whoever activates a bundle knows that all can judge with it.

pub mod store;

use std::sync::Arc;

use uuid::Uuid;

/// A replica as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub instance: Uuid,
    pub build: String,
    /// What it judges with, and since which version.
    pub bundle: Option<Arc<str>>,
    pub since: Option<i64>,
    /// Bundles that it has loaded and tried.
    pub staged: Vec<String>,
    /// Bundles that it cannot load, and why.
    pub bad: Vec<(String, String)>,
}

/// What the replicas say of one bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// All that are alive can judge with it: how many.
    Ready(usize),
    /// So many of so many have it.
    Loading(usize, usize),
    /// One cannot, and why.
    Bad(String),
}

/// Whether all of these could judge with a bundle.
#[must_use]
pub fn readiness(replicas: &[Replica], digest: &str) -> Readiness {
    let bad = replicas.iter().find_map(|one| {
        let (_, why) = one.bad.iter().find(|(bad, _)| bad == digest)?;
        Some(format!("replica {} ({}): {why}", one.instance, one.build))
    });
    if let Some(why) = bad {
        return Readiness::Bad(why);
    }
    let have =
        replicas.iter().filter(|one| one.staged.iter().any(|staged| staged == digest)).count();
    if have == replicas.len() {
        Readiness::Ready(have)
    } else {
        Readiness::Loading(have, replicas.len())
    }
}
