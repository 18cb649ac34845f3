//! The rulebook as data: rows of symbols, what they rest on, and the closed vocabulary they speak. A [`Book`] is what
//! was written; [`Rulebook`] is what it means.
//!
//! *Invariant:* a row is a pure conjunction: no order, no arithmetic, no ids, no dates.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use serde::{Deserialize, Serialize};

pub use crate::rulebook::{Rulebook, RulebookError};
use crate::{
    decision::{Outcome, Text},
    question::{Profile, Role, Window},
    stamp::Stamp,
};

/// Everything the judge needs, as data. Its canonical bytes are the record's `bundle` text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    pub name: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_on: Option<Stamp>,
    /// The rule that is named once beside all missing facts of a decision (R01 of the reference).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_rule: Option<String>,
    pub regimes: Vec<Regime>,
    pub groups: Vec<Group>,
    pub rules: Vec<RuleText>,
    pub rows: Vec<Row>,
    pub vocabulary: Vocabulary,
    pub limits: Limits,
}

/// A body of law that a component may be under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regime {
    /// E.g. `KR.PIPA`.
    pub id: String,
    pub mode: Mode,
    /// The group or place that `home` means; `abroad` is everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub territory: Option<String>,
    /// The rule to name when nothing permits a cell of a transfer regime (R04 for `KR.PIPA`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A cell needs a row that permits it; none is DENY.
    Transfer,
    /// Nothing matches is ALLOW.
    Floor,
}

/// Places that are in a group for a time. Several entries with one id add up, so that each member has its own dates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub id: String,
    /// The regime whose rows may name it; `*` for any.
    pub regime: String,
    /// ISO codes; may be empty (nothing notified yet).
    pub places: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    pub mark: Mark,
    /// Where the list comes from, e.g. `(EU) 2022/254`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub citation: String,
}

/// How sure a text is: seen in a source, from memory, or partly. The last two print as "unverified".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mark {
    V,
    M,
    #[serde(rename = "V/M")]
    VM,
}

/// What a rule says and rests on; its rows say when it matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// E.g. `R04`.
    pub id: String,
    pub basis: Vec<Basis>,
    pub text: Text,
    pub citation: String,
    pub mark: Mark,
    /// In force from and until; absent: always. Rows of a rule that is not in force do not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_on: Option<Stamp>,
    /// How many persons must agree to release what it holds; absent: [`RuleText::persons`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persons: Option<u8>,
}

impl RuleText {
    /// How many different persons must agree to release what this rule holds: as it says, else two where it rests on
    /// law and one where it does not.
    #[must_use]
    pub fn persons(&self) -> u8 {
        let usual = if self.basis.contains(&Basis::Law) { 2 } else { 1 };
        self.persons.unwrap_or(usual)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    Law,
    Guidance,
    Contract,
    House,
}

/// One pure conjunction: the columns and every literal of `when` must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub rule: String,
    /// Unique within the rule.
    pub number: u16,
    pub kind: Kind,
    pub out: Out,
    /// A regime or `*`.
    pub regime: String,
    /// A flow (`operator_access`) or `*`.
    pub flow: String,
    /// A place, a group, `home`, `abroad` or `*`.
    pub to: String,
    /// Atoms of [`crate::atom`], each with `!` before it when it must be false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<String>,
    pub profiles: Vec<Profile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The best of the permits of a cell counts.
    Permit,
    /// All restrictions of a cell count; the worst wins.
    Restrict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Out {
    Allow,
    Oblige,
    Hold,
    Deny,
}

impl From<Out> for Outcome {
    fn from(out: Out) -> Self {
        match out {
            Out::Allow => Self::Allow,
            Out::Oblige => Self::AllowWithObligations,
            Out::Hold => Self::Hold,
            Out::Deny => Self::Deny,
        }
    }
}

/// The terms a question may use besides the closed enums of [`crate::question`]. Any other is an error, not a miss.
/// A term that ends in `*` stands for every term with that beginning (`pd:*`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vocabulary {
    pub categories: Vec<String>,
    /// Narrower category -> broader one: who says `cat:` of the broader means the narrower too.
    pub broader: BTreeMap<String, String>,
    /// Named sets of categories for `cat_in:`.
    pub category_sets: BTreeMap<String, Vec<String>>,
    /// Categories that data about nobody may have; any other is about persons. Empty: the book does not say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub impersonal: Vec<String>,
    pub purposes: Vec<String>,
    /// Named sets of purposes for `purpose_in:`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub purpose_sets: BTreeMap<String, Vec<String>>,
    pub sectors: Vec<String>,
    pub supervisors: Vec<String>,
    /// What a party may be `regulated_under`.
    pub laws: Vec<String>,
    /// Schemes of certificates.
    pub schemes: Vec<String>,
    /// Supplementary measures of a transfer impact assessment.
    pub measures: Vec<String>,
    pub grounds: Vec<GroundType>,
    /// What an allow may ask for. Empty: the book does not say what its codes mean.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<Obligation>,
}

/// What an allow may ask for: a code that rows name, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obligation {
    /// E.g. `FSS_REPORT`.
    pub id: String,
    pub text: Text,
    /// The article, notice or decision that it rests on.
    pub source: String,
    pub mark: Mark,
    /// How long it serves, once fulfilled, for the same flow.
    pub every: Every,
    /// Where the source gives a time: so many days after the first decision of its period that asks for it; 0: before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_days: Option<u16>,
    /// What a machine can look up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// For how long something is fulfilled. Months and years are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    Once,
    Year,
    Month,
}

/// How a machine can tell that an obligation is fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The log has its records from the first one on.
    Records,
    /// The provider delivered its log of its own people's access for the whole period, and every entry names a decision that ran then.
    AccessLog,
    /// The ground that carried the decision has this detail on file.
    Ground { r#type: String, detail: Detail },
}

/// A type of legal ground and what it needs to be live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroundType {
    /// E.g. `kr.consent`.
    pub id: String,
    /// The regime it belongs to; may be one that no component is under (`EAR`).
    pub regime: String,
    /// Details without which it is not live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// Details it needs besides in the flows `sub_processor` and `onward`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub onward_details: Vec<Detail>,
    /// Roles it never covers, whatever its scope says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never_roles: Vec<Role>,
    /// It is given to who asks, as a licence is: a scope that names the asker covers whoever receives.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub to_subject: bool,
}

macro_rules! details {
    ($($(#[$doc:meta])* $name:ident $key:literal)*) => {
        /// A key of a ground's `details`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Detail { $($(#[$doc])* #[serde(rename = $key)] $name,)* }

        impl Detail {
            /// The key as written in a question.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }
        }
    };
}

details! {
    DisclosureRef "disclosure_ref"
    InfoProvided "info_provided"
    /// Outcome known and not older than [`Limits::tia_age_s`].
    Tia "tia"
    Approver "approver"
    Single "single"
    ApprovalRef "approval_ref"
    /// Covers every layer of the component.
    Layers "layers"
    SeparateConsent "separate_consent"
    ImpactAssessmentRef "impact_assessment_ref"
    InstructionRef "instruction_ref"
    LicenceRef "licence_ref"
    StatuteRef "statute_ref"
    /// Not older than [`Limits::check_age_s`].
    CheckedAt "checked_at"
    SingleUse "single_use"
}

/// Figures of the law and of the house. Ages in seconds, shares in percent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub tia_age_s: i64,
    pub check_age_s: i64,
    pub attestation_age_s: i64,
    /// From this share on a parent exposes its subsidiary to its own law.
    pub exposure_share: u8,
    /// From this share on a parent is an ultimate parent, or makes a covered person.
    pub control_share: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
}

/// A volume of people over which a rule applies. Entries with one id are alternatives: one of them exceeded is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// E.g. `US.bulk`; named by `volume:US.bulk`.
    pub id: String,
    /// The regime whose counters add up.
    pub regime: String,
    pub window: Window,
    pub measure: Measure,
    /// Categories that count, `*` for any. `sensitive_subjects` of the component count whatever its categories.
    pub categories: Vec<String>,
    /// Exceeded by one more than this.
    pub over: u64,
    /// Only counters towards the flow's own place, or the seat or a parent of who receives, add up; else all of them do.
    #[serde(default)]
    pub by_place: bool,
    /// Where a calendar year begins: the offset from UTC on 1 January where the law is, as `+08:00`. A year begins on one
    /// day, so one offset is enough even where clocks change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Subjects,
    SensitiveSubjects,
}
