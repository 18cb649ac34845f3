//! What must be right about a book before it is a rulebook: every id once, every name known, every row of its kind.

use alloc::{borrow::ToOwned, collections::BTreeSet, format, string::String, vec::Vec};

use crate::{
    atom::{Area, Atom, PartyTest, Qualifier, Test},
    decision::Flow,
    place,
    question::Window,
    rule::{Book, Kind, Mode, Out, Row, Vocabulary},
    stamp,
    terms::is_eccn,
};

pub(crate) fn check_book(book: &Book, problems: &mut Vec<String>) {
    for id in twice(book.rules.iter().map(|rule| rule.id.as_str())) {
        problems.push(format!("rule `{id}` is given twice"));
    }
    for id in twice(book.regimes.iter().map(|regime| regime.id.as_str())) {
        problems.push(format!("regime `{id}` is given twice"));
    }
    for id in twice(book.vocabulary.grounds.iter().map(|kind| kind.id.as_str())) {
        problems.push(format!("ground type `{id}` is given twice"));
    }
    for id in twice(book.rows.iter().map(|row| (row.rule.as_str(), row.number))) {
        problems.push(format!("row {}/{} is given twice", id.0, id.1));
    }
    for rule in &book.rules {
        if rule.basis.is_empty() || rule.text.en.is_empty() || rule.text.ko.is_empty() {
            problems.push(format!("rule `{}` needs a basis and a text in both languages", rule.id));
        }
    }
    check_figures(book, problems);
    let rule_exists = |id: &String| book.rules.iter().any(|rule| rule.id == *id);
    let named = book.regimes.iter().filter_map(|regime| regime.requires.as_ref());
    for id in named.chain(&book.missing_rule).filter(|id| !rule_exists(id)) {
        problems.push(format!("rule `{id}` is named but has no text: write one in texts.toml"));
    }
    for regime in &book.regimes {
        if regime.mode == Mode::Transfer && regime.territory.is_none() {
            problems.push(format!("transfer regime `{}` needs a territory", regime.id));
        }
        if let Some(area) = &regime.territory
            && !is_area(book, &regime.id, area)
        {
            problems
                .push(format!("regime `{}`: territory `{area}` is no place or group", regime.id));
        }
    }
    for group in &book.groups {
        if place::is_place(&group.id) || ["home", "abroad", "*"].contains(&group.id.as_str()) {
            problems
                .push(format!("group `{}` has the name of a place: write another name", group.id));
        }
        for place in group.places.iter().filter(|place| !place::is_place(place)) {
            problems.push(format!("group `{}`: `{place}` is no ISO 3166 code", group.id));
        }
    }
    for row in &book.rows {
        if let Err(problem) = check_columns(book, row) {
            problems.push(format!("row {}/{}: {problem}", row.rule, row.number));
        }
    }
}

/// Persons who release, and years that begin somewhere.
fn check_figures(book: &Book, problems: &mut Vec<String>) {
    for rule in &book.rules {
        let holds = book.rows.iter().any(|row| row.rule == rule.id && row.out == Out::Hold);
        if rule.persons.is_some() && !holds {
            problems.push(format!("rule `{}` says `persons` and holds nothing", rule.id));
        }
        if rule.persons.is_some_and(|persons| !(1..=PERSONS_MAX).contains(&persons)) {
            problems.push(format!("rule `{}`: `persons` is from 1 to {PERSONS_MAX}", rule.id));
        }
    }
    for threshold in &book.limits.thresholds {
        let (id, zone) = (&threshold.id, threshold.zone.as_deref());
        let by_year = threshold.window == Window::CalendarYear;
        if by_year != zone.is_some() || zone.is_some_and(|zone| stamp::offset(zone).is_none()) {
            problems.push(format!(
                "threshold `{id}`: a `calendar_year`, and nothing else, needs its `zone`, as `+08:00`"
            ));
        }
    }
}

fn check_columns(book: &Book, row: &Row) -> Result<(), String> {
    if !book.rules.iter().any(|rule| rule.id == row.rule) {
        return Err("its rule has no text".to_owned());
    }
    let regime = book.regimes.iter().find(|regime| regime.id == row.regime);
    if row.regime != "*" && regime.is_none() {
        return Err(format!("regime `{}` is not known", row.regime));
    }
    if row.flow != "*" && !Flow::ALL.iter().any(|flow| flow.name() == row.flow) {
        return Err(format!("flow `{}` is not known", row.flow));
    }
    if row.profiles.is_empty() {
        return Err("it is in no profile: write `statutory`, `sovereign` or `*`".to_owned());
    }
    if row.kind == Kind::Permit && regime.is_none_or(|regime| regime.mode == Mode::Floor) {
        return Err(
            "a permit names one transfer regime: write that regime, one row for each".to_owned()
        );
    }
    if matches!((row.kind, row.out), (Kind::Permit, Out::Deny) | (Kind::Restrict, Out::Allow)) {
        return Err("a permit cannot deny and a restriction cannot allow: write `restrict` for what refuses and `permit` for what allows".to_owned());
    }
    if (row.out == Out::Oblige) == row.obligations.is_empty() {
        return Err("obligations belong to `oblige`, and it needs one: write them beside `oblige`, and `-` beside all else".to_owned());
    }
    Ok(())
}

/// The arguments of an atom exist.
pub(crate) fn check_atom(book: &Book, row: &Row, atom: &Atom) -> Result<(), String> {
    let words = &book.vocabulary;
    let known = match &atom.test {
        Test::To(area) | Test::KeysIn(area) => is_known(book, row, area),
        Test::Party(_, test) => check_party(book, row, test),
        Test::Category(category) => knows(&words.categories, category),
        Test::CategoryIn(set) => words.category_sets.contains_key(set),
        Test::PurposeIn(set) => words.purpose_sets.contains_key(set),
        Test::Certificate(scheme) => knows(&words.schemes, scheme),
        Test::Accelerator(eccn) => is_eccn(eccn),
        Test::Volume(id) => book.limits.thresholds.iter().any(|threshold| threshold.id == *id),
        Test::Ground(kind, qualifier) => {
            words.grounds.iter().any(|known| known.id == *kind)
                && check_qualifier(words, qualifier.as_ref())
        }
        _ => true,
    };
    if known {
        Ok(())
    } else {
        Err(format!(
            "`{atom}` names something this book does not have: write what its vocabulary, or its groups for this regime, have"
        ))
    }
}

fn check_qualifier(words: &Vocabulary, qualifier: Option<&Qualifier>) -> bool {
    match qualifier {
        Some(Qualifier::Measure(measure)) => knows(&words.measures, measure),
        Some(Qualifier::NoProblem) | None => true,
    }
}

fn check_party(book: &Book, row: &Row, test: &PartyTest) -> bool {
    match test {
        PartyTest::Sector(sector) => knows(&book.vocabulary.sectors, sector),
        PartyTest::SupervisedBy(authority) => knows(&book.vocabulary.supervisors, authority),
        PartyTest::RegulatedUnder(law) => knows(&book.vocabulary.laws, law),
        PartyTest::Seat(area)
        | PartyTest::Ultimate(area)
        | PartyTest::Covered(area)
        | PartyTest::Exposed(area)
        | PartyTest::Outside(area) => is_known(book, row, area),
        _ => true,
    }
}

fn is_known(book: &Book, row: &Row, area: &Area) -> bool {
    let territory =
        || book.regimes.iter().find(|regime| regime.id == row.regime)?.territory.as_ref();
    match area {
        Area::Home | Area::Abroad => territory().is_some(),
        Area::Named(name) => is_area(book, &row.regime, name),
    }
}

/// A place, or a group that this regime's rows may name.
fn is_area(book: &Book, regime: &str, name: &str) -> bool {
    let mut groups = book.groups.iter().filter(|group| group.id == name);
    place::is_place(name) || groups.any(|group| group.regime == "*" || group.regime == regime)
}

fn twice<T: Ord + Copy>(ids: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    ids.filter(|id| !seen.insert(*id)).collect()
}

/// `term` is in the list, where an entry that ends in `*` stands for every term with that beginning.
pub(crate) fn knows(list: &[String], term: &str) -> bool {
    list.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => term.len() > beginning.len() && term.starts_with(beginning),
        None => known == term,
    })
}

/// More have never to agree, and an organisation could not find them.
const PERSONS_MAX: u8 = 9;
