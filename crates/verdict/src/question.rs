//! The facts of one question, as asked of `haetae decide` and as kept with every record.
//!
//! An absent list is empty, an absent flag is false, an absent counter is 0. Any other absent key is *unknown*, kept as
//! `None`: a rule that needs it refuses and names it. Unknown keys are an error: a misspelt fact must not become a
//! missing one.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Deserializer, Serialize};

use crate::stamp::Stamp;

/// One question: may this workload of this subject run at this site?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
}

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

/// A legal person in the chain: who asks, who operates, who receives.
///
/// `Subject`, `Recipient` and `SubProcessor` repeat these fields instead of flattening this type into themselves:
/// `#[serde(flatten)]` would let the last of two duplicate keys win and would switch off `deny_unknown_fields`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Party {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Legal seat, ISO 3166-1 alpha-2 (or 3166-2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supervised_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regulated_under: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    #[serde(skip_serializing_if = "is_false")]
    pub designated: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub critical_infrastructure: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub significant_fiduciary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpf: Option<Dpf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baa: Option<Baa>,
}

/// Who asks: a party, with what only an asker has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supervised_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regulated_under: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    #[serde(skip_serializing_if = "is_false")]
    pub designated: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub critical_infrastructure: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub significant_fiduciary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpf: Option<Dpf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baa: Option<Baa>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_grade: Option<Grade>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_kind: Option<ActorKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Who gets the result: a party, where it is, and whether it is the subject itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipient {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supervised_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regulated_under: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    #[serde(skip_serializing_if = "is_false")]
    pub designated: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub critical_infrastructure: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub significant_fiduciary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpf: Option<Dpf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baa: Option<Baa>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub same_entity: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// A sub-processor of the site: a party and where it works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubProcessor {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supervised_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regulated_under: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    #[serde(skip_serializing_if = "is_false")]
    pub designated: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub critical_infrastructure: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub significant_fiduciary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpf: Option<Dpf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baa: Option<Baa>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Subject {
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

impl Recipient {
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

impl SubProcessor {
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

/// A company above a party; `share` in percent of the voting capital.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parent {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<u8>,
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

/// Listing under the EU-US Data Privacy Framework; `hr` when the listing covers human-resources data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dpf {
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub active_until: Option<Option<Stamp>>,
    #[serde(skip_serializing_if = "is_false")]
    pub hr: bool,
}

/// A HIPAA business associate agreement in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Baa {
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Option<Stamp>>,
}

/// Why the data is processed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Purpose {
    /// DPV purpose term, e.g. `dpv:ServiceProvision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    #[serde(skip_serializing_if = "is_false")]
    pub recurring: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<String>,
    /// The work serves an order of a court or authority of a third country.
    #[serde(skip_serializing_if = "is_false")]
    pub third_country_order: bool,
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

/// One piece of data in the workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Component {
    /// Catalogue id, `dataset@version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ComponentKind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regimes: Vec<String>,
    /// Every origin it ever had, ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Where it is now; absent means its first origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifiability: Option<Identifiability>,
    #[serde(skip_serializing_if = "is_false")]
    pub encrypted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitive_subjects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection_digest: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub stored: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub state_funded: bool,
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

/// A candidate GPU site: where it is and who controls it are separate facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Site {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// ISO 3166-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<Party>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_plane: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_access: Vec<RemoteAccess>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub telemetry: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sub_processors: Vec<SubProcessor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tee: Option<Tee>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accelerators: Vec<Accelerator>,
    /// Places the data has already passed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
}

/// A place from which staff can log in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteAccess {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<Entity>,
    #[serde(skip_serializing_if = "is_false")]
    pub plaintext: bool,
}

/// A party, or only its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entity {
    Name(String),
    Party(Party),
}

/// A certification of the site, e.g. scheme `CSAP`, grade `high`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Option<Stamp>>,
}

/// The last attestation of confidential computing at the site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tee {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<TeeVerdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Stamp>,
    #[serde(skip_serializing_if = "is_false")]
    pub nonce_ok: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeeVerdict {
    Affirming,
    Warning,
    Contraindicated,
    None,
}

/// Who holds the data keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<KeyHolder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<u8>,
    /// Encrypted while in use.
    #[serde(skip_serializing_if = "is_false")]
    pub in_use: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyHolder {
    Customer,
    Third,
    Provider,
}

/// A kind of accelerator at the site and its export-control class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accelerator {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eccn: Option<String>,
}

/// A call that the workload itself will make: a tool, a callback, a web search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Onward {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<Entity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// A legal ground on file. Scope lists cover nothing when empty and anything with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ground {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    pub scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Stamp>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Option<Stamp>>,
    #[serde(skip_serializing_if = "is_false")]
    pub suspended: bool,
    pub details: Details,
}

/// What a ground covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
}

/// How sure a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Declared,
    Catalogue,
    Verified,
    Attested,
}

/// What a type of ground needs besides its scope; which keys, the vocabulary of the bundle says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disclosure_ref: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub info_provided: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tia: Option<Tia>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub single: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_ref: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub separate_consent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impact_assessment_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statute_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Stamp>,
    #[serde(skip_serializing_if = "is_false")]
    pub single_use: bool,
}

/// A transfer impact assessment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tia {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<TiaOutcome>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Stamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TiaOutcome {
    NoProblem,
    Problematic,
}

/// An order of an authority. An absent key of `match` does not narrow it; `*` means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<OrderKind>,
    pub r#match: OrderMatch,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Stamp>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub until: Option<Option<Stamp>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    Suspend,
    Prohibit,
    Restrict,
    Hold,
}

/// The flows that an order covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderMatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regimes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// A notification made by a state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ListKind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Stamp>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Option<Stamp>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    RestrictedPlaces,
}

/// Subjects already transferred in a window before this question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_days: Option<u16>,
    pub amount_before: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Window {
    #[serde(rename = "rolling_365d")]
    Rolling365d,
    #[serde(rename = "calendar_year")]
    CalendarYear,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Tells an absent key (`None`: unknown) from `null` (`Some(None)`: no end).
fn present<'de, T, D>(reader: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(reader).map(Some)
}
