//! What a change of an organisation's entries would do, whether whoever makes it may, and why somebody may do something.
//!
//! Read from rows and links alone. Giving and taking are held to one measure: whatever differs for anybody afterwards
//! must be something that the administrator has and was given to pass on. So no grant, link or removed refusal, in
//! whatever order, gives anybody more than the one who made it had.
//!
//! *Invariant:* pure; it decides nothing about a request.

use std::collections::BTreeSet;

use super::grants::{Grants, MODELS, Of, Out, Row, is_management};
use super::{Access, Asker, nodes_of};
use crate::registry::access::{OwnAccess, role_node};

/// Who makes a change.
#[derive(Debug, Clone, Copy)]
pub enum Acting<'a> {
    /// The operator of the registry: bound by the floor and the limits alone.
    Operator,
    /// Somebody of the organisation, with its entries in force now.
    Administrator(Asker<'a>),
}

/// Why a change is not made. Each says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("this would leave entries that cannot be judged with: {0}")]
    Unsound(String),
    #[error(
        "row `{row}` of the bundle refuses `{operation}` on `{service}` whatever an organisation grants: leave it out"
    )]
    Floor { row: String, operation: String, service: String },
    #[error("administering access takes `admin` on `haetae:access`: ask an administrator for it")]
    NotAdministrator,
    #[error(
        "you may not give or take `{operation}` on `{service}`: you need to have it, and to have it to pass on (`delegable`)"
    )]
    Beyond { operation: String, service: String },
    #[error(
        "nobody could administer access by entries of `{org}` after this: if that is what you want, say so (`--force`, `force=true`)"
    )]
    LastAdministrator { org: String },
}

/// Whether somebody may do something, and by which rows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Leave {
    pub allowed: bool,
    /// What allows it; or, when something does, what refuses it.
    pub because: Vec<Because>,
    /// Roles and persons who may give it to others.
    pub may_give: Vec<String>,
}

/// One row that counts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Because {
    pub row: String,
    /// `allow`, `delegate`, `deny`.
    pub out: &'static str,
    /// The role that the row names, or `*`.
    pub role: String,
    /// What of the asker has this role.
    pub through: String,
    /// True for the organisation's own, false for the bundle's.
    pub own: bool,
}

/// A row, and what it says: a row that says what another says already would count when that one is gone.
type Right = (String, &'static str, String, Option<String>);

impl Access {
    /// Whether the entries of an organisation may become `after`. `before` is what they are now.
    pub(crate) fn check_change(
        &self,
        before: &OwnAccess,
        after: &OwnAccess,
        acting: Acting<'_>,
        force: bool,
    ) -> Result<(), ChangeError> {
        if let Some(fault) = after.fault() {
            return Err(ChangeError::Unsound(fault));
        }
        let bundle = self.grants(&after.org, None);
        let (was, is) = (bundle.with(before), bundle.with(after));
        if let Some(fault) = is.fault() {
            return Err(ChangeError::Unsound(fault));
        }
        floor(&bundle, before, &is)?;
        if let Acting::Administrator(asker) = acting {
            let (nodes, now) = (nodes_of(&asker), self.grants(asker.org, asker.own));
            if asker.org != after.org || !has(&now, &nodes, ADMINISTRATION, "admin") {
                return Err(ChangeError::NotAdministrator);
            }
            for (service, operation) in differing(&was, &is) {
                within(&now, &nodes, &service, operation.as_deref())?;
            }
        }
        let last = || own_administrators(&bundle, &is).is_empty();
        if !force && !own_administrators(&bundle, &was).is_empty() && last() {
            return Err(ChangeError::LastAdministrator { org: after.org.clone() });
        }
        Ok(())
    }

    /// Whether this caller may, and by which rows.
    pub(crate) fn explain(&self, asker: &Asker<'_>, service: &str, operation: &str) -> Leave {
        let grants = self.grants(asker.org, asker.own);
        let nodes = some_node(nodes_of(asker));
        let mut because: Vec<Because> = Vec::new();
        for node in &nodes {
            because.extend(grants.matching(node, service, operation).map(|row| told(row, node)));
        }
        let denied = because.iter().any(|told| told.out == Out::Deny.word());
        because.retain(|told| !denied || told.out == Out::Deny.word());
        let passes_on = |node: &&str| {
            let one = [(*node).to_owned()];
            may_pass_on(&grants, &one, service, operation)
        };
        let givers: BTreeSet<&str> = grants.nodes().filter(passes_on).collect();
        Leave {
            allowed: !denied && !because.is_empty(),
            because,
            may_give: givers.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// A row of its own that the bundle refuses anyway would promise what is never given.
fn floor(bundle: &Grants, before: &OwnAccess, is: &Grants) -> Result<(), ChangeError> {
    let new = |row: &&Row| row.own && row.out.allows() && !before.rows.contains_key(&row.id);
    for row in is.rows.iter().filter(new) {
        let (service, operation) = (stand_in(&row.service), row.operation.as_deref());
        let (role, operation) = (row.role.as_deref().unwrap_or("-"), operation.unwrap_or("-"));
        let mut refusing =
            bundle.matching(role, service, operation).filter(|row| row.out == Out::Deny);
        if let Some(refusal) = refusing.next() {
            return Err(ChangeError::Floor {
                row: refusal.id.clone(),
                operation: operation.to_owned(),
                service: row.service.word().to_owned(),
            });
        }
    }
    Ok(())
}

/// Services and operations on which anything differs for anybody: by what rows say now, and by what they would say if
/// others were taken away.
fn differing(was: &Grants, is: &Grants) -> BTreeSet<(String, Option<String>)> {
    let nodes: BTreeSet<&str> = was.nodes().chain(is.nodes()).collect();
    let mut all = BTreeSet::new();
    for node in nodes {
        let (before, after) = (rights(was, node), rights(is, node));
        let differing = before.symmetric_difference(&after);
        all.extend(differing.cloned());
    }
    // a second way to a role gives nothing now, and would when the first is gone
    for (_, role) in was.links().symmetric_difference(is.links()) {
        all.extend(rights(was, role).into_iter().chain(rights(is, role)));
    }
    all.into_iter().map(|(_, _, service, operation)| (service, operation)).collect()
}

/// Everything that rows say of a role or person.
fn rights(grants: &Grants, node: &str) -> BTreeSet<Right> {
    let roles: BTreeSet<&str> = grants.has(node).chain([node]).collect();
    let of_it = |row: &&Row| row.role.as_deref().is_some_and(|role| roles.contains(role));
    let right = |row: &Row| {
        (row.id.clone(), row.out.word(), row.service.word().to_owned(), row.operation.clone())
    };
    grants.rows.iter().filter(of_it).map(right).collect()
}

/// Whether these nodes have it all and may pass it on.
fn within(
    now: &Grants,
    nodes: &[String],
    service: &str,
    operation: Option<&str>,
) -> Result<(), ChangeError> {
    let beyond = |operation: &str, service: &str| ChangeError::Beyond {
        operation: operation.to_owned(),
        service: service.to_owned(),
    };
    let operations: Vec<&str> = match operation {
        Some(one) => vec![one],
        None => super::OPERATIONS.to_vec(),
    };
    // every model: the one that nobody named, and each that somebody did
    let named = now.services().filter(|name| !is_management(name));
    let services: Vec<&str> = match service {
        MODELS => named.chain(["-"]).collect(),
        one => vec![one],
    };
    for (service, operation) in
        services.iter().flat_map(|one| operations.iter().map(move |operation| (*one, *operation)))
    {
        if !may_pass_on(now, nodes, service, operation) {
            return Err(beyond(operation, service));
        }
    }
    Ok(())
}

fn may_pass_on(grants: &Grants, nodes: &[String], service: &str, operation: &str) -> bool {
    let gives = |node: &String| {
        grants.matching(node, service, operation).any(|row| row.out == Out::Delegate)
    };
    has(grants, nodes, service, operation) && nodes.iter().any(gives)
}

fn has(grants: &Grants, nodes: &[String], service: &str, operation: &str) -> bool {
    let mut allowed = false;
    for node in nodes {
        for row in grants.matching(node, service, operation) {
            if row.out == Out::Deny {
                return false;
            }
            allowed = true;
        }
    }
    allowed
}

/// Who administers access by the organisation's own entries.
fn own_administrators<'a>(bundle: &Grants, grants: &'a Grants) -> BTreeSet<&'a str> {
    let may =
        |grants: &Grants, node: &str| has(grants, &[node.to_owned()], ADMINISTRATION, "admin");
    grants.nodes().filter(|node| may(grants, node) && !may(bundle, node)).collect()
}

fn told(row: &Row, node: &str) -> Because {
    Because {
        row: row.id.clone(),
        out: row.out.word(),
        role: row.role.clone().unwrap_or_else(|| "*".to_owned()),
        through: node.to_owned(),
        own: row.own,
    }
}

/// Whoever has no role still meets the rows written for everybody.
fn some_node(nodes: Vec<String>) -> Vec<String> {
    if nodes.is_empty() { vec![role_node("-")] } else { nodes }
}

/// A service of those that the row is about.
fn stand_in(of: &Of) -> &str {
    match of {
        Of::Named(name) => name,
        Of::Management => "haetae:-",
        Of::Models => "-",
    }
}

/// The service whose `admin` lets somebody of an organisation change its entries.
const ADMINISTRATION: &str = "haetae:access";
