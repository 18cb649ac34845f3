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
    atom::Atom,
    cell::{CellKey, Literal, RowId, Symbol},
    check::{check_atom, check_book},
    decision::Flow,
    question::Profile,
    rule::{Book, GroundType, Group, Regime, Row, RuleText},
    stamp::Stamp,
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
    /// The rows by the predicate without which they cannot match: of those a row asks for, the one that the fewest rows
    /// here ask for. A place that few rows name is one, so a cell looks at the rows for its own destination.
    by_need: BTreeMap<Symbol, Vec<RowId>>,
    /// The rows that ask for none (they only ask that something does not hold).
    needing_none: Vec<RowId>,
}

impl Rulebook {
    /// Checks everything and indexes it. Rules, groups and rows are put in order first, so that the order in which they
    /// were written changes neither the digest nor a decision.
    ///
    /// # Errors
    /// All problems at once, each naming its row or term.
    pub fn new(mut book: Book) -> Result<Self, RulebookError> {
        book.regimes.sort_by(|a, b| a.id.cmp(&b.id));
        let written = |stamp: &Option<Stamp>| stamp.as_ref().map(ToString::to_string);
        book.groups.sort_by_cached_key(|group| {
            let dates = (written(&group.from), written(&group.until));
            (group.id.clone(), group.regime.clone(), group.places.clone(), dates)
        });
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

    /// The rulebook without a rule, named `none`. It can judge nothing but gaps, which refuse under any rulebook: what a
    /// refusal is judged with while the rules in force are not at hand, so that it too can be judged again.
    #[must_use]
    pub fn none() -> Self {
        let book = Book {
            name: "none".into(),
            version: "0".into(),
            reviewed_on: None,
            missing_rule: None,
            regimes: Vec::new(),
            groups: Vec::new(),
            rules: Vec::new(),
            rows: Vec::new(),
            vocabulary: crate::rule::Vocabulary::default(),
            limits: crate::rule::Limits::default(),
        };
        // A book has string keys only, so it can be written.
        let digest = crate::digest(&crate::canonical(&book).unwrap_or_default());
        let (atoms, literals, slices) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { book, digest, atoms, literals, slices }
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

    /// Of [`Rulebook::rows`] those that this cell does not rule out at once, ascending: every row that matches or may match
    /// is among them.
    #[must_use]
    pub fn candidates(&self, key: &CellKey) -> Vec<RowId> {
        let Some(slice) = self.slice(key.profile, &key.regime, key.flow) else { return Vec::new() };
        let named = key.holds.iter().chain(&key.unknown);
        let needed = named.filter_map(|symbol| slice.by_need.get(symbol)).flatten();
        let mut rows: Vec<RowId> = needed.chain(&slice.needing_none).copied().collect();
        rows.sort_unstable();
        rows
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
        // in the order of their ids, see `new`
        let at = self.book.rules.binary_search_by(|rule| rule.id.as_str().cmp(id)).ok()?;
        self.book.rules.get(at)
    }

    #[must_use]
    pub fn ground_type(&self, id: &str) -> Option<&GroundType> {
        self.book.vocabulary.grounds.iter().find(|kind| kind.id == id)
    }

    /// The category, and the broader ones that it falls under.
    pub(crate) fn broader<'a>(&'a self, category: &'a str) -> impl Iterator<Item = &'a str> {
        let up = &self.book.vocabulary.broader;
        let chain = core::iter::successors(Some(category), |own| up.get(*own).map(String::as_str));
        chain.take(CATEGORY_DEPTH_MAX)
    }

    /// Is data of this category about persons, whatever is declared? All is but what the vocabulary says need not be; a
    /// book that does not say it has none.
    pub(crate) fn is_personal(&self, category: &str) -> bool {
        let impersonal = &self.book.vocabulary.impersonal;
        !impersonal.is_empty()
            && !self.broader(category).any(|own| impersonal.iter().any(|one| one == own))
    }

    pub(crate) fn group<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Group> {
        self.book.groups.iter().filter(move |group| group.id == id)
    }

    fn slice(&self, profile: Profile, regime: &str, flow: Flow) -> Option<&Slice> {
        self.slices.get(regime)?.get(place_of(profile, flow))
    }

    fn index(&mut self, problems: &mut Vec<String>) {
        let mut known = BTreeMap::new();
        for number in 0..self.book.rows.len() {
            let Some(row) = self.book.rows.get(number).cloned() else { continue };
            let name = format!("row {}/{}", row.rule, row.number);
            let Ok(id) = RowId::try_from(number) else {
                return problems.push(format!("{name}: more rows than can be numbered"));
            };
            let literals = self.read_literals(&row, &mut known).unwrap_or_else(|problem| {
                problems.push(format!("{name}: {problem}"));
                Vec::new()
            });
            self.file(&row, id, &literals);
            self.literals.push(literals);
        }
        for slice in self.slices.values_mut().flatten() {
            slice.symbols.sort_unstable();
            slice.symbols.dedup();
            slice.find_needs(&self.literals);
        }
    }

    /// Puts a row into every slice that its columns name.
    fn file(&mut self, row: &Row, id: RowId, literals: &[Literal]) {
        let known = self.book.regimes.iter().map(|regime| regime.id.as_str()).chain([NO_REGIME]);
        let flows = Flow::ALL.into_iter().filter(|flow| row.flow == "*" || row.flow == flow.name());
        let places: BTreeSet<usize> = flows
            .flat_map(|flow| row.profiles.iter().map(move |profile| place_of(*profile, flow)))
            .collect();
        for regime in known.filter(|regime| row.regime == "*" || row.regime == *regime) {
            let slices = self.slices.entry(regime.to_owned()).or_default();
            slices.resize(slices.len().max(2 * Flow::ALL.len()), Slice::default());
            for (_, slice) in slices.iter_mut().enumerate().filter(|(at, _)| places.contains(at)) {
                slice.rows.push(id);
                slice.symbols.extend(literals.iter().map(|literal| literal.symbol));
            }
        }
    }

    fn read_literals(
        &mut self,
        row: &Row,
        known: &mut BTreeMap<String, Symbol>,
    ) -> Result<Vec<Literal>, String> {
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
            read.push(Literal { symbol: self.symbol(atom, known)?, negated });
        }
        read.sort_unstable();
        read.dedup();
        let both = read.windows(2).find(|pair| match pair {
            [one, other] => one.symbol == other.symbol,
            _ => false,
        });
        match both.and_then(|pair| pair.first()) {
            None => Ok(read),
            Some(literal) => Err(format!(
                "it asks for `{}` and for its opposite, so it never matches: write one of the two",
                self.text(Literal { negated: false, ..*literal })
            )),
        }
    }

    fn symbol(
        &mut self,
        atom: Atom,
        known: &mut BTreeMap<String, Symbol>,
    ) -> Result<Symbol, String> {
        let text = atom.to_string();
        if let Some(symbol) = known.get(&text) {
            return Ok(*symbol);
        }
        let symbol = Symbol::try_from(self.atoms.len())
            .map_err(|_| "more predicates than can be numbered".to_owned())?;
        self.atoms.push(atom);
        known.insert(text, symbol);
        Ok(symbol)
    }
}

impl Slice {
    fn find_needs(&mut self, literals: &[Vec<Literal>]) {
        let wanted = |row: RowId| {
            let all = literals.get(usize::from(row)).map_or(&[][..], Vec::as_slice);
            all.iter().filter(|literal| !literal.negated).map(|literal| literal.symbol)
        };
        let mut askers: BTreeMap<Symbol, usize> = BTreeMap::new();
        for symbol in self.rows.iter().flat_map(|row| wanted(*row)) {
            *askers.entry(symbol).or_default() += 1;
        }
        for row in &self.rows {
            match wanted(*row).min_by_key(|symbol| (askers.get(symbol).copied(), *symbol)) {
                Some(need) => self.by_need.entry(need).or_default().push(*row),
                None => self.needing_none.push(*row),
            }
        }
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

/// Where a regime keeps the slice of a profile and a flow.
const fn place_of(profile: Profile, flow: Flow) -> usize {
    profile as usize * Flow::ALL.len() + flow as usize
}

/// The regime column of a component without a regime.
pub(crate) const NO_REGIME: &str = "-";
/// Links followed from a category to a broader one.
const CATEGORY_DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Gap};
    use crate::{decision::Outcome, reason::Reason};

    #[test]
    fn the_rulebook_without_a_rule_is_one_and_refuses_everything() {
        let none = Rulebook::none();
        assert_eq!(Rulebook::new(none.book().clone()).unwrap(), none);
        assert_eq!(crate::judge(&none, &Facts::default(), 0).outcome, Outcome::Deny);
        let what = String::from("bundle `x` is being loaded");
        let gaps = Vec::from([Gap { reason: Reason::PolicyUnavailable, what }]);
        let judgement = crate::judge(&none, &Facts { gaps, ..Facts::default() }, 0);
        assert_eq!(judgement.decision.reasons[0].code, Reason::PolicyUnavailable);
        assert_eq!(judgement.outcome, Outcome::Deny);
    }
}
