//! What is true: an [`Ask`] becomes [`Facts`], from one snapshot of the registry.
//!
//! Organisations, sites, datasets, grounds, orders and lists are written as files ([`tree`]), kept in Postgres with all
//! their versions ([`store`]), and read by every replica as a [`Snapshot`] ([`Registry`]).
//!
//! *Invariant:* the caller's words choose which facts are looked up and may add a restriction; they never are a fact.

use std::sync::Arc;

use verdict::{
    facts::Facts,
    question::{ActorKind, Workload},
};

pub mod access;
mod check;
mod cross;
mod endings;
mod entity;
pub mod orders;
mod places;
mod resolve;
mod shape;
mod snapshot;
mod source;
pub mod store;
mod text;
pub mod tree;
mod watch;
mod words;

pub use endings::Ending;
pub use entity::{Dataset, Evidence, Organisation, Service, SiteEntry};
pub use resolve::SENT;
pub use snapshot::{InForce, Snapshot};
pub use watch::{Health, Registry};

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
    /// The unix second from which the facts must be resolved again although the version stands: an entry comes into
    /// force or runs out then. Whoever keeps a `Resolved` by (ask, version) looks at this too.
    pub valid_until: Option<i64>,
}

/// What the registry holds, in the order in which it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sort {
    Organisation,
    Site,
    Dataset,
    Ground,
    Order,
    List,
    /// A host outside every site.
    Outside,
    /// Who gives orders, with the keys that it signs them with.
    Authority,
    /// What an organisation lets a role of its own do.
    AccessRow,
    /// A role that an organisation gives to another role or to somebody.
    RoleGrant,
}

impl Sort {
    pub const ALL: [Self; 10] = [
        Self::Organisation,
        Self::Site,
        Self::Dataset,
        Self::Ground,
        Self::Order,
        Self::List,
        Self::Outside,
        Self::Authority,
        Self::AccessRow,
        Self::RoleGrant,
    ];

    /// As in the database and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Site => "site",
            Self::Dataset => "dataset",
            Self::Ground => "ground",
            Self::Order => "order",
            Self::List => "list",
            Self::Outside => "outside",
            Self::Authority => "authority",
            Self::AccessRow => "access_row",
            Self::RoleGrant => "role_grant",
        }
    }

    /// The sort of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.name() == name)
    }

    /// Its folder in a registry's directory.
    const fn folder(self) -> &'static str {
        match self {
            Self::Organisation => "organisations",
            Self::Site => "sites",
            Self::Dataset => "datasets",
            Self::Ground => "grounds",
            Self::Order => "orders",
            Self::List => "lists",
            Self::Outside => "outside",
            Self::Authority => "authorities",
            Self::AccessRow => "access_rows",
            Self::RoleGrant => "role_grants",
        }
    }

    /// True for what comes in great numbers and has no lists of tables.
    const fn in_csv(self) -> bool {
        matches!(
            self,
            Self::Dataset | Self::Ground | Self::Outside | Self::AccessRow | Self::RoleGrant
        )
    }

    /// True for what an organisation grants itself.
    pub(crate) const fn is_access(self) -> bool {
        matches!(self, Self::AccessRow | Self::RoleGrant)
    }

    const fn id_key(self) -> &'static str {
        match self {
            Self::Outside => "host",
            _ => "id",
        }
    }
}

/// Why the registry could not be read or changed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("the registry's database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the registry's database did not answer within {0} s")]
    Timeout(u64),
    /// Written by a newer version of Haetae, or by hand.
    #[error("{} `{id}` in the database is not understood: {cause}", .sort.name())]
    Document { sort: Sort, id: String, cause: serde_json::Error },
    #[error(
        "`{0}` is no kind of entry: write one of organisation, site, dataset, ground, order, list, outside, authority, access_row, role_grant"
    )]
    UnknownSort(String),
    /// By somebody with rights that no command of ours has. Nothing is judged on them, and nothing is changed on top of them.
    #[error(
        "the entries of the registry are not those that the change of version {version} left: they, or the digest beside it, were altered in the database. Put them back as they were (a backup has them), or bring a directory of which you know that all of it is true: `haetae registry apply DIR`"
    )]
    Altered { version: i64 },
    #[error("{} `{id}` is not registered", .sort.name())]
    NotFound { sort: Sort, id: String },
    #[error("`{service}` is no service of `{org}`: `haetae registry show organisation` lists them")]
    UnknownService { org: String, service: String },
    #[error("the access entries of `{org}` cannot be judged with: {fault}")]
    Access { org: String, fault: String },
    /// A single change (a suspended ground, an order) is not undone by an older directory.
    #[error(
        "{} `{id}` was changed by `{by}` in version {version} and the directory says otherwise: bring the directory up to date first (`haetae registry history {id}`)",
        .sort.name()
    )]
    Overtaken { sort: Sort, id: String, by: String, version: i64 },
}
