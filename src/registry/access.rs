//! What organisations granted themselves: typed rows and links, read from the registry's documents and held to their
//! limits.
//!
//! *Invariant:* every entry belongs to one organisation, whose name its id begins with; a name is an ASCII allow-list, so
//! no pattern, separator or prefix of another organisation can be written.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

pub mod store;

use super::{Sort, text};

/// The rows and links of one organisation, as they are at one version and time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnAccess {
    pub org: String,
    /// By id.
    pub rows: BTreeMap<String, AccessRow>,
    /// By id.
    pub grants: BTreeMap<String, RoleGrant>,
    /// The persons and services that some entry names, as [`actor_node`] calls them.
    people: BTreeSet<String>,
    /// An entry that could not be read, in words: nothing of this organisation may be judged with then.
    pub broken: Option<String>,
    digest: [u8; 32],
    told: [u8; 32],
}

/// Lets, or forbids, a role of the organisation some operations on some services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRow {
    /// `organisation/name`.
    pub id: String,
    #[serde(skip_serializing)]
    pub org: String,
    pub out: RowOut,
    pub role: String,
    pub services: Vec<String>,
    /// Every service that runs models, those not registered yet included; never a service of the gateway itself.
    #[serde(default)]
    pub every_service: bool,
    pub operations: Vec<String>,
    /// Who has it may give it to others of the organisation.
    #[serde(default)]
    pub delegable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOut {
    Allow,
    Deny,
}

/// Gives a role to another role or to one person or service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleGrant {
    /// `organisation/name`.
    pub id: String,
    #[serde(skip_serializing)]
    pub org: String,
    /// The role that gets `role`; exactly one of `member` and `actor` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The `sub` of a token or the SPIFFE id of a certificate, as `issuer` gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The token's issuer, or `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    pub role: String,
}

impl RoleGrant {
    /// The member as the access engines know it.
    #[must_use]
    pub fn node(&self) -> String {
        match (&self.member, &self.actor) {
            (Some(role), _) => role_node(role),
            (None, Some(actor)) => actor_node(self.issuer.as_deref().unwrap_or_default(), actor),
            (None, None) => String::new(),
        }
    }
}

/// A role as the access engines know it.
#[must_use]
pub fn role_node(role: &str) -> String {
    format!("role:{role}")
}

/// A person or service as the access engines know it: by digest, so that whatever an issuer calls people is one plain word,
/// and two issuers' words are two.
#[must_use]
pub fn actor_node(issuer: &str, actor: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((issuer.len() as u64).to_be_bytes());
    hash.update(issuer);
    hash.update(actor);
    format!("actor:{}", hex::encode(hash.finalize()))
}

impl OwnAccess {
    #[must_use]
    pub fn new(org: &str) -> Self {
        let digest = Sha256::digest(org).into();
        Self { org: org.to_owned(), digest, told: digest, ..Self::default() }
    }

    /// What these documents say of an organisation; those of others are passed over. Dates are not looked at: what will be
    /// in force counts too.
    #[must_use]
    pub fn of<'a>(
        org: &str,
        documents: impl Iterator<Item = (&'a (Sort, String), &'a Json)>,
    ) -> Self {
        let mut own = Self::new(org);
        for ((sort, id), document) in documents {
            if sort.is_access() && owner(id) == org {
                own.add(*sort, id, document);
            }
        }
        own
    }

    /// SHA-256 over the organisation and every entry: equal digests grant the same to the same.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The same for records, without whom a role was given to and without notes: it has no salt and stays, so whoever reads the log, where
    /// everything else of an entry stands, could try names with it, and that of an erased person too.
    #[must_use]
    pub const fn told(&self) -> &[u8; 32] {
        &self.told
    }

    /// Whether some entry names this person or service: else who asks makes no difference.
    #[must_use]
    pub fn names(&self, node: &str) -> bool {
        self.people.contains(node)
    }

    /// True when some entry names a person or service.
    #[must_use]
    pub fn names_anybody(&self) -> bool {
        !self.people.is_empty()
    }

    /// Member to the roles it was given, as nodes.
    #[must_use]
    pub fn links(&self) -> BTreeSet<(String, String)> {
        self.grants.values().map(|grant| (grant.node(), role_node(&grant.role))).collect()
    }

    /// How many rows the engine gets: one for each service and operation.
    #[must_use]
    pub fn row_count(&self) -> usize {
        let of = |row: &AccessRow| row.operations.len() * row.services.len().max(1);
        self.rows.values().map(of).sum()
    }

    /// What is wrong with all of it together, if something is: too much, or roles that lead to themselves or too far.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if let Some(broken) = &self.broken {
            return Some(broken.clone());
        }
        let rows = self.row_count();
        if rows > ROWS_MAX {
            return Some(format!(
                "{rows} rows (each service with each operation counts), at most {ROWS_MAX} can be judged with"
            ));
        }
        if self.grants.len() > GRANTS_MAX {
            let grants = self.grants.len();
            return Some(format!(
                "{grants} grants of roles, at most {GRANTS_MAX} can be judged with"
            ));
        }
        let links = self.links();
        let links = links.iter().map(|(member, group)| (member.as_str(), group.as_str()));
        long_chain(links).map(|start| chain_fault(&start))
    }

    /// Adds the entry of a document. One that cannot be read, or that says anything a file could not, breaks this
    /// organisation and nobody else.
    pub(super) fn add(&mut self, sort: Sort, id: &str, document: &Json) {
        if document.get("revoked") == Some(&Json::Bool(true)) {
            return;
        }
        let read =
            if sort == Sort::AccessRow { self.row(id, document) } else { self.grant(id, document) };
        if let Err(cause) = read {
            let text = format!("{} `{id}` in the database is not understood: {cause}", sort.name());
            self.broken.get_or_insert(text);
        }
        self.digest = chained(&self.digest, sort, id, document);
        let mut told = document.clone();
        if let Some(said) = told.as_object_mut() {
            said.retain(|key, _| !matches!(&**key, "actor" | "note"));
        }
        self.told = chained(&self.told, sort, id, &told);
    }

    fn row(&mut self, id: &str, document: &Json) -> Result<(), String> {
        let row = AccessRow::deserialize(document).map_err(|_| SHAPELESS)?;
        self.is_mine(id, &row.id, &row.org)?;
        text::role(&row.role)?;
        for service in &row.services {
            text::service_or_own(service)?;
        }
        if row.operations.iter().any(|one| !OPERATIONS.contains(&one.as_str())) {
            return Err("one of `operations` is none".to_owned());
        }
        self.rows.insert(id.to_owned(), row);
        Ok(())
    }

    fn grant(&mut self, id: &str, document: &Json) -> Result<(), String> {
        let grant = RoleGrant::deserialize(document).map_err(|_| SHAPELESS)?;
        self.is_mine(id, &grant.id, &grant.org)?;
        text::role(&grant.role)?;
        match (&grant.member, &grant.actor, &grant.issuer) {
            (Some(member), None, None) => drop(text::role(member)?),
            (None, Some(actor), Some(issuer)) => {
                text::actor(actor)?;
                text::issuer(issuer)?;
                self.people.insert(actor_node(issuer, actor));
            }
            _ => return Err("it needs `member`, or `actor` and `issuer`".to_owned()),
        }
        self.grants.insert(id.to_owned(), grant);
        Ok(())
    }

    fn is_mine(&self, id: &str, own_id: &str, org: &str) -> Result<(), String> {
        if id == own_id && org == self.org { Ok(()) } else { Err("it is another's".to_owned()) }
    }
}

/// The id of an entry that was given none. It stands in the log for good, so it is drawn: a digest of what the entry says would
/// tell whoever guesses whom a role was given to, or what was noted, that the guess is right.
pub fn drawn_id(sort: Sort, org: &str) -> Result<String, getrandom::Error> {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance)?;
    let letter = if sort == Sort::AccessRow { 'r' } else { 'g' };
    Ok(format!("{org}/{letter}-{}", hex::encode(chance)))
}

/// Whose entry this is: what stands before the slash of its id, so that one without a readable document has an owner too.
pub(super) fn owner(id: &str) -> &str {
    id.split_once('/').map_or(id, |(org, _)| org)
}

/// A digest over all of before and one entry more.
fn chained(before: &[u8; 32], sort: Sort, id: &str, document: &Json) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(before);
    for part in [sort.name(), id, &document.to_string()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A member from which more than [`CHAIN_MAX`] links lead upwards; a circle is endless.
#[must_use]
pub fn long_chain<'a>(links: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut up: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (member, group) in links {
        up.entry(member).or_default().push(group);
    }
    let too_long = |start: &&&str| {
        let mut reach = BTreeSet::from([**start]);
        for _ in 0..=CHAIN_MAX {
            reach = reach.iter().filter_map(|name| up.get(name)).flatten().copied().collect();
        }
        !reach.is_empty()
    };
    up.keys().find(too_long).map(|start| (*start).to_owned())
}

/// What is said of a chain that begins at `start`. A person's digest is not named: it has no salt, and this stands in the log.
#[must_use]
pub fn chain_fault(start: &str) -> String {
    let start = match start.strip_prefix("actor:") {
        Some(_) => "a person or service".to_owned(),
        None => format!("`{start}`"),
    };
    format!(
        "the chain of roles from {start} comes back to itself or has more than {CHAIN_MAX} links"
    )
}

/// What serde says of a document repeats words of it, and this is told with every refusal.
const SHAPELESS: &str = "it has not the shape of an entry";
/// What an organisation manages itself: services of the gateway's own, on which `admin` is what can be done.
pub const MANAGEMENT: [&str; 5] =
    ["haetae:holds", "haetae:access", "haetae:policy", "haetae:obligations", "haetae:webhooks"];
/// The issuer of those who come with a certificate alone.
pub const CERTIFICATE: &str = "certificate";
/// What the gateway lets a caller do; `workload` reads one of them from each route.
pub const OPERATIONS: [&str; 6] =
    ["submit", "upload", "read_derived", "cancel", "metadata", "admin"];
/// Rows of one organisation's engine: a judgement that is not in a memo costs 1 to 2 us a row, so 1 to 2 ms.
pub const ROWS_MAX: usize = 1_000;
/// A row stands in the record of its change: 64 names of at most 128 bytes are 8 kB, of 16 kB that an act may have.
pub const SERVICES_MAX: usize = 64;
/// Links are followed at every row that names a role.
pub const GRANTS_MAX: usize = 500;
/// casbin 2.20 silently stops after 10 levels of its graph, the member itself being the first.
pub const CHAIN_MAX: usize = 9;

#[cfg(test)]
mod tests {
    //! What stands in records tells entries apart, and cannot be tried with names.

    use serde_json::json;

    use super::*;

    fn granted(id: &str, role: &str, actor: &str, note: &str) -> OwnAccess {
        let document = json!({
            "id": id, "org": "kr-med", "role": role, "actor": actor, "issuer": "https://login.example.kr", "note": note,
        });
        let key = (Sort::RoleGrant, id.to_owned());
        let own = OwnAccess::of("kr-med", std::iter::once((&key, &document)));
        assert_eq!(own.broken, None);
        own
    }

    #[test]
    fn what_records_have_of_the_entries_is_the_same_for_every_name() {
        let kim = granted("kr-med/g-1", "administrator", "kim", "in place of lee");
        for (actor, note) in [("park", "in place of lee"), ("kim", "since may")] {
            let other = granted("kr-med/g-1", "administrator", actor, note);
            assert_eq!(kim.told(), other.told(), "{actor} {note}");
            assert_ne!(kim.digest(), other.digest(), "the engines are others: {actor} {note}");
        }
        for (id, role) in [("kr-med/g-2", "administrator"), ("kr-med/g-1", "user")] {
            let other = granted(id, role, "kim", "in place of lee");
            assert_ne!(kim.told(), other.told(), "{id} {role}");
        }
        assert_ne!(kim.told(), OwnAccess::new("kr-med").told());
    }
}
