//! The casbin side of the residency rules: a key of symbols in, the rows that match out.
//!
//! casbin's cost is linear in rows. So there is one immutable engine for each (profile, regime, flow, destination): the rows
//! of one slice that name one place or group in their column `to`, and one for those that name none. A cell asks the engines
//! of the destinations that it names (as holding, or as unknown) and the one for any; where rows are the same the engine is
//! shared. Rows are written and filed from the book itself and not from the index that the pure matcher uses, so that a
//! mistake in one of the two shows as a disagreement; and each row still bears its place as a condition, so filing can only
//! leave a row out, never let one in.
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
    by_slice: BTreeMap<(Profile, String, Flow), Slice>,
}

/// What cells of one (profile, regime, flow) may ask, by destination.
#[derive(Debug, Default)]
struct Slice {
    /// By the condition that all rows of the part have (`to:KR`); the rows for any destination under the empty one.
    parts: BTreeMap<String, Arc<Part>>,
}

#[derive(Debug)]
struct Part {
    engine: Engine,
    /// Row id as casbin returns it to its number in the rulebook.
    rows: BTreeMap<String, RowId>,
}

impl Engines {
    /// Builds all engines. Takes some milliseconds for a hundred rows: done before a bundle is swapped in.
    pub(crate) async fn new(model: &str, rulebook: &Rulebook) -> Result<Self, EngineError> {
        Self::split(model, rulebook, WHOLE_ROWS_MAX).await
    }

    /// A slice of at most `whole_rows_max` rows has one engine, a larger one has one for each destination.
    async fn split(
        model: &str,
        rulebook: &Rulebook,
        whole_rows_max: usize,
    ) -> Result<Self, EngineError> {
        let book = rulebook.book();
        let mut by_slice = BTreeMap::new();
        let mut by_rows: BTreeMap<Vec<RowId>, Arc<Part>> = BTreeMap::new();
        for key in keys(book) {
            let mut slice = Slice::default();
            for (place, rows) in filed(book, &applying(book, &key), whole_rows_max) {
                let part = match by_rows.get(&rows) {
                    Some(part) => Arc::clone(part),
                    None => Arc::new(build(model, book, &rows).await?),
                };
                by_rows.insert(rows, Arc::clone(&part));
                slice.parts.insert(place, part);
            }
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
        // no slice: the bundle does not know the regime, so no row of it can apply to such a cell
        let slice = (key.profile, key.regime.clone(), key.flow);
        let Some(slice) = self.by_slice.get(&slice) else { return Ok(Matches::default()) };
        let (holds, unknown) = (words(rulebook, &key.holds), words(rulebook, &key.unknown));
        let named: BTreeSet<&str> =
            holds.split(' ').chain(unknown.split(' ')).chain([""]).collect();
        let (mut sure, mut possible) = (BTreeSet::new(), BTreeSet::new());
        for part in named.iter().filter_map(|place| slice.parts.get(*place)) {
            let ask = |reading: &str| {
                let request = [key.regime.as_str(), key.flow.name(), &holds, &unknown, reading];
                part.matching(request.map(str::to_owned).to_vec())
            };
            sure.extend(ask(SURE)?);
            if !unknown.is_empty() {
                possible.extend(ask(POSSIBLE)?);
            }
        }
        let possible = possible.difference(&sure).copied().collect();
        Ok(Matches { sure: sure.into_iter().collect(), possible })
    }
}

impl Part {
    fn matching(&self, request: Vec<String>) -> Result<Vec<RowId>, EngineError> {
        let rows = self.engine.matching(request)?;
        Ok(rows.iter().filter_map(|row| self.rows.get(row.first()?).copied()).collect())
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

/// The rows of a slice by the destination that each must have.
fn filed(book: &Book, rows: &[RowId], whole_rows_max: usize) -> BTreeMap<String, Vec<RowId>> {
    let mut by_place: BTreeMap<String, Vec<RowId>> = BTreeMap::new();
    for number in rows {
        let Some(row) = book.rows.get(usize::from(*number)) else { continue };
        let place = place(row).filter(|_| rows.len() > whole_rows_max).unwrap_or_default();
        by_place.entry(place).or_default().push(*number);
    }
    by_place
}

async fn build(model: &str, book: &Book, numbers: &[RowId]) -> Result<Part, EngineError> {
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
    Ok(Part { engine, rows })
}

/// Everything a row asks for as one list of words: its place, its predicates, and that its rule is in force.
fn conditions(book: &Book, row: &Row) -> String {
    let dated = book
        .rules
        .iter()
        .any(|rule| rule.id == row.rule && (rule.from.is_some() || rule.until.is_some()));
    let in_force = dated.then(|| format!("in_force:{}", row.rule));
    let words: Vec<String> =
        place(row).into_iter().chain(row.when.iter().cloned()).chain(in_force).collect();
    words.join(" ")
}

/// The condition that the column `to` is.
fn place(row: &Row) -> Option<String> {
    (row.to != "*").then(|| format!("to:{}", row.to))
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
/// One ask costs as much as about two rows: fewer rows than this are not worth a second engine.
const WHOLE_ROWS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    //! Proves that asking only the engines of a cell's destinations finds what asking one engine with every row finds, and
    //! that a row which filing lost would be a refusal, not a gap.

    use std::path::Path;
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use verdict::cell::{Matcher as _, Pure};

    use super::super::bundle::RESIDENCY;
    use super::super::folder::Folder;
    use super::super::{build, memo};
    use super::*;

    struct Both {
        rulebook: Rulebook,
        filed: Engines,
        whole: Engines,
    }

    static BOTH: LazyLock<Both> = LazyLock::new(|| {
        let folder =
            Folder::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"))).unwrap();
        let model = folder.text(RESIDENCY, &mut Vec::new()).to_owned();
        let rulebook = build::parts(&folder, 1_795_000_000).unwrap().rulebook;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let engines = |whole| runtime.block_on(Engines::split(&model, &rulebook, whole)).unwrap();
        let (filed, whole) = (engines(0), engines(usize::MAX));
        Both { rulebook, filed, whole }
    });

    /// A cell drawn anew, most predicates false as in life, places often true or unknown.
    fn keys() -> impl Strategy<Value = CellKey> {
        let slices: Vec<_> = keys_of_book().collect();
        let values = prop::collection::vec(0_u8..10, BOTH.rulebook.atoms().len());
        (prop::sample::select(slices), values).prop_map(|(slice, values)| drawn(slice, &values))
    }

    fn drawn((profile, regime, flow): (Profile, String, Flow), values: &[u8]) -> CellKey {
        let symbols = BOTH.rulebook.symbols(profile, &regime, flow).iter();
        let value = |symbol: &Symbol| values.get(usize::from(*symbol)).copied().unwrap_or(9);
        let of = |wanted: &[u8]| {
            symbols.clone().copied().filter(|it| wanted.contains(&value(it))).collect::<Vec<_>>()
        };
        let (holds, unknown) = (of(&[0, 1, 2]), of(&[3, 4]));
        CellKey { profile, regime, flow, holds, unknown }
    }

    fn keys_of_book() -> impl Iterator<Item = (Profile, String, Flow)> {
        super::keys(BOTH.rulebook.book())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn filing_rows_by_destination_loses_none(key in keys()) {
            let Both { rulebook, filed, whole } = &*BOTH;
            let found = filed.matches(rulebook, &key).unwrap();
            prop_assert_eq!(&found, &whole.matches(rulebook, &key).unwrap());
            prop_assert_eq!(found, Pure.matches(rulebook, &key).unwrap());
        }
    }

    #[test]
    fn a_cell_asks_few_of_the_rows_of_its_slice() {
        let key = (Profile::Statutory, "KR.PIPA".to_owned(), Flow::Compute);
        let rows = |engines: &Engines, place: Option<&str>| {
            let parts = &engines.by_slice.get(&key).unwrap().parts;
            let of = |it: &&str| place.is_none_or(|place| place == *it || it.is_empty());
            let asked = parts.iter().filter(|(it, _)| of(&it.as_str()));
            asked.map(|(_, part)| part.rows.len()).sum::<usize>()
        };
        let (all, home) = (rows(&BOTH.whole, None), rows(&BOTH.filed, Some("to:home")));
        assert_eq!(rows(&BOTH.filed, None), all, "each row is in one part");
        assert!(home < all, "{home} of {all}");
    }

    #[test]
    fn a_row_that_filing_lost_makes_the_engines_disagree() {
        let Both { rulebook, whole, .. } = &*BOTH;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder =
            Folder::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"))).unwrap();
        let model = folder.text(RESIDENCY, &mut Vec::new());
        let mut lossy = runtime.block_on(Engines::split(model, rulebook, 0)).unwrap();
        let slice = (Profile::Statutory, "KR.PIPA".to_owned(), Flow::Compute);
        lossy.by_slice.get_mut(&slice).unwrap().parts.remove("to:home").unwrap();
        let home = |id: &RowId| rulebook.row(*id).is_some_and(|row| row.to == "home");
        let rows = rulebook.rows(slice.0, &slice.1, slice.2);
        let asked = rulebook.literals(*rows.iter().find(|id| home(id)).unwrap()).iter();
        let holds = asked.filter(|it| !it.negated).map(|it| it.symbol).collect();
        let (profile, regime, flow) = slice;
        let key = CellKey { profile, regime, flow, holds, unknown: Vec::new() };
        assert!(!memo::compare(whole, rulebook, &key).unwrap().sure.is_empty());
        let told = memo::compare(&lossy, rulebook, &key).unwrap_err().what;
        assert!(told.contains("casbin matched []"), "{told}");
    }
}
