//! Documents as the gateway reads them: what the question format knows, and what only the registry does.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value as Json};
use verdict::question::{
    Component, Entity, Ground, Level, List, Order, Profile, Purpose, Role, Site, Subject,
};
use verdict::stamp::Stamp;

/// An organisation, and its services by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Organisation {
    pub id: Arc<str>,
    /// For people.
    pub name: Option<String>,
    /// Who it is in law; `org` and `entity` are set, the actor's keys are not.
    pub subject: Subject,
    /// Which rules it chose to live under; absent leaves it to the policy.
    pub profile: Option<Profile>,
    /// The only sites it may use; absent means any.
    pub sites: Option<Vec<Arc<str>>>,
    pub services: BTreeMap<Arc<str>, Service>,
}

/// What an organisation registered about one model that it asks for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: Arc<str>,
    /// Where it may run; absent means wherever it is served.
    #[serde(default)]
    pub sites: Option<Vec<Arc<str>>>,
    /// What the site's operator is in law for this service.
    #[serde(default)]
    pub role: Option<Role>,
    /// The purposes that a caller may declare; the first is the default.
    #[serde(default)]
    pub purposes: Vec<Purpose>,
    /// Labels of what callers send when they declare nothing.
    #[serde(default)]
    pub data: Option<Component>,
}

/// A site: its facts, and how it is reached and known.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteEntry {
    pub id: Arc<str>,
    /// For people.
    pub name: Option<String>,
    /// `https://host[:port][/path]`, without a slash at the end.
    pub base_url: Arc<str>,
    /// Certificates that vouch for the site, in PEM.
    pub ca_pem: Arc<str>,
    /// Host and port of `base_url`, as the site's guard sees them.
    pub authority: Arc<str>,
    /// What the TLS connection must prove: `spiffe://..` or `spki:sha256/..`.
    pub identity: Arc<str>,
    pub serves: Vec<Arc<str>>,
    /// Places that this site is near to: a hint for choosing among permitted sites, never a fact.
    pub near: Vec<Arc<str>>,
    pub level: Option<Level>,
    pub evidence: Vec<Evidence>,
    /// What the question format knows of it.
    pub facts: Site,
}

/// Why somebody believes the facts of a site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// `contract`, `audit`, `nras`, `tpm`, `rtt`.
    pub kind: String,
    pub at: String,
    #[serde(default)]
    pub expires: Option<String>,
    #[serde(default)]
    pub digest: Option<String>,
    #[serde(default)]
    pub result: Option<String>,
}

/// A dataset of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Organisations that may name it; `*` means every one.
    pub use_by: Vec<Arc<str>>,
    /// Storage addresses under which it lies, canonical.
    pub uris: Vec<Arc<str>>,
    /// Its labels; `dataset` is set, `kind` is not.
    pub component: Component,
}

/// A ground and whose it is; `*` means everybody's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GroundEntry {
    pub org: Arc<str>,
    pub ground: Ground,
}

/// A host outside every site: where it is and whose.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outside {
    pub place: String,
    pub entity: Entity,
}

/// Between which seconds an entry holds: from the first, until before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub from: Option<i64>,
    pub until: Option<i64>,
}

impl Span {
    /// Reads and removes nothing: a date that is none counts as long over.
    pub(super) fn of(document: &Json) -> Self {
        let stamp = |key: &str| document.get(key)?.as_str().map(Stamp::parse);
        Self {
            from: stamp("valid_from").map(|from| from.map_or(i64::MAX, |from| from.starts())),
            until: stamp("valid_until").map(|until| until.map_or(i64::MIN, |until| until.ends())),
        }
    }

    pub(super) fn holds(self, at: i64) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// The next second after `at` at which [`Span::holds`] changes.
    pub(super) fn next_change(self, at: i64) -> Option<i64> {
        [self.from, self.until].into_iter().flatten().filter(|second| *second > at).min()
    }
}

pub(super) fn organisation(document: &Json) -> Result<Organisation, serde_json::Error> {
    #[derive(Deserialize)]
    struct Own {
        id: Arc<str>,
        name: Option<String>,
        profile: Option<Profile>,
        sites: Option<Vec<Arc<str>>>,
        #[serde(default)]
        services: Vec<Service>,
    }
    let own_keys = &["id", "name", "profile", "sites", "services", "evidence"];
    let (own, mut subject): (Own, Subject) = split(document, own_keys, true)?;
    subject.org = Some(own.id.to_string());
    subject.entity.get_or_insert_with(|| own.id.to_string());
    Ok(Organisation {
        id: own.id,
        name: own.name,
        subject,
        profile: own.profile,
        sites: own.sites,
        services: own.services.into_iter().map(|one| (one.name.clone(), one)).collect(),
    })
}

pub(super) fn site(document: &Json) -> Result<SiteEntry, serde_json::Error> {
    #[derive(Deserialize)]
    struct Own {
        id: Arc<str>,
        name: Option<String>,
        base_url: Arc<str>,
        ca: Arc<str>,
        identities: [Arc<str>; 1],
        serves: Vec<Arc<str>>,
        #[serde(default)]
        near: Vec<Arc<str>>,
        level: Option<Level>,
        #[serde(default)]
        evidence: Vec<Evidence>,
    }
    let own_keys = &["name", "base_url", "ca", "identities", "serves", "near", "evidence"];
    let (own, facts): (Own, Site) = split(document, own_keys, true)?;
    let [identity] = own.identities;
    Ok(SiteEntry {
        id: own.id,
        name: own.name,
        authority: authority(&own.base_url).into(),
        base_url: own.base_url,
        ca_pem: own.ca,
        identity,
        serves: own.serves,
        near: own.near,
        level: own.level,
        evidence: own.evidence,
        facts,
    })
}

fn authority(base_url: &str) -> &str {
    let rest = base_url.strip_prefix("https://").unwrap_or(base_url);
    rest.split('/').next().unwrap_or(rest)
}

pub(super) fn dataset(document: &Json) -> Result<Dataset, serde_json::Error> {
    #[derive(Deserialize)]
    struct Own {
        id: String,
        use_by: Vec<Arc<str>>,
        #[serde(default)]
        uris: Vec<Arc<str>>,
    }
    let own_keys = &["id", "name", "use_by", "uris", "evidence"];
    let (own, mut component): (Own, Component) = split(document, own_keys, true)?;
    component.dataset = Some(own.id);
    Ok(Dataset { use_by: own.use_by, uris: own.uris, component })
}

pub(super) fn ground(document: &Json) -> Result<GroundEntry, serde_json::Error> {
    #[derive(Deserialize)]
    struct Own {
        org: Arc<str>,
    }
    let (own, ground): (Own, Ground) = split(document, &["org"], false)?;
    Ok(GroundEntry { org: own.org, ground })
}

pub(super) fn order(document: &Json) -> Result<Order, serde_json::Error> {
    let own_keys = &["legal_basis", "received_at", "entered_by"];
    let (_, order): (Json, Order) = split(document, own_keys, false)?;
    Ok(order)
}

pub(super) fn list(document: &Json) -> Result<List, serde_json::Error> {
    let (_, list): (Json, List) = split(document, &["id"], false)?;
    Ok(list)
}

pub(super) fn outside(document: &Json) -> Result<Outside, serde_json::Error> {
    #[derive(Deserialize)]
    struct Own {
        place: String,
        entity: Entity,
    }
    let own = Own::deserialize(document)?;
    Ok(Outside { place: own.place, entity: own.entity })
}

/// A document is an object of the question format and keys of the registry's own side by side: reads both. With
/// `dated`, the registry's source keys belong to it too.
fn split<O: DeserializeOwned, F: DeserializeOwned>(
    document: &Json,
    own_keys: &[&str],
    dated: bool,
) -> Result<(O, F), serde_json::Error> {
    const SOURCE_KEYS: &[&str] = &["level", "valid_from", "valid_until"];
    let is_own = |key: &str| own_keys.contains(&key) || (dated && SOURCE_KEYS.contains(&key));
    let facts: Map<String, Json> = document
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !is_own(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Ok((O::deserialize(document)?, F::deserialize(Json::Object(facts))?))
}
