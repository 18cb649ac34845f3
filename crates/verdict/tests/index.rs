//! Proves that looking only at the rows that a cell does not rule out finds what looking at every row finds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it breaks")]

#[path = "reference/book.rs"]
#[expect(dead_code, reason = "its questions are for the other tests")]
mod book;

use proptest::prelude::*;
use std::sync::LazyLock;
use verdict::{
    Rulebook,
    cell::{CellKey, Matcher, Matches, Pure, Truth},
    decision::Flow,
    question::Profile,
};

static BOOK: LazyLock<Rulebook> = LazyLock::new(book::rulebook);

/// Every predicate of a cell drawn anew, most of them false as in life.
fn keys() -> impl Strategy<Value = CellKey> {
    let regimes: Vec<String> = BOOK.book().regimes.iter().map(|it| it.id.clone()).collect();
    let regime = prop::sample::select([regimes, vec!["-".into()]].concat());
    let profile = prop::sample::select(vec![Profile::Statutory, Profile::Sovereign]);
    let values = prop::collection::vec(0_u8..10, BOOK.atoms().len());
    let flow = prop::sample::select(Flow::ALL.to_vec());
    (regime, profile, flow, values).prop_map(|(regime, profile, flow, values)| {
        let symbols = BOOK.symbols(profile, &regime, flow).to_vec();
        let of = |wanted: &[u8]| {
            let is = |symbol: &u16| wanted.contains(&values[usize::from(*symbol)]);
            symbols.iter().copied().filter(is).collect::<Vec<u16>>()
        };
        CellKey { holds: of(&[0, 1, 2]), unknown: of(&[3, 4]), profile, regime, flow }
    })
}

fn by_every_row(key: &CellKey) -> Matches {
    let mut found = Matches::default();
    for &row in BOOK.rows(key.profile, &key.regime, key.flow) {
        let truths = BOOK.literals(row).iter().map(|literal| literal.truth(key));
        match truths.min().unwrap_or(Truth::True) {
            Truth::True => found.sure.push(row),
            Truth::Unknown => found.possible.push(row),
            Truth::False => {}
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_leaves_no_row_out(key in keys()) {
        prop_assert_eq!(Pure.matches(&BOOK, &key).unwrap(), by_every_row(&key));
    }
}

/// An index that gives every row back would pass the test above.
#[test]
fn the_index_spares_rows() {
    let (profile, regime, flow) = (Profile::Statutory, "EU.GDPR".to_owned(), Flow::Compute);
    let all = BOOK.rows(profile, &regime, flow).len();
    let key = CellKey { profile, regime, flow, holds: Vec::new(), unknown: Vec::new() };
    assert!(BOOK.candidates(&key).len() * 4 < all, "{} of {all}", BOOK.candidates(&key).len());
}
