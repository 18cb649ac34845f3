//! The closed vocabulary of predicates that rows may use. `evaluate` says when each is true, false or unknown.
//!
//! | atom | true when |
//! |---|---|
//! | `to:X` | the flow ends in X: a place, a group, `home` or `abroad` (the column `to` is this atom) |
//! | `cat:C`, `cat_in:S` | the component has category C (or a narrower one), or one of the set S |
//! | `class>=C` | the component's class is C or above |
//! | `component.encrypted`, `.stored`, `.state_funded` | the flag is set |
//! | `identifiability:I`, `workload:W`, `role:R` | exactly that; the role is that of the flow |
//! | `origins.unlisted` | identifiable data has an origin whose transfer regime the component does not list, and leaves its territory |
//! | `purpose.recurring`, `purpose.third_country_order` | the flag is set |
//! | `purpose_in:S` | the purpose is one of the set S |
//! | `P.sector:S`, `P.supervised_by:S`, `P.regulated_under:L` | party P (`subject`, `operator`, `recipient` of the flow) says so |
//! | `P.us_person`, `.designated`, `.critical_infrastructure`, `.significant_fiduciary` | the flag is set |
//! | `P.dpf`, `P.dpf_hr`, `P.baa` | an active DPF listing; one that covers HR data; a live business associate agreement |
//! | `P.seat:G` | its legal seat is in G |
//! | `P.ultimate:G` | its seat, or a parent of at least the control share, is in G |
//! | `P.covered:G` | `P.ultimate:G`, or designated |
//! | `P.exposed:G` | its seat, or a parent of at least the exposure share, is in G and foreign to an origin of the data |
//! | `P.outside:G` | its seat, or a parent of at least the exposure share, is not in G |
//! | `certificate:S>=system_grade` | a live certificate of scheme S has at least the grade of the subject's system |
//! | `tee.affirming` | attestation is affirming, fresh, and its nonce was ours |
//! | `keys.in_use`, `keys.in:G`, `keys.in_origin`, `keys.holder:H` | encrypted in use; keys in G; in every origin's jurisdiction; held by H |
//! | `accelerator:E` | the site has an accelerator of ECCN E or a sub-item of it |
//! | `order:K` | an order of kind K is in force and covers the flow |
//! | `listed:K` | a list of kind K of the cell's regime has the flow's place |
//! | `volume:T` | threshold T is exceeded: counted before plus all components under the regime |
//! | `ground:T`, `ground:T/no_problem`, `ground:T/measure.M` | a live ground of type T covers the cell; with that assessment |

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;
use serde::{
    Deserialize,
    de::{IntoDeserializer, value},
};

use crate::question::{Class, Identifiability, KeyHolder, ListKind, OrderKind, Role, Workload};

/// A predicate: its one spelling and what it tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom {
    text: String,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    To(Area),
    Category(String),
    CategoryIn(String),
    ClassAtLeast(Class),
    Encrypted,
    Stored,
    StateFunded,
    Identifiability(Identifiability),
    Workload(Workload),
    Role(Role),
    OriginsUnlisted,
    Recurring,
    ThirdCountryOrder,
    PurposeIn(String),
    Party(Who, PartyTest),
    Certificate(String),
    TeeAffirming,
    KeysInUse,
    KeysIn(Area),
    KeysInOrigin,
    KeysHolder(KeyHolder),
    Accelerator(String),
    Order(OrderKind),
    Listed(ListKind),
    Volume(String),
    Ground(String, Option<Qualifier>),
    /// The rule is in force; added to its rows by the rulebook, never written.
    InForce(String),
}

/// A place, a group, or relative to the regime's territory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Area {
    Home,
    Abroad,
    Named(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Subject,
    Operator,
    Recipient,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartyTest {
    Sector(String),
    SupervisedBy(String),
    RegulatedUnder(String),
    UsPerson,
    Designated,
    CriticalInfrastructure,
    SignificantFiduciary,
    Dpf,
    DpfHr,
    Baa,
    Seat(Area),
    Ultimate(Area),
    Covered(Area),
    Exposed(Area),
    Outside(Area),
}

/// What the assessment kept with a ground must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qualifier {
    NoProblem,
    Measure(String),
}

impl Atom {
    /// Reads an atom in its one spelling.
    ///
    /// # Errors
    /// When it is not of the closed vocabulary. Whether its argument exists is the rulebook's to say.
    pub fn parse(text: &str) -> Result<Self, UnknownAtom> {
        let known = |test| Self { text: text.to_string(), test };
        read(text).map(known).ok_or_else(|| UnknownAtom { text: text.to_string() })
    }

    pub(crate) fn in_force(rule: &str) -> Self {
        Self { text: format!("in_force:{rule}"), test: Test::InForce(rule.to_string()) }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text is not a predicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAtom {
    text: String,
}

impl fmt::Display for UnknownAtom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no predicate", self.text)
    }
}

impl core::error::Error for UnknownAtom {}

fn read(text: &str) -> Option<Test> {
    if let Some(class) = text.strip_prefix("class>=") {
        return word(class).map(Test::ClassAtLeast);
    }
    if let Some(scheme) = text.strip_prefix("certificate:") {
        return scheme.strip_suffix(">=system_grade").and_then(name).map(Test::Certificate);
    }
    let (head, argument) = match text.split_once(':') {
        Some((head, argument)) => (head, Some(argument)),
        None => (text, None),
    };
    if let Some((who, what)) = head.split_once('.')
        && let Some(who) = who_is(who)
    {
        return party(what, argument).map(|test| Test::Party(who, test));
    }
    Some(match (head, argument) {
        ("component.encrypted", None) => Test::Encrypted,
        ("component.stored", None) => Test::Stored,
        ("component.state_funded", None) => Test::StateFunded,
        ("origins.unlisted", None) => Test::OriginsUnlisted,
        ("purpose.recurring", None) => Test::Recurring,
        ("purpose.third_country_order", None) => Test::ThirdCountryOrder,
        ("tee.affirming", None) => Test::TeeAffirming,
        ("keys.in_use", None) => Test::KeysInUse,
        ("keys.in_origin", None) => Test::KeysInOrigin,
        ("to", Some(argument)) => Test::To(area(argument)?),
        ("cat", Some(argument)) => Test::Category(name(argument)?),
        ("cat_in", Some(argument)) => Test::CategoryIn(name(argument)?),
        ("purpose_in", Some(argument)) => Test::PurposeIn(name(argument)?),
        ("identifiability", Some(argument)) => Test::Identifiability(word(argument)?),
        ("workload", Some(argument)) => Test::Workload(word(argument)?),
        ("role", Some(argument)) => Test::Role(word(argument)?),
        ("keys.in", Some(argument)) => Test::KeysIn(area(argument)?),
        ("keys.holder", Some(argument)) => Test::KeysHolder(word(argument)?),
        ("accelerator", Some(argument)) => Test::Accelerator(name(argument)?),
        ("order", Some(argument)) => Test::Order(word(argument)?),
        ("listed", Some(argument)) => Test::Listed(word(argument)?),
        ("volume", Some(argument)) => Test::Volume(name(argument)?),
        ("ground", Some(argument)) => ground(argument)?,
        _ => return None,
    })
}

fn who_is(text: &str) -> Option<Who> {
    match text {
        "subject" => Some(Who::Subject),
        "operator" => Some(Who::Operator),
        "recipient" => Some(Who::Recipient),
        _ => None,
    }
}

fn party(what: &str, argument: Option<&str>) -> Option<PartyTest> {
    Some(match (what, argument) {
        ("us_person", None) => PartyTest::UsPerson,
        ("designated", None) => PartyTest::Designated,
        ("critical_infrastructure", None) => PartyTest::CriticalInfrastructure,
        ("significant_fiduciary", None) => PartyTest::SignificantFiduciary,
        ("dpf", None) => PartyTest::Dpf,
        ("dpf_hr", None) => PartyTest::DpfHr,
        ("baa", None) => PartyTest::Baa,
        ("sector", Some(argument)) => PartyTest::Sector(name(argument)?),
        ("supervised_by", Some(argument)) => PartyTest::SupervisedBy(name(argument)?),
        ("regulated_under", Some(argument)) => PartyTest::RegulatedUnder(name(argument)?),
        ("seat", Some(argument)) => PartyTest::Seat(area(argument)?),
        ("ultimate", Some(argument)) => PartyTest::Ultimate(area(argument)?),
        ("covered", Some(argument)) => PartyTest::Covered(area(argument)?),
        ("exposed", Some(argument)) => PartyTest::Exposed(area(argument)?),
        ("outside", Some(argument)) => PartyTest::Outside(area(argument)?),
        _ => return None,
    })
}

fn ground(argument: &str) -> Option<Test> {
    let (kind, qualifier) = match argument.split_once('/') {
        None => (argument, None),
        Some((kind, "no_problem")) => (kind, Some(Qualifier::NoProblem)),
        Some((kind, rest)) => {
            (kind, Some(Qualifier::Measure(name(rest.strip_prefix("measure.")?)?)))
        }
    };
    Some(Test::Ground(name(kind)?, qualifier))
}

fn area(text: &str) -> Option<Area> {
    match text {
        "home" => Some(Area::Home),
        "abroad" => Some(Area::Abroad),
        _ => name(text).map(Area::Named),
    }
}

/// A term: not empty, no spaces.
fn name(text: &str) -> Option<String> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_string())
}

/// A value of a closed enum, by its name in the question format.
fn word<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let reader: value::StrDeserializer<'a, value::Error> = text.into_deserializer();
    T::deserialize(reader).ok()
}
