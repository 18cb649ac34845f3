//! Places that no rule tells apart: every destination belongs to exactly one of them, with all others as "elsewhere".

use std::collections::{BTreeMap, BTreeSet};

use verdict::Rulebook;
use verdict::atom::{Area, Atom, Test};
use verdict::cell::Truth;
use verdict::decision::Flow;
use verdict::place::is_place;
use verdict::question::Profile;

/// A class of places under one regime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The areas that its places are in (`home, KR`), `elsewhere` when they are in none.
    pub label: String,
    /// The places that some rule or group names; a place stands for its subdivisions. Empty: every place that is not named.
    pub places: Vec<String>,
    /// For each book: what each predicate of the column `to` is there.
    truths: Vec<BTreeMap<String, Truth>>,
}

impl Destination {
    /// What `atom`, a predicate `to:X` of the book of this number, is there.
    pub(crate) fn truth(&self, book: usize, atom: &str) -> Truth {
        let truths = self.truths.get(book);
        truths.and_then(|truths| truths.get(atom)).copied().unwrap_or(Truth::Unknown)
    }
}

/// Every class of places that these books' rules for the regime tell apart at an instant: home first, elsewhere last.
pub(crate) fn destinations(books: &[&Rulebook], regime: &str, at: i64) -> Vec<Destination> {
    let areas: Vec<BTreeMap<String, Area>> =
        books.iter().map(|book| areas_asked(book, regime)).collect();
    let mut classes: BTreeMap<Vec<BTreeMap<String, Truth>>, Vec<String>> = BTreeMap::new();
    for place in named(books, &areas) {
        let truths = books.iter().zip(&areas).map(|(book, areas)| {
            let truth = |area: &Area| book.reaches(regime, area, &place, at);
            areas.iter().map(|(text, area)| (text.clone(), truth(area))).collect()
        });
        classes.entry(truths.collect()).or_default().push(place);
    }
    let mut all: Vec<Destination> = classes
        .into_iter()
        .map(|(truths, mut places)| {
            // the place that stands for all that are not named
            if places.iter().any(|place| place == NOWHERE) {
                places.clear();
            }
            Destination { label: label(&truths), places, truths }
        })
        .collect();
    all.sort_by_key(|it| (it.places.is_empty(), !it.label.starts_with("home"), it.label.clone()));
    all
}

/// The areas that rows for this regime ask about, by predicate.
fn areas_asked(book: &Rulebook, regime: &str) -> BTreeMap<String, Area> {
    let slices = Flow::ALL.into_iter().flat_map(|flow| {
        [Profile::Statutory, Profile::Sovereign].map(|profile| book.symbols(profile, regime, flow))
    });
    let atoms = slices.flatten().filter_map(|symbol| book.atom(*symbol));
    let area = |atom: &Atom| match &atom.test {
        Test::To(area) => Some((atom.to_string(), area.clone())),
        _ => None,
    };
    atoms.filter_map(area).collect()
}

/// Every place that an area can tell from others, and one for the rest.
fn named(books: &[&Rulebook], areas: &[BTreeMap<String, Area>]) -> BTreeSet<String> {
    let mut places: BTreeSet<String> = [NOWHERE.to_owned()].into();
    for (book, areas) in books.iter().zip(areas) {
        let groups = &book.book().groups;
        places.extend(groups.iter().flat_map(|group| group.places.iter().cloned()));
        let named = areas.values().filter_map(|area| match area {
            Area::Named(name) => Some(name.as_str()),
            Area::Home | Area::Abroad => None,
        });
        let homes = book.book().regimes.iter().filter_map(|regime| regime.territory.as_deref());
        let all = named.chain(homes).filter(|name| is_place(name));
        places.extend(all.map(str::to_owned));
    }
    let parts: Vec<String> = places
        .iter()
        .filter_map(|it| it.split_once('-').map(|(country, _)| country.to_owned()))
        .collect();
    for country in parts {
        places.insert(format!("{country}-{OTHER_PART}"));
        places.insert(country);
    }
    places
}

fn label(truths: &[BTreeMap<String, Truth>]) -> String {
    let mut words = BTreeSet::new();
    for (text, truth) in truths.iter().flatten() {
        let area = text.strip_prefix("to:").unwrap_or(text);
        match truth {
            Truth::True if area != "abroad" => words.insert((area != "home", area.to_owned())),
            Truth::Unknown => words.insert((true, format!("{area}?"))),
            _ => false,
        };
    }
    if words.is_empty() {
        return ELSEWHERE.to_owned();
    }
    words.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(", ")
}

/// The label of the places that no area holds.
pub(crate) const ELSEWHERE: &str = "elsewhere";
/// ISO 3166 leaves these codes to their users: no law names them.
const NOWHERE: &str = "ZZ";
const OTHER_PART: &str = "ZZZ";
