//! The facts of one question, as asked of `haetae decide` and as kept with every record.
//!
//! An absent list is empty, an absent flag is false, an absent counter is 0. Any other absent key is *unknown*, kept as
//! `None`: a rule that needs it refuses and names it. Unknown keys are an error: a misspelt fact must not become a
//! missing one.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::fmt;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::stamp::Stamp;

/// Facts whose absence says something: every key may be absent, no other may stand there, and what is absent is
/// written as absent again.
macro_rules! facts {
    ($(#[$doc:meta])* pub struct $name:ident {
        $($(#[$about:meta])* pub $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default, remote = "Self")]
        pub struct $name {
            $($(#[$about])* #[serde(skip_serializing_if = "Absent::is_absent")] pub $field: $type,)*
        }

        objects!($name);
    };
}

/// Read from a JSON object and from nothing else. The reader that serde derives would take an array as well, key by
/// key in the order of the fields: `"site": []` would be a site of which nothing is known.
macro_rules! objects {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
                // the one that serde derives: an associated function goes before one of a trait
                Self::serialize(self, writer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                struct Object;
                impl<'de> Visitor<'de> for Object {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<$name, M::Error> {
                        $name::deserialize(MapAccessDeserializer::new(map))
                    }
                }
                reader.deserialize_map(Object)
            }
        }
    };
}

/// A party with further facts. The fields are repeated and not `#[serde(flatten)]`ed: that would let the last of two
/// duplicate keys win and would switch off `deny_unknown_fields`.
macro_rules! parties {
    ($(#[$doc:meta])* pub struct $name:ident { $($more:tt)* }) => {
        facts! {
            $(#[$doc])*
            pub struct $name {
                pub entity: Option<String>,
                pub seat: Option<String>,
                pub parents: Vec<Parent>,
                pub sectors: Vec<String>,
                pub supervised_by: Vec<String>,
                pub regulated_under: Vec<String>,
                pub person: Option<Person>,
                pub designated: bool,
                pub critical_infrastructure: bool,
                pub significant_fiduciary: bool,
                pub dpf: Option<Dpf>,
                pub baa: Option<Baa>,
                $($more)*
            }
        }

        impl $name {
            /// The party in it.
            #[must_use]
            pub fn party(&self) -> Party {
                Party {
                    entity: self.entity.clone(),
                    seat: self.seat.clone(),
                    parents: self.parents.clone(),
                    sectors: self.sectors.clone(),
                    supervised_by: self.supervised_by.clone(),
                    regulated_under: self.regulated_under.clone(),
                    person: self.person,
                    designated: self.designated,
                    critical_infrastructure: self.critical_infrastructure,
                    significant_fiduciary: self.significant_fiduciary,
                    dpf: self.dpf.clone(),
                    baa: self.baa.clone(),
                }
            }
        }
    };
}

mod figure;
mod on_file;

pub use figure::Share;
use figure::{count, maybe_count};
pub use on_file::*;

/// One question: may this workload of this subject run at this site?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Question {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The instant of the decision; a bare date is 00:00 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    #[serde(default)]
    pub subject: Subject,
    #[serde(default)]
    pub purpose: Purpose,
    /// What the site's operator is in law.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(default)]
    pub components: Vec<Component>,
    #[serde(default)]
    pub site: Site,
    /// Who gets the result.
    #[serde(default)]
    pub recipient: Recipient,
    #[serde(default)]
    pub onward: Vec<Onward>,
    #[serde(default)]
    pub grounds: Vec<Ground>,
    #[serde(default)]
    pub orders: Vec<Order>,
    #[serde(default)]
    pub lists: Vec<List>,
    #[serde(default)]
    pub counters: Vec<Counter>,
    /// Not written when empty: a question of before says the same bytes as ever.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<Release>,
}

objects!(Question);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Statutory,
    Sovereign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Entrustment,
    /// The recipient uses the data for its own ends.
    Provision,
    Storage,
}

facts! {
    /// A legal person in the chain: who asks, who operates, who receives.
    /// `Subject`, `Recipient` and `SubProcessor` have the same facts and more.
    pub struct Party {
        pub entity: Option<String>,
        /// Legal seat, ISO 3166-1 alpha-2 (or 3166-2).
        pub seat: Option<String>,
        pub parents: Vec<Parent>,
        pub sectors: Vec<String>,
        pub supervised_by: Vec<String>,
        pub regulated_under: Vec<String>,
        pub person: Option<Person>,
        pub designated: bool,
        pub critical_infrastructure: bool,
        pub significant_fiduciary: bool,
        pub dpf: Option<Dpf>,
        pub baa: Option<Baa>,
    }
}

parties! {
    /// Who asks: a party, with what only an asker has.
    pub struct Subject {
        pub org: Option<String>,
        pub system_grade: Option<Grade>,
        pub actor_kind: Option<ActorKind>,
        pub place: Option<String>,
    }
}

parties! {
    /// Who gets the result: a party, where it is, and whether it is the subject itself.
    pub struct Recipient {
        pub place: Option<String>,
        pub same_entity: bool,
        pub role: Option<Role>,
    }
}

parties! {
    /// A sub-processor of the site: a party and where it works.
    pub struct SubProcessor {
        pub place: Option<String>,
    }
}

facts! {
    /// A company above a party; `share` in percent of the voting capital.
    pub struct Parent {
        pub place: Option<String>,
        pub share: Option<Share>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Person {
    UsPerson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    Low,
    Mid,
    High,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    Human,
    Service,
}

facts! {
    /// Listing under the EU-US Data Privacy Framework; `hr` when the listing covers human-resources data.
    pub struct Dpf {
        #[serde(deserialize_with = "present")]
        pub active_until: Option<Option<Stamp>>,
        pub hr: bool,
    }
}

facts! {
    /// A HIPAA business associate agreement in force.
    pub struct Baa {
        #[serde(deserialize_with = "present")]
        pub valid_until: Option<Option<Stamp>>,
    }
}

facts! {
    /// Why the data is processed.
    pub struct Purpose {
        /// DPV purpose term, e.g. `dpv:ServiceProvision`.
        pub code: Option<String>,
        pub workload: Option<Workload>,
        pub recurring: bool,
        pub legal_basis: Option<String>,
        /// The work serves an order of a court or authority of a third country.
        pub third_country_order: bool,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    Train,
    FineTune,
    Infer,
    Evaluate,
    Etl,
    Store,
}

facts! {
    /// One piece of data in the workload.
    pub struct Component {
        /// Catalogue id, `dataset@version`.
        pub dataset: Option<String>,
        pub kind: Option<ComponentKind>,
        pub regimes: Vec<String>,
        /// Every origin it ever had, ISO 3166-1 alpha-2.
        pub origins: Vec<String>,
        /// Where it is now; absent means its first origin.
        pub from: Option<String>,
        pub categories: Vec<String>,
        pub class: Option<Class>,
        pub identifiability: Option<Identifiability>,
        pub encrypted: bool,
        #[serde(deserialize_with = "maybe_count")]
        pub subjects: Option<u64>,
        #[serde(deserialize_with = "maybe_count")]
        pub sensitive_subjects: Option<u64>,
        #[serde(deserialize_with = "maybe_count")]
        pub records: Option<u64>,
        pub selection_digest: Option<String>,
        pub stored: bool,
        pub layers: Vec<String>,
        pub state_funded: bool,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentKind {
    Training,
    FineTune,
    Prompt,
    Weights,
    Embedding,
    Output,
    Telemetry,
}

/// Ordered: `class>=restricted` means restricted or state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Public,
    Internal,
    Confidential,
    Restricted,
    State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifiability {
    Personal,
    Pseudonymised,
    Anonymised,
    NonPersonal,
    Synthetic,
}

facts! {
    /// A candidate GPU site: where it is and who controls it are separate facts.
    pub struct Site {
        pub id: Option<String>,
        /// ISO 3166-2.
        pub location: Option<String>,
        pub operator: Option<Party>,
        pub control_plane: Vec<String>,
        pub remote_access: Vec<RemoteAccess>,
        pub backups: Vec<String>,
        pub telemetry: Vec<String>,
        pub sub_processors: Vec<SubProcessor>,
        pub certificates: Vec<Certificate>,
        pub tee: Option<Tee>,
        pub keys: Option<Keys>,
        pub accelerators: Vec<Accelerator>,
        /// Places the data has already passed.
        pub via: Vec<String>,
    }
}

facts! {
    /// A place from which staff can log in.
    pub struct RemoteAccess {
        pub place: Option<String>,
        pub entity: Option<Entity>,
        pub plaintext: bool,
    }
}

/// A party, or only its name.
#[expect(clippy::large_enum_variant, reason = "a handful of them in one question")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Entity {
    Name(String),
    Party(Party),
}

impl<'de> Deserialize<'de> for Entity {
    /// By hand: an untagged enum would hide which key of a party is wrong.
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct NameOrParty;
        impl<'de> Visitor<'de> for NameOrParty {
            type Value = Entity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an entity or a party")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Entity, E> {
                Ok(Entity::Name(name.to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Entity, M::Error> {
                Party::deserialize(MapAccessDeserializer::new(map)).map(Entity::Party)
            }
        }
        reader.deserialize_any(NameOrParty)
    }
}

facts! {
    /// A certification of the site, e.g. scheme `CSAP`, grade `high`.
    pub struct Certificate {
        pub scheme: Option<String>,
        pub grade: Option<Grade>,
        #[serde(deserialize_with = "present")]
        pub valid_until: Option<Option<Stamp>>,
    }
}

facts! {
    /// The last attestation of confidential computing at the site.
    pub struct Tee {
        pub verdict: Option<TeeVerdict>,
        pub at: Option<Stamp>,
        pub nonce_ok: bool,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeeVerdict {
    Affirming,
    Warning,
    Contraindicated,
    None,
}

facts! {
    /// Who holds the data keys.
    pub struct Keys {
        pub holder: Option<KeyHolder>,
        pub place: Option<String>,
        pub layers: Option<u8>,
        /// Encrypted while in use.
        pub in_use: bool,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyHolder {
    Customer,
    Third,
    Provider,
}

facts! {
    /// A kind of accelerator at the site and its export-control class.
    pub struct Accelerator {
        pub model: Option<String>,
        pub eccn: Option<String>,
    }
}

facts! {
    /// A call that the workload itself will make: a tool, a callback, a web search.
    pub struct Onward {
        pub place: Option<String>,
        pub entity: Option<Entity>,
        pub what: Option<String>,
    }
}

/// Tells an absent key (`None`: unknown) from `null` (`Some(None)`: no end).
#[expect(clippy::option_option, reason = "absent and `null` say two things")]
fn present<'de, T, D>(reader: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(reader).map(Some)
}

/// Is this what an absent key reads as?
trait Absent {
    fn is_absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for bool {
    fn is_absent(&self) -> bool {
        !*self
    }
}

/// Always written.
macro_rules! never_absent {
    ($($type:ty),*) => { $(impl Absent for $type {
        fn is_absent(&self) -> bool { false }
    })* };
}

never_absent!(u64, Scope, Details, OrderMatch);

/// The component of what a request itself carries, beside the datasets that it declares; it has every label of theirs, and their people.
pub const SENT: &str = "prompt";
