//! A change of an organisation's own entries: looked at, checked and committed under the registry's lock, with its record.
//!
//! *Invariant:* what was checked is what is changed: nobody else writes the registry between the two.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use sqlx::{PgPool, PgTransaction};

use super::super::entity::Span;
use super::super::store::{self, Applied, Change, Presents};
use super::super::tree::Entry;
use super::super::{RegistryError, Sort};
use super::{OwnAccess, owner};

/// The registry, locked for one change. Dropped, it changes nothing.
pub struct Open {
    transaction: PgTransaction<'static>,
    present: Presents,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    Grant(Box<Entry>),
    /// The same by an entry that was given no id ([`super::drawn_id`]): granting the same twice is granting once.
    GrantOnce(Box<Entry>),
    Revoke {
        sort: Sort,
        id: String,
    },
}

impl Wish {
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Grant(entry) | Self::GrantOnce(entry) => &entry.id,
            Self::Revoke { id, .. } => id,
        }
    }

    fn key(&self) -> (Sort, String) {
        match self {
            Self::Grant(entry) | Self::GrantOnce(entry) => (entry.sort, entry.id.clone()),
            Self::Revoke { sort, id } => (*sort, id.clone()),
        }
    }
}

impl Open {
    /// Waits for whoever is changing the registry now, at most 5 s.
    pub async fn begin(pool: &PgPool) -> Result<Self, RegistryError> {
        let mut transaction = store::begin(pool).await?;
        let present = store::present(&mut transaction).await?;
        Ok(Self { transaction, present })
    }

    /// The organisation's entries before the change and after it.
    ///
    /// # Errors
    /// When the wish names what is not registered.
    pub fn both(&self, wish: &Wish) -> Result<(OwnAccess, OwnAccess), RegistryError> {
        let (org, key) = (owner(wish.id()), wish.key());
        let now = || self.present.iter().map(|(key, entry)| (key, &entry.document));
        let before = OwnAccess::of(org, now());
        let mut after: BTreeMap<&(Sort, String), &Json> = now().collect();
        match wish {
            Wish::Grant(entry) | Wish::GrantOnce(entry) => {
                self.needs(entry)?;
                if !self.is_said(wish) {
                    after.insert(&key, &entry.document);
                }
            }
            Wish::Revoke { .. } => {
                if after.remove(&key).is_none_or(is_revoked) {
                    return Err(RegistryError::NotFound { sort: key.0, id: key.1 });
                }
            }
        }
        let after = OwnAccess::of(org, after.into_iter());
        Ok((before, after))
    }

    /// The organisation's entries that are in force at `at` (unix seconds): what whoever changes them may do.
    #[must_use]
    pub fn in_force(&self, org: &str, at: i64) -> OwnAccess {
        let now = self.present.iter().map(|(key, entry)| (key, &entry.document));
        OwnAccess::of(org, now.filter(|(_, document)| Span::of(document).holds(at)))
    }

    /// Makes the change, and in the same transaction the record that the log will have of it.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn commit(mut self, wish: Wish, who: &str) -> Result<Applied, RegistryError> {
        let key = wish.key();
        let (people, body) = record(&wish, &self.document(&wish), who);
        let said = self.is_said(&wish);
        let change = match wish {
            Wish::Grant(entry) | Wish::GrantOnce(entry) => {
                let mut change = Change::new("grant");
                if !said {
                    change.put_if_new(key, entry.document, &self.present);
                }
                change
            }
            Wish::Revoke { .. } => self.revocation(key),
        };
        if !change.applied.is_nothing() {
            store::tell(&mut self.transaction, "access_change", &people, body).await?;
        }
        store::commit(self.transaction, change, &self.present, who).await
    }

    fn document(&self, wish: &Wish) -> Json {
        match wish {
            Wish::Grant(entry) | Wish::GrantOnce(entry) => entry.document.clone(),
            Wish::Revoke { .. } => {
                self.present.get(&wish.key()).map_or(Json::Null, |entry| entry.document.clone())
            }
        }
    }

    /// Whether an entry says already what one without an id of its own would say.
    fn is_said(&self, wish: &Wish) -> bool {
        let Wish::GrantOnce(entry) = wish else { return false };
        let mut own = self.present.iter().filter(|((sort, _), _)| *sort == entry.sort);
        own.any(|(_, present)| same_words(&present.document, &entry.document))
    }

    /// An entry of a directory stays as a revoked one, so that an older directory does not bring it back unsaid.
    fn revocation(&self, key: (Sort, String)) -> Change {
        let mut change = Change::new("revoke");
        let Some(entry) = self.present.get(&key) else { return change };
        if entry.how == "apply" {
            let mut document = entry.document.clone();
            if let Some(document) = document.as_object_mut() {
                document.insert("revoked".into(), true.into());
            }
            change.put_if_new(key, document, &self.present);
        } else {
            change.applied.removed.push(key);
        }
        change
    }

    fn needs(&self, entry: &Entry) -> Result<(), RegistryError> {
        entry.needs_only(|key| self.present.contains_key(key))?;
        let org = owner(&entry.id);
        let services = self.services(org);
        let named = entry.document.get("services").and_then(Json::as_array).into_iter().flatten();
        let unknown = named
            .filter_map(Json::as_str)
            .find(|name| !name.starts_with("haetae:") && !services.contains(name));
        match unknown {
            Some(name) => {
                let (org, service) = (org.to_owned(), name.to_owned());
                Err(RegistryError::UnknownService { org, service })
            }
            None => Ok(()),
        }
    }

    fn services(&self, org: &str) -> Vec<&str> {
        let entry = self.present.get(&(Sort::Organisation, org.to_owned()));
        let services = entry.and_then(|entry| entry.document.get("services")?.as_array());
        services.into_iter().flatten().filter_map(|service| service.get("name")?.as_str()).collect()
    }
}

/// Under which id stands what a wish asked for.
pub async fn id_of(pool: &PgPool, wish: &Wish, applied: &Applied) -> Result<String, RegistryError> {
    let own = || wish.id().to_owned();
    let entry = match wish {
        Wish::GrantOnce(entry) if applied.is_nothing() => entry,
        _ => return Ok(own()),
    };
    let found = sqlx::query_scalar(SAID).bind(entry.sort.name()).bind(&entry.document);
    // Gone since then: what was asked for stands nowhere, and neither id is anything's.
    Ok(found.fetch_optional(pool).await?.unwrap_or_else(own))
}

/// What the log keeps of a change: who, as digests, and what; whom a role was given to is a digest too.
fn record(wish: &Wish, document: &Json, who: &str) -> (Vec<String>, Json) {
    let (sort, id) = wish.key();
    let act = if matches!(wish, Wish::Revoke { .. }) { "revoke" } else { "grant" };
    let mut body = json!({ "act": act, "entry": id, "org": owner(&id), "sort": sort.name() });
    let mut people = vec![who.to_owned()];
    for key in ["out", "role", "services", "every_service", "operations", "delegable", "member"] {
        if let (Some(value), Some(body)) = (document.get(key), body.as_object_mut()) {
            body.insert(key.to_owned(), value.clone());
        }
    }
    people.extend(document.get("actor").and_then(Json::as_str).map(str::to_owned));
    (people, body)
}

/// Equal but for the id, which both have.
fn same_words(one: &Json, other: &Json) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return false };
    one.len() == other.len()
        && one.iter().all(|(key, value)| key == "id" || other.get(key) == Some(value))
}

fn is_revoked(document: &Json) -> bool {
    document.get("revoked") == Some(&Json::Bool(true))
}

const SAID: &str = "select id from registry_entry
    where version_until is null and sort = $1 and document - 'id' = $2::jsonb - 'id' order by id limit 1";
