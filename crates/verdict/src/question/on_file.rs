//! What is on file beside the question's own facts: grounds, orders, lists, counters and releases.

use alloc::{string::String, vec::Vec};
use core::fmt;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::Absent;
use crate::{rule::Measure, stamp::Stamp};

facts! {
    /// A legal ground on file. Scope lists cover nothing when empty and anything with `*`.
    pub struct Ground {
        pub id: Option<String>,
        pub regime: Option<String>,
        pub r#type: Option<String>,
        pub scope: Scope,
        pub level: Option<Level>,
        pub evidence: Option<String>,
        pub valid_from: Option<Stamp>,
        #[serde(deserialize_with = "super::present")]
        pub valid_until: Option<Option<Stamp>>,
        pub suspended: bool,
        pub details: Details,
    }
}

facts! {
    /// What a ground covers.
    pub struct Scope {
        pub categories: Vec<String>,
        pub roles: Vec<String>,
        pub recipients: Vec<String>,
        pub places: Vec<String>,
    }
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

facts! {
    /// What a type of ground needs besides its scope; which keys, the vocabulary of the bundle says.
    pub struct Details {
        pub disclosure_ref: Option<String>,
        pub info_provided: bool,
        pub tia: Option<Tia>,
        pub approver: Option<String>,
        pub single: bool,
        pub approval_ref: Option<String>,
        pub layers: Vec<String>,
        pub separate_consent: bool,
        pub impact_assessment_ref: Option<String>,
        pub instruction_ref: Option<String>,
        pub licence_ref: Option<String>,
        pub statute_ref: Option<String>,
        pub checked_at: Option<Stamp>,
        pub single_use: bool,
    }
}

facts! {
    /// A transfer impact assessment.
    pub struct Tia {
        pub outcome: Option<TiaOutcome>,
        pub measures: Vec<String>,
        pub at: Option<Stamp>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TiaOutcome {
    NoProblem,
    Problematic,
}

facts! {
    /// An order of an authority. An absent key of `match` does not narrow it; `*` means any.
    pub struct Order {
        pub id: Option<String>,
        pub authority: Option<String>,
        pub kind: Option<OrderKind>,
        pub r#match: OrderMatch,
        pub effective_from: Option<Stamp>,
        #[serde(deserialize_with = "super::present")]
        pub until: Option<Option<Stamp>>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderKind {
    Suspend,
    Prohibit,
    Restrict,
    Hold,
}

facts! {
    /// The flows that an order covers.
    pub struct OrderMatch {
        pub org: Option<String>,
        pub regimes: Vec<String>,
        pub categories: Vec<String>,
        pub to: Vec<String>,
    }
}

facts! {
    /// A notification made by a state.
    pub struct List {
        pub regime: Option<String>,
        pub kind: Option<ListKind>,
        pub places: Vec<String>,
        pub valid_from: Option<Stamp>,
        #[serde(deserialize_with = "super::present")]
        pub valid_until: Option<Option<Stamp>>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    RestrictedPlaces,
}

facts! {
    /// Subjects already transferred in a window before this question.
    pub struct Counter {
        pub regime: Option<String>,
        pub category: Option<String>,
        pub from: Option<String>,
        pub to: Option<String>,
        pub window: Option<Window>,
        pub window_days: Option<u16>,
        #[serde(deserialize_with = "super::count")]
        pub amount_before: u64,
        /// All categories of what was counted, where it had several: counted once for a threshold that has any of them.
        pub categories: Vec<String>,
        /// All places that it went to, where there were several: counted once towards any of them.
        pub places: Vec<String>,
        /// What was counted; absent: it adds up whatever the threshold measures.
        pub measure: Option<Measure>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Window {
    #[serde(rename = "rolling_365d")]
    Rolling365d,
    #[serde(rename = "calendar_year")]
    CalendarYear,
}

facts! {
    /// What persons decided of a question that was held: its hold by these rules is lifted, for these facts under this
    /// bundle and for a time. See `release` for when it counts.
    pub struct Release {
        pub id: Option<String>,
        /// Id of the decision that was held.
        pub hold: Option<String>,
        pub rules: Vec<String>,
        /// [`crate::held_digest`] of the question at the site for which it was given.
        pub facts: Option<String>,
        /// Digest of the rulebook that held it.
        pub bundle: Option<String>,
        pub valid_from: Option<Stamp>,
        pub valid_until: Option<Stamp>,
    }
}
