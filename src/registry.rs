//! What is true: an [`Ask`] becomes [`Facts`], from one snapshot of the registry.
//!
//! *Invariant:* the caller's words choose which facts are looked up and may add a restriction; they never are a fact.

use std::sync::Arc;

use verdict::{
    facts::Facts,
    question::{ActorKind, Workload},
};

/// What to look up: who asks and what was claimed, in the registry's terms. The gate builds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    pub org: Arc<str>,
    /// Name of the service: the model asked for.
    pub service: Arc<str>,
    pub actor_kind: ActorKind,
    pub place: Option<Arc<str>>,
    pub workload: Workload,
    pub datasets: Vec<Arc<str>>,
    pub purpose: Option<Arc<str>>,
    pub no_data: bool,
    /// The site the caller insists on.
    pub site: Option<Arc<str>>,
    /// `(what, host)` of calls that the workload itself will make.
    pub onward: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// Everything the decision needs, for every candidate site, from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub facts: Facts,
    /// `fact_head` version of the snapshot.
    pub version: i64,
}

// CONTRACT (gate, policy, console and cli call exactly this):
//
// pub struct Config { .. }                       // database comes from the app: a PgPool
// pub struct Registry { .. }                     // holds ArcSwap<Snapshot>
// impl Registry {
//     pub async fn start(pool: PgPool, tracker: &TaskTracker, stop: CancellationToken) -> Result<Self, RegistryError>; // load, then LISTEN + poll
//     pub fn current(&self) -> Arc<Snapshot>;
//     pub fn changed(&self) -> watch::Receiver<i64>;       // fact_head versions as they arrive
//     pub fn health(&self) -> Health;                       // version, age of last successful look
// }
// impl Snapshot {
//     pub fn version(&self) -> i64;
//     pub fn resolve(&self, ask: &Ask) -> Resolved;            // pure
//     pub fn site(&self, id: &str) -> Option<&SiteEntry>;   // endpoint url, ca pem, spiffe id or spki pins, facts
//     pub fn sites(&self) -> impl Iterator<Item = &SiteEntry>;
//     pub fn service(&self, org: &str, service: &str) -> Option<&Service>;
// }
// pub mod tree:  read a directory of TOML/CSV strictly -> Tree (errors carry file, line, what was meant)
// pub mod store: pub async fn apply(pool, &Tree, who: &str) -> Result<Applied, RegistryError>   // one transaction, fact_head + 1, NOTIFY
