//! Everything that is in force at one version and one time: what requests are resolved against.
//!
//! An entry that is not yet or no longer valid is not in it, so it is unknown to every request. The next second at
//! which an entry comes or goes is `valid_until`; after it the snapshot is built again.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;
use verdict::question::{List, Order};

use super::{
    RegistryError, Sort,
    access::{self, OwnAccess},
    entity::{self, Dataset, GroundEntry, Organisation, Outside, Service, SiteEntry, Span},
    tree::Tree,
};

/// The registry at one version. Immutable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    version: i64,
    /// Which change made this version.
    made_by: Option<MadeBy>,
    /// There are entries, and they were altered.
    without_facts: bool,
    valid_until: Option<i64>,
    in_force: Option<InForce>,
    pub(super) organisations: BTreeMap<Arc<str>, Organisation>,
    pub(super) sites: BTreeMap<Arc<str>, SiteEntry>,
    pub(super) datasets: BTreeMap<Arc<str>, Dataset>,
    /// By id.
    pub(super) grounds: BTreeMap<Arc<str>, GroundEntry>,
    pub(super) orders: BTreeMap<Arc<str>, Order>,
    pub(super) lists: BTreeMap<Arc<str>, List>,
    /// By host; a host covers the hosts under it.
    pub(super) outside: BTreeMap<Arc<str>, Outside>,
    /// By organisation: of those that have any.
    access: BTreeMap<String, OwnAccess>,
}

/// The newest change that a database has: after a failover that lost one, another may bear the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBy {
    /// Microseconds since 1970.
    pub at_us: i64,
    /// SHA-256 over the entries after it.
    pub digest: Vec<u8>,
}

/// The bundle of policy that is in force at a version, as the database names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// `sha256:` and hex over its files.
    pub digest: Arc<str>,
    /// The version that put it in force.
    pub since: i64,
    /// The unix second from which nothing may be decided on it: it was put in force for a while only.
    pub until: Option<i64>,
}

impl Snapshot {
    /// Builds the snapshot of `version` as it is at `at` (unix seconds) from every present document.
    pub fn build<'a>(
        version: i64,
        at: i64,
        documents: impl IntoIterator<Item = (Sort, &'a str, &'a Json)>,
    ) -> Result<Self, RegistryError> {
        let mut snapshot = Self { version, ..Self::default() };
        for (sort, id, document) in documents {
            snapshot.add(sort, id, document, at).map_err(|cause| RegistryError::Document {
                sort,
                id: id.to_owned(),
                cause,
            })?;
        }
        Ok(snapshot)
    }

    /// No entry at all, because none is what it was: nothing may be judged on this but a refusal.
    pub(super) fn without_facts(version: i64) -> Self {
        Self { version, without_facts: true, ..Self::default() }
    }

    /// The snapshot of a tree that is in no database: for `decide`, for tests.
    pub fn of(tree: &Tree, version: i64, at: i64) -> Result<Self, RegistryError> {
        Self::build(version, at, tree.documents())
    }

    /// The same with the bundle that the database names at this version.
    #[must_use]
    pub fn with_bundle(mut self, in_force: Option<InForce>, at: i64) -> Self {
        let ends = in_force.as_ref().and_then(|one| one.until).filter(|until| *until > at);
        self.valid_until = [self.valid_until, ends].into_iter().flatten().min();
        self.in_force = in_force;
        self
    }

    pub(super) fn with_made_by(mut self, made_by: Option<MadeBy>) -> Self {
        self.made_by = made_by;
        self
    }

    pub(super) const fn made_by(&self) -> Option<&MadeBy> {
        self.made_by.as_ref()
    }

    /// Whether the registry's entries were altered in the database, and so are not in here.
    #[must_use]
    pub const fn is_without_facts(&self) -> bool {
        self.without_facts
    }

    /// The bundle in force; `None`: that of the configuration's directory.
    #[must_use]
    pub const fn in_force(&self) -> Option<&InForce> {
        self.in_force.as_ref()
    }

    /// `fact_head`'s version.
    #[must_use]
    pub const fn version(&self) -> i64 {
        self.version
    }

    /// The unix second from which this snapshot must not be used any more: an entry comes into force or runs out.
    #[must_use]
    pub const fn valid_until(&self) -> Option<i64> {
        self.valid_until
    }

    #[must_use]
    pub fn site(&self, id: &str) -> Option<&SiteEntry> {
        self.sites.get(id)
    }

    /// By id.
    pub fn sites(&self) -> impl Iterator<Item = &SiteEntry> {
        self.sites.values()
    }

    #[must_use]
    pub fn organisation(&self, id: &str) -> Option<&Organisation> {
        self.organisations.get(id)
    }

    /// By id.
    pub fn organisations(&self) -> impl Iterator<Item = &Organisation> {
        self.organisations.values()
    }

    #[must_use]
    pub fn service(&self, org: &str, service: &str) -> Option<&Service> {
        self.organisations.get(org)?.services.get(service)
    }

    /// Names of the organisation's services, in order.
    pub fn services(&self, org: &str) -> impl Iterator<Item = Arc<str>> {
        self.organisations.get(org).into_iter().flat_map(|one| one.services.keys().cloned())
    }

    /// What this organisation granted itself, if it did.
    #[must_use]
    pub fn own_access(&self, org: &str) -> Option<&OwnAccess> {
        self.access.get(org)
    }

    /// The organisations that granted themselves anything, by id.
    pub fn all_access(&self) -> impl Iterator<Item = &OwnAccess> {
        self.access.values()
    }

    fn add(
        &mut self,
        sort: Sort,
        id: &str,
        document: &Json,
        at: i64,
    ) -> Result<(), serde_json::Error> {
        let key: Arc<str> = id.into();
        // Grounds, orders and lists carry their dates into the facts: the decision judges those, and can then say that
        // a ground ran out instead of that there is none.
        match sort {
            Sort::Ground => drop(self.grounds.insert(key, entity::ground(document)?)),
            Sort::Order => drop(self.orders.insert(key, entity::order(document)?)),
            Sort::List => drop(self.lists.insert(key, entity::list(document)?)),
            // Their signatures are checked when an order is entered: no decision asks for them.
            Sort::Authority => {}
            _ => {
                let span = Span::of(document);
                self.valid_until =
                    [self.valid_until, span.next_change(at)].into_iter().flatten().min();
                if span.holds(at) {
                    self.add_dated(sort, key, document)?;
                }
            }
        }
        Ok(())
    }

    fn add_dated(
        &mut self,
        sort: Sort,
        key: Arc<str>,
        document: &Json,
    ) -> Result<(), serde_json::Error> {
        match sort {
            Sort::Organisation => {
                self.organisations.insert(key, entity::organisation(document)?);
            }
            Sort::Site => drop(self.sites.insert(key, entity::site(document)?)),
            Sort::AccessRow | Sort::RoleGrant => {
                let org = access::owner(&key);
                let own = self.access.entry(org.to_owned()).or_insert_with(|| OwnAccess::new(org));
                own.add(sort, &key, document);
            }
            Sort::Dataset => drop(self.datasets.insert(key, entity::dataset(document)?)),
            _ => drop(self.outside.insert(key, entity::outside(document)?)),
        }
        Ok(())
    }
}
