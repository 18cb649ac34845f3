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
    /// Bundles that break a canary of the one in force, and why: they cannot be activated in its place.
    pub breaks: Vec<(String, String)>,
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
    if let Some(why) = first(replicas, digest, |one| &one.bad) {
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

/// Why a bundle would break a canary of the one in force, as the first of these finds it.
#[must_use]
pub fn breaks(replicas: &[Replica], digest: &str) -> Option<String> {
    first(replicas, digest, |one| &one.breaks)
}

fn first(
    replicas: &[Replica],
    digest: &str,
    of: impl Fn(&Replica) -> &Vec<(String, String)>,
) -> Option<String> {
    replicas.iter().find_map(|one| {
        let (_, why) = of(one).iter().find(|(found, _)| found == digest)?;
        Some(format!("replica {} ({}): {why}", one.instance, one.build))
    })
}
