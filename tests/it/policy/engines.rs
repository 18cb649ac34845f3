//! Proves that casbin and the pure matcher give one answer for every cell that the bundle can meet.

use std::collections::BTreeSet;

use haetae::policy::Bundle;
use verdict::Rulebook;
use verdict::cell::{CellKey, RowId};
use verdict::decision::Flow;
use verdict::question::Profile;

use super::bundle;

/// A row's match is a function of its own predicates, so each row is asked about in the first slice (profile, regime, flow)
/// that has it: with assignments of true, false and unknown to its predicates, all others true, false or unknown. Every
/// other slice shows on some of its rows that its own names are read right. The whole product is a million cells; these are
/// drawn evenly, the same each time, and hold the cell in which each row matches; all of them (some minutes) with
/// `HAETAE_TABLE_EXHAUSTIVE=1`.
#[tokio::test]
async fn casbin_and_the_pure_matcher_agree_over_the_table() {
    let bundle = bundle().await;
    let rules = bundle.rules();
    let regimes = rules.book().regimes.iter().map(|regime| regime.id.clone()).chain(["-".into()]);
    let exhaustive = std::env::var_os("HAETAE_TABLE_EXHAUSTIVE").is_some();
    let mut asked = 0;
    let mut matched = BTreeSet::new();
    let mut done = BTreeSet::new();
    let profiles = [Profile::Statutory, Profile::Sovereign];
    let slices = regimes.flat_map(|regime| {
        Flow::ALL.into_iter().flat_map(move |flow| profiles.map(|it| (regime.clone(), flow, it)))
    });
    for (number, (regime, flow, profile)) in slices.enumerate() {
        for &row in rules.rows(profile, &regime, flow) {
            let most = match (done.insert(row), (number + usize::from(row)) % 8) {
                (true, _) if exhaustive => usize::MAX,
                (true, _) => CELLS_OF_A_ROW,
                (false, 0) => 1,
                (false, _) => continue,
            };
            let cells = cells(rules, (profile, &regime, flow), row, most);
            asked += cells.len();
            matched.extend(cells.iter().flat_map(|cell| agreed(bundle, cell)));
        }
    }
    assert_eq!(matched.len(), rules.book().rows.len(), "a row that no cell reaches");
    assert!(asked > 2_000, "{asked}");
}

/// The rows on which both engines agree.
fn agreed(bundle: &Bundle, cell: &CellKey) -> Vec<RowId> {
    bundle.match_cell(cell).unwrap_or_else(|it| panic!("{}", it.what)).sure
}

/// At most this many cells around a row, evenly drawn, the one in which it matches first.
fn cells(
    rules: &Rulebook,
    (profile, regime, flow): (Profile, &str, Flow),
    row: RowId,
    most: usize,
) -> BTreeSet<CellKey> {
    let all = rules.symbols(profile, regime, flow);
    let own = rules.literals(row);
    let cell = |value: &dyn Fn(usize) -> usize, background: usize| {
        let value = |symbol: &u16| {
            own.iter().position(|literal| literal.symbol == *symbol).map_or(background, value)
        };
        let of = |wanted: usize| all.iter().copied().filter(|s| value(s) == wanted).collect();
        CellKey { profile, regime: regime.to_owned(), flow, holds: of(TRUE), unknown: of(UNKNOWN) }
    };
    let matching = cell(&|index| if own[index].negated { FALSE } else { TRUE }, FALSE);
    let assignments = 3_usize.pow(u32::try_from(own.len()).unwrap());
    // odd, and no multiple of three: it meets every value of every predicate and every background
    let most = most.min(3 * assignments);
    let step = (3 * assignments / most.max(1)).max(1).next_multiple_of(6) + 1;
    let drawn = (1..most).map(|number| number * step % (3 * assignments)).map(|number| {
        let (background, assignment) = (number % 3, number / 3);
        let index = |index: usize| assignment / 3_usize.pow(u32::try_from(index).unwrap()) % 3;
        cell(&index, background)
    });
    drawn.chain([matching]).collect()
}

/// 168 rows, 40 cells each, half a millisecond a cell in a test build: a few seconds.
const CELLS_OF_A_ROW: usize = 40;
const FALSE: usize = 0;
const TRUE: usize = 1;
const UNKNOWN: usize = 2;
