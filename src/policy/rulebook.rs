//! The casbin side of the residency rules: a key of symbols in, the rows that match out.
//!
//! One immutable engine for each (profile, regime, flow), built from exactly the rows that can apply there, because
//! casbin's cost is linear in rows; where the rows are the same the engine is shared. Rows are written from the book itself and not from the index that the pure matcher
//! uses, so that a mistake in one of the two shows as a disagreement.
//!
//! *Invariant:* no engine has a role graph, an `eft` column or a cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use casbin::function_map::{OperatorFunction, dynamic_to_str};
use casbin::rhai::Dynamic;
use verdict::Rulebook;
use verdict::cell::{CellKey, Literal, Matches, RowId, Symbol};
use verdict::decision::Flow;
use verdict::question::Profile;
use verdict::rule::{Book, Row};

use super::engine::{Engine, EngineError};

/// Engines over one rulebook.
#[derive(Debug)]
pub(crate) struct Engines {
    by_slice: BTreeMap<(Profile, String, Flow), Arc<Slice>>,
}

#[derive(Debug)]
struct Slice {
    engine: Engine,
    /// Row id as casbin returns it to its number in the rulebook.
    rows: BTreeMap<String, RowId>,
}

impl Engines {
    /// Builds all engines. Takes a few milliseconds for a hundred rows: done before a bundle is swapped in.
    pub(crate) async fn new(model: &str, rulebook: &Rulebook) -> Result<Self, EngineError> {
        let book = rulebook.book();
        let mut by_slice = BTreeMap::new();
        let mut by_rows: BTreeMap<Vec<RowId>, Arc<Slice>> = BTreeMap::new();
        for key in keys(book) {
            let rows = applying(book, &key);
            if rows.is_empty() {
                continue;
            }
            let slice = match by_rows.get(&rows) {
                Some(slice) => Arc::clone(slice),
                None => Arc::new(build(model, book, &rows).await?),
            };
            by_rows.insert(rows, Arc::clone(&slice));
            by_slice.insert(key, slice);
        }
        Ok(Self { by_slice })
    }

    /// Both passes: rows that match for sure, and rows that match only if an unknown fact turns out so.
    pub(crate) fn matches(
        &self,
        rulebook: &Rulebook,
        key: &CellKey,
    ) -> Result<Matches, EngineError> {
        // no engine: no row of the bundle can apply to such a cell
        let slice = (key.profile, key.regime.clone(), key.flow);
        let Some(slice) = self.by_slice.get(&slice) else { return Ok(Matches::default()) };
        let (holds, unknown) = (words(rulebook, &key.holds), words(rulebook, &key.unknown));
        let ask = |reading: &str| {
            let request = [key.regime.as_str(), key.flow.name(), &holds, &unknown, reading];
            let rows = slice.engine.matching(request.map(str::to_owned).to_vec())?;
            Ok::<_, EngineError>(
                rows.iter()
                    .filter_map(|row| slice.rows.get(row.first()?).copied())
                    .collect::<BTreeSet<RowId>>(),
            )
        };
        let sure: BTreeSet<RowId> = ask(SURE)?;
        let possible: BTreeSet<RowId> =
            if unknown.is_empty() { sure.clone() } else { ask(POSSIBLE)? };
        let possible = possible.difference(&sure).copied().collect();
        Ok(Matches { sure: sure.into_iter().collect(), possible })
    }
}

/// Every (profile, regime, flow) that a cell can have.
fn keys(book: &Book) -> impl Iterator<Item = (Profile, String, Flow)> {
    let regimes = book.regimes.iter().map(|regime| regime.id.as_str()).chain([NO_REGIME]);
    let pairs = regimes.flat_map(|regime| Flow::ALL.map(|flow| (regime, flow)));
    pairs.flat_map(|(regime, flow)| {
        [Profile::Statutory, Profile::Sovereign].map(|profile| (profile, regime.to_owned(), flow))
    })
}

/// The rows that can match in such a cell, by their own columns.
fn applying(book: &Book, (profile, regime, flow): &(Profile, String, Flow)) -> Vec<RowId> {
    let applies = |row: &Row| {
        row.profiles.contains(profile)
            && (row.regime == "*" || row.regime == *regime)
            && (row.flow == "*" || row.flow == flow.name())
    };
    let rows = book.rows.iter().enumerate().filter(|(_, row)| applies(row));
    rows.filter_map(|(number, _)| RowId::try_from(number).ok()).collect()
}

async fn build(model: &str, book: &Book, numbers: &[RowId]) -> Result<Slice, EngineError> {
    let mut rows = BTreeMap::new();
    let mut lines = Vec::new();
    for number in numbers {
        let Some(row) = book.rows.get(usize::from(*number)) else { continue };
        let id = format!("{}/{}", row.rule, row.number);
        lines.push(vec![
            id.clone(),
            word(&row.out),
            word(&row.kind),
            row.regime.clone(),
            row.flow.clone(),
            conditions(book, row),
        ]);
        rows.insert(id, *number);
    }
    let when = ("when", OperatorFunction::Arg4(when));
    let engine = Engine::new(model, lines, Vec::new(), &[when]).await?;
    Ok(Slice { engine, rows })
}

/// Everything a row asks for as one list of words: its place, its predicates, and that its rule is in force.
fn conditions(book: &Book, row: &Row) -> String {
    let dated = book
        .rules
        .iter()
        .any(|rule| rule.id == row.rule && (rule.from.is_some() || rule.until.is_some()));
    let place = (row.to != "*").then(|| format!("to:{}", row.to));
    let in_force = dated.then(|| format!("in_force:{}", row.rule));
    let words: Vec<String> =
        place.into_iter().chain(row.when.iter().cloned()).chain(in_force).collect();
    words.join(" ")
}

/// The operator of the model: do all words of `conditions` hold? Words are separated by spaces; `!` before one asks that
/// it does not hold. In the reading `sure` an unknown word fulfils neither, in `possible` it fulfils both.
#[expect(clippy::needless_pass_by_value, reason = "casbin gives its operators values")]
fn when(holds: Dynamic, unknown: Dynamic, reading: Dynamic, conditions: Dynamic) -> Dynamic {
    let [holds, unknown, reading, conditions] =
        [&holds, &unknown, &reading, &conditions].map(|value| dynamic_to_str(value).into_owned());
    let has = |list: &str, word: &str| list.split(' ').any(|known| known == word);
    let fulfilled = |condition: &str| {
        let (wanted, word) = condition.strip_prefix('!').map_or((true, condition), |w| (false, w));
        if has(&unknown, word) { reading == POSSIBLE } else { has(&holds, word) == wanted }
    };
    conditions.split(' ').filter(|word| !word.is_empty()).all(fulfilled).into()
}

fn words(rulebook: &Rulebook, symbols: &[Symbol]) -> String {
    let words: Vec<String> = symbols
        .iter()
        .map(|symbol| rulebook.text(Literal { symbol: *symbol, negated: false }))
        .collect();
    words.join(" ")
}

/// A word of a closed vocabulary as it is written in JSON.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// The regime of a component that is under none.
pub(crate) const NO_REGIME: &str = "-";
const SURE: &str = "sure";
const POSSIBLE: &str = "possible";
