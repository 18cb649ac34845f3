//! The closed vocabulary held against a question: an unknown term is an error that names it, never a miss.

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;

use crate::{
    check::knows,
    papers::ANY,
    place,
    question::{Component, Entity, Ground, Party, Question, Site},
    rule::{Book, Vocabulary},
};

/// A question that cannot be judged: not JSON of its shape, or a term that the bundle does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionError {
    /// Where, as a path into the question; empty for the whole.
    pub path: String,
    pub message: String,
}

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "at `{}`: {}", self.path, self.message)
        }
    }
}

impl core::error::Error for QuestionError {}

type Checked = Result<(), QuestionError>;

/// Every term of the question (its site apart) is one of the book's.
pub(crate) fn check_question(book: &Book, question: &Question) -> Checked {
    let words = &book.vocabulary;
    let subject = &question.subject;
    check_party(words, &subject.party(), "subject")?;
    one(subject.place.as_ref(), "subject.place", is_place)?;
    one(question.purpose.code.as_ref(), "purpose.code", |code| {
        known(&words.purposes, code, "purpose")
    })?;
    for (number, component) in question.components.iter().enumerate() {
        check_component(book, component, &format!("components[{number}]"))?;
    }
    check_party(words, &question.recipient.party(), "recipient")?;
    one(question.recipient.place.as_ref(), "recipient.place", is_place)?;
    for (number, onward) in question.onward.iter().enumerate() {
        let path = format!("onward[{number}]");
        one(onward.place.as_ref(), &format!("{path}.place"), is_place)?;
        check_entity(words, onward.entity.as_ref(), &path)?;
    }
    for (number, ground) in question.grounds.iter().enumerate() {
        check_ground(book, ground, &format!("grounds[{number}]"))?;
    }
    check_notices(book, question)
}

/// Every term of the site is one of the book's.
pub(crate) fn check_site(words: &Vocabulary, site: &Site) -> Checked {
    one(site.location.as_ref(), "site.location", is_place)?;
    if let Some(operator) = &site.operator {
        check_party(words, operator, "site.operator")?;
    }
    for (places, key) in [
        (&site.control_plane, "control_plane"),
        (&site.backups, "backups"),
        (&site.telemetry, "telemetry"),
        (&site.via, "via"),
    ] {
        each(places, &format!("site.{key}"), is_place)?;
    }
    for (number, access) in site.remote_access.iter().enumerate() {
        let path = format!("site.remote_access[{number}]");
        one(access.place.as_ref(), &format!("{path}.place"), is_place)?;
        check_entity(words, access.entity.as_ref(), &path)?;
    }
    for (number, sub) in site.sub_processors.iter().enumerate() {
        let path = format!("site.sub_processors[{number}]");
        one(sub.place.as_ref(), &format!("{path}.place"), is_place)?;
        check_party(words, &sub.party(), &path)?;
    }
    for (number, certificate) in site.certificates.iter().enumerate() {
        let path = format!("site.certificates[{number}].scheme");
        one(certificate.scheme.as_ref(), &path, |scheme| known(&words.schemes, scheme, "scheme"))?;
    }
    for (number, accelerator) in site.accelerators.iter().enumerate() {
        let path = format!("site.accelerators[{number}].eccn");
        one(accelerator.eccn.as_ref(), &path, |eccn| {
            if is_eccn(eccn) { Ok(()) } else { Err(not_an_eccn(eccn)) }
        })?;
    }
    let key_place = site.keys.as_ref().and_then(|keys| keys.place.as_ref());
    one(key_place, "site.keys.place", is_place)
}

fn check_component(book: &Book, component: &Component, path: &str) -> Checked {
    each(&component.regimes, &format!("{path}.regimes"), |regime| {
        let known = book.regimes.iter().any(|known| known.id == regime);
        if known { Ok(()) } else { Err(unknown("regime", regime)) }
    })?;
    each(&component.categories, &format!("{path}.categories"), |category| {
        known(&book.vocabulary.categories, category, "category")
    })?;
    each(&component.origins, &format!("{path}.origins"), is_place)?;
    one(component.from.as_ref(), &format!("{path}.from"), is_place)
}

fn check_entity(words: &Vocabulary, entity: Option<&Entity>, path: &str) -> Checked {
    match entity {
        Some(Entity::Party(party)) => check_party(words, party, &format!("{path}.entity")),
        _ => Ok(()),
    }
}

fn check_party(words: &Vocabulary, party: &Party, path: &str) -> Checked {
    one(party.seat.as_ref(), &format!("{path}.seat"), is_place)?;
    for (number, parent) in party.parents.iter().enumerate() {
        one(parent.place.as_ref(), &format!("{path}.parents[{number}].place"), is_place)?;
    }
    for (terms, list, key, what) in [
        (&party.sectors, &words.sectors, "sectors", "sector"),
        (&party.supervised_by, &words.supervisors, "supervised_by", "supervisor"),
        (&party.regulated_under, &words.laws, "regulated_under", "law"),
    ] {
        each(terms, &format!("{path}.{key}"), |term| known(list, term, what))?;
    }
    Ok(())
}

fn check_ground(book: &Book, ground: &Ground, path: &str) -> Checked {
    let words = &book.vocabulary;
    one(ground.regime.as_ref(), &format!("{path}.regime"), |regime| is_regime(book, regime))?;
    one(ground.r#type.as_ref(), &format!("{path}.type"), |kind| {
        let known = words.grounds.iter().any(|known| known.id == kind);
        if known { Ok(()) } else { Err(unknown("ground type", kind)) }
    })?;
    let scope = &ground.scope;
    each(&scope.categories, &format!("{path}.scope.categories"), |category| {
        or_any(category, |category| known(&words.categories, category, "category"))
    })?;
    each(&scope.roles, &format!("{path}.scope.roles"), |role| match role {
        "entrustment" | "provision" | "storage" | ANY => Ok(()),
        _ => Err(unknown("role", role)),
    })?;
    each(&scope.places, &format!("{path}.scope.places"), |place| or_any(place, is_place))?;
    let tia = ground.details.tia.as_ref();
    let measures = tia.map(|tia| tia.measures.as_slice()).unwrap_or_default();
    each(measures, &format!("{path}.details.tia.measures"), |measure| {
        known(&words.measures, measure, "measure")
    })
}

/// Orders, lists and counters.
fn check_notices(book: &Book, question: &Question) -> Checked {
    let category = |term: &str| known(&book.vocabulary.categories, term, "category");
    let regime = |term: &str| is_regime(book, term);
    for (number, order) in question.orders.iter().enumerate() {
        let path = format!("orders[{number}].match");
        let scope = &order.r#match;
        each(&scope.regimes, &format!("{path}.regimes"), |term| or_any(term, regime))?;
        each(&scope.categories, &format!("{path}.categories"), |term| or_any(term, category))?;
        each(&scope.to, &format!("{path}.to"), |term| or_any(term, is_place))?;
    }
    for (number, list) in question.lists.iter().enumerate() {
        one(list.regime.as_ref(), &format!("lists[{number}].regime"), regime)?;
        each(&list.places, &format!("lists[{number}].places"), |term| or_any(term, is_place))?;
    }
    for (number, counter) in question.counters.iter().enumerate() {
        let path = |key: &str| format!("counters[{number}].{key}");
        one(counter.regime.as_ref(), &path("regime"), regime)?;
        one(counter.category.as_ref(), &path("category"), |term| or_any(term, category))?;
        each(&counter.categories, &path("categories"), |term| or_any(term, category))?;
        each(&counter.places, &path("places"), |term| or_any(term, is_place))?;
        one(counter.from.as_ref(), &path("from"), |term| or_any(term, is_place))?;
        one(counter.to.as_ref(), &path("to"), |term| or_any(term, is_place))?;
        if counter.window_days.is_some_and(|days| days != 365) {
            let message = "a window in days is 365; write `window` for another".to_string();
            return Err(QuestionError { path: path("window_days"), message });
        }
    }
    Ok(())
}

fn one(
    term: Option<&String>,
    path: &str,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Checked {
    let checked = term.map_or(Ok(()), |term| check(term));
    checked.map_err(|message| QuestionError { path: path.to_string(), message })
}

fn each(terms: &[String], path: &str, check: impl Fn(&str) -> Result<(), String>) -> Checked {
    for (number, term) in terms.iter().enumerate() {
        check(term)
            .map_err(|message| QuestionError { path: format!("{path}[{number}]"), message })?;
    }
    Ok(())
}

fn known(list: &[String], term: &str, what: &str) -> Result<(), String> {
    if knows(list, term) { Ok(()) } else { Err(unknown(what, term)) }
}

fn or_any(term: &str, check: impl FnOnce(&str) -> Result<(), String>) -> Result<(), String> {
    if term == ANY { Ok(()) } else { check(term) }
}

/// Of a component, or of a type of ground (`EAR`).
fn is_regime(book: &Book, term: &str) -> Result<(), String> {
    let own = book.regimes.iter().any(|regime| regime.id == term);
    let grounds = &book.vocabulary.grounds;
    if own || grounds.iter().any(|kind| kind.regime == term) {
        Ok(())
    } else {
        Err(unknown("regime", term))
    }
}

/// An export control classification number as the Commerce Control List writes it (`3A090`, `3A090.a`, `5A992.c.1`), or
/// `EAR99`. Which numbers there are is not compiled in: the list changes.
#[must_use]
pub fn is_eccn(text: &str) -> bool {
    let mut parts = text.split('.');
    let entry = parts.next().unwrap_or_default();
    let listed = match entry.as_bytes() {
        [category, group, number @ ..] => {
            category.is_ascii_digit()
                && matches!(group, b'A'..=b'E')
                && number.len() == 3
                && number.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    text == "EAR99" || listed && parts.all(is_part)
}

/// What is wrong with a text that is no ECCN.
#[must_use]
pub fn not_an_eccn(text: &str) -> String {
    format!("`{text}` is no ECCN: write one such as `3A090`, `3A090.a` or `EAR99`")
}

fn is_place(term: &str) -> Result<(), String> {
    if place::is_place(term) { Ok(()) } else { Err(place::not_a_place(term)) }
}

fn unknown(what: &str, term: &str) -> String {
    format!("{what} `{term}` is not in the vocabulary of this bundle")
}
