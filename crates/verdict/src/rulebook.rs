//! The rulebook as it is judged with: a [`Book`] checked whole, indexed by (profile, regime, flow), with its digest.
//!
//! *Invariant:* there is no way to a [`Rulebook`] past the checks, and none to change one.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    atom::{Area, Atom, PartyTest, Qualifier, Test},
    cell::{Literal, RowId, Symbol},
    decision::Flow,
    place,
    question::Profile,
    rule::{Book, GroundType, Group, Kind, Mode, Out, Regime, Row, RuleText, Vocabulary},
};

/// A checked book. Made by [`Rulebook::new`], read from and written as the canonical JSON of its [`Book`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Book")]
pub struct Rulebook {
    book: Book,
    digest: String,
    /// By symbol.
    atoms: Vec<Atom>,
    /// By row: the column `to`, being in force, and `when`.
    literals: Vec<Vec<Literal>>,
    /// By regime; within one by profile and flow ([`place_of`]).
    slices: BTreeMap<String, Vec<Slice>>,
}

/// What one cell can touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Slice {
    rows: Vec<RowId>,
    symbols: Vec<Symbol>,
}

impl Rulebook {
    /// Checks everything and indexes it. Rules, groups and rows are put in order first, so that the order in which they
    /// were written changes neither the digest nor a decision.
    ///
    /// # Errors
    /// All problems at once, each naming its row or term.
    pub fn new(mut book: Book) -> Result<Self, RulebookError> {
        book.regimes.sort_by(|a, b| a.id.cmp(&b.id));
        book.groups
            .sort_by(|a, b| (&a.id, &a.regime, &a.places).cmp(&(&b.id, &b.regime, &b.places)));
        book.rules.sort_by(|a, b| a.id.cmp(&b.id));
        book.rows.sort();
        let mut problems = Vec::new();
        check_book(&book, &mut problems);
        let mut rulebook = Self {
            digest: String::new(),
            atoms: Vec::new(),
            literals: Vec::new(),
            slices: BTreeMap::new(),
            book,
        };
        rulebook.index(&mut problems);
        match crate::canonical(&rulebook.book) {
            Ok(bytes) => rulebook.digest = crate::digest(&bytes),
            Err(error) => problems.push(format!("the book cannot be written: {error}")),
        }
        if problems.is_empty() { Ok(rulebook) } else { Err(RulebookError { problems }) }
    }

    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// `sha256:` and hex over the canonical bytes of the book.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Every atom that some row uses; a [`Symbol`] is an index into it.
    #[must_use]
    pub fn atoms(&self) -> &[Atom] {
        &self.atoms
    }

    #[must_use]
    pub fn atom(&self, symbol: Symbol) -> Option<&Atom> {
        self.atoms.get(usize::from(symbol))
    }

    #[must_use]
    pub fn row(&self, id: RowId) -> Option<&Row> {
        self.book.rows.get(usize::from(id))
    }

    /// Everything a row asks for, its column `to` and the dates of its rule included.
    #[must_use]
    pub fn literals(&self, id: RowId) -> &[Literal] {
        self.literals.get(usize::from(id)).map_or(&[], Vec::as_slice)
    }

    /// A literal as rows write it: `!cat:kr:RRN`.
    #[must_use]
    pub fn text(&self, literal: Literal) -> String {
        let atom = self.atom(literal.symbol).map(ToString::to_string).unwrap_or_default();
        if literal.negated { format!("!{atom}") } else { atom }
    }

    /// The rows that can match in a cell; regime `-` has the rows for any regime.
    #[must_use]
    pub fn rows(&self, profile: Profile, regime: &str, flow: Flow) -> &[RowId] {
        self.slice(profile, regime, flow).map_or(&[], |slice| &slice.rows)
    }

    /// The atoms that those rows use, ascending.
    #[must_use]
    pub fn symbols(&self, profile: Profile, regime: &str, flow: Flow) -> &[Symbol] {
        self.slice(profile, regime, flow).map_or(&[], |slice| &slice.symbols)
    }

    #[must_use]
    pub fn regime(&self, id: &str) -> Option<&Regime> {
        self.book.regimes.iter().find(|regime| regime.id == id)
    }

    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&RuleText> {
        self.book.rules.iter().find(|rule| rule.id == id)
    }

    #[must_use]
    pub fn ground_type(&self, id: &str) -> Option<&GroundType> {
        self.book.vocabulary.grounds.iter().find(|kind| kind.id == id)
    }

    pub(crate) fn group<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Group> {
        self.book.groups.iter().filter(move |group| group.id == id)
    }

    fn slice(&self, profile: Profile, regime: &str, flow: Flow) -> Option<&Slice> {
        self.slices.get(regime)?.get(place_of(profile, flow))
    }

    fn index(&mut self, problems: &mut Vec<String>) {
        for number in 0..self.book.rows.len() {
            let Some(row) = self.book.rows.get(number).cloned() else { continue };
            let name = format!("row {}/{}", row.rule, row.number);
            let Ok(id) = RowId::try_from(number) else {
                return problems.push(format!("{name}: more rows than can be numbered"));
            };
            let literals = self.read_literals(&row).unwrap_or_else(|problem| {
                problems.push(format!("{name}: {problem}"));
                Vec::new()
            });
            self.file(&row, id, &literals);
            self.literals.push(literals);
        }
        for slice in self.slices.values_mut().flatten() {
            slice.symbols.sort_unstable();
            slice.symbols.dedup();
        }
    }

    /// Puts a row into every slice that its columns name.
    fn file(&mut self, row: &Row, id: RowId, literals: &[Literal]) {
        let known = self.book.regimes.iter().map(|regime| regime.id.as_str()).chain([NO_REGIME]);
        let flows = FLOWS.into_iter().filter(|flow| row.flow == "*" || row.flow == flow.name());
        let places: BTreeSet<usize> = flows
            .flat_map(|flow| row.profiles.iter().map(move |profile| place_of(*profile, flow)))
            .collect();
        for regime in known.filter(|regime| row.regime == "*" || row.regime == *regime) {
            let slices = self.slices.entry(regime.to_owned()).or_default();
            slices.resize(slices.len().max(2 * FLOWS.len()), Slice::default());
            for (_, slice) in slices.iter_mut().enumerate().filter(|(at, _)| places.contains(at)) {
                slice.rows.push(id);
                slice.symbols.extend(literals.iter().map(|literal| literal.symbol));
            }
        }
    }

    fn read_literals(&mut self, row: &Row) -> Result<Vec<Literal>, String> {
        let mut literals = Vec::new();
        if row.to != "*" {
            literals.push((false, Atom::parse(&format!("to:{}", row.to))));
        }
        for text in &row.when {
            let (negated, atom) =
                text.strip_prefix('!').map_or((false, text.as_str()), |t| (true, t));
            literals.push((negated, Atom::parse(atom)));
        }
        if let Some(rule) = self.rule(&row.rule)
            && (rule.from.is_some() || rule.until.is_some())
        {
            literals.push((false, Ok(Atom::in_force(&rule.id))));
        }
        let mut read = Vec::new();
        for (negated, atom) in literals {
            let atom = atom.map_err(|error| error.to_string())?;
            check_atom(&self.book, row, &atom)?;
            read.push(Literal { symbol: self.symbol(atom)?, negated });
        }
        read.sort_unstable();
        read.dedup();
        Ok(read)
    }

    fn symbol(&mut self, atom: Atom) -> Result<Symbol, String> {
        let found = self.atoms.iter().position(|known| *known == atom);
        let place = found.unwrap_or(self.atoms.len());
        if found.is_none() {
            self.atoms.push(atom);
        }
        Symbol::try_from(place).map_err(|_| "more predicates than can be numbered".to_owned())
    }
}

impl TryFrom<Book> for Rulebook {
    type Error = RulebookError;

    fn try_from(book: Book) -> Result<Self, RulebookError> {
        Self::new(book)
    }
}

impl Serialize for Rulebook {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        self.book.serialize(writer)
    }
}

/// Everything that is wrong with a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulebookError {
    /// One sentence each, naming the row (`row R04/2`), the rule, or the term.
    pub problems: Vec<String>,
}

impl fmt::Display for RulebookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rulebook is not consistent: {}", self.problems.join("; "))
    }
}

impl core::error::Error for RulebookError {}

/// `term` is in the list, where an entry that ends in `*` stands for every term with that beginning.
pub(crate) fn knows(list: &[String], term: &str) -> bool {
    list.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => term.len() > beginning.len() && term.starts_with(beginning),
        None => known == term,
    })
}

fn check_book(book: &Book, problems: &mut Vec<String>) {
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
    let rule_exists = |id: &String| book.rules.iter().any(|rule| rule.id == *id);
    let named = book.regimes.iter().filter_map(|regime| regime.requires.as_ref());
    for id in named.chain(&book.missing_rule).filter(|id| !rule_exists(id)) {
        problems.push(format!("rule `{id}` is named but has no text"));
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
            problems.push(format!("group `{}` has the name of a place", group.id));
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

fn check_columns(book: &Book, row: &Row) -> Result<(), String> {
    if !book.rules.iter().any(|rule| rule.id == row.rule) {
        return Err("its rule has no text".to_owned());
    }
    let regime = book.regimes.iter().find(|regime| regime.id == row.regime);
    if row.regime != "*" && regime.is_none() {
        return Err(format!("regime `{}` is not known", row.regime));
    }
    if row.flow != "*" && !FLOWS.iter().any(|flow| flow.name() == row.flow) {
        return Err(format!("flow `{}` is not known", row.flow));
    }
    if row.profiles.is_empty() {
        return Err("it is in no profile".to_owned());
    }
    if row.kind == Kind::Permit && regime.is_none_or(|regime| regime.mode == Mode::Floor) {
        return Err("a permit names one transfer regime".to_owned());
    }
    if matches!((row.kind, row.out), (Kind::Permit, Out::Deny) | (Kind::Restrict, Out::Allow)) {
        return Err("a permit cannot deny and a restriction cannot allow".to_owned());
    }
    if (row.out == Out::Oblige) == row.obligations.is_empty() {
        return Err("obligations belong to `oblige`, and it needs one".to_owned());
    }
    Ok(())
}

/// The arguments of an atom exist.
fn check_atom(book: &Book, row: &Row, atom: &Atom) -> Result<(), String> {
    let words = &book.vocabulary;
    let known = match &atom.test {
        Test::To(area) | Test::KeysIn(area) => is_known(book, row, area),
        Test::Party(_, test) => check_party(book, row, test),
        Test::Category(category) => knows(&words.categories, category),
        Test::CategoryIn(set) => words.category_sets.contains_key(set),
        Test::Certificate(scheme) => knows(&words.schemes, scheme),
        Test::Volume(id) => book.limits.thresholds.iter().any(|threshold| threshold.id == *id),
        Test::Ground(kind, qualifier) => {
            words.grounds.iter().any(|known| known.id == *kind) && check_qualifier(words, qualifier)
        }
        _ => true,
    };
    if known { Ok(()) } else { Err(format!("`{atom}` names something this book does not have")) }
}

fn check_qualifier(words: &Vocabulary, qualifier: &Option<Qualifier>) -> bool {
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

/// Where a regime keeps the slice of a profile and a flow.
const fn place_of(profile: Profile, flow: Flow) -> usize {
    profile as usize * FLOWS.len() + flow as usize
}

fn twice<T: Ord + Copy>(ids: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    ids.filter(|id| !seen.insert(*id)).collect()
}

/// The regime column of a component without a regime.
pub(crate) const NO_REGIME: &str = "-";

const FLOWS: [Flow; 8] = [
    Flow::Compute,
    Flow::Copy,
    Flow::Telemetry,
    Flow::ControlPlane,
    Flow::OperatorAccess,
    Flow::SubProcessor,
    Flow::Result,
    Flow::Onward,
];
