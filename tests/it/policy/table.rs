//! Proves that the printed table says what the judge says for any cell, that facts of any kind find their line in it, and that
//! two runs give the same bytes.

use haetae::policy::{Bundle, Table};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use verdict::cell::{CellKey, Disagreement, Matcher, Matches, Pure, Symbol, Truth};
use verdict::decision::{CellOutcome, Flow, Outcome};
use verdict::question::{Identifiability, Profile};
use verdict::{Rulebook, decide_with};

use tokio::sync::OnceCell;

use super::{AT, bundle, policies, question, seoul};

/// Judges a question as if its cell in one flow were another.
struct Pretend<'a> {
    key: &'a CellKey,
    found: Matches,
}

impl Matcher for Pretend<'_> {
    fn matches(&mut self, _: &Rulebook, key: &CellKey) -> Result<Matches, Disagreement> {
        Ok(if key.flow == self.key.flow { self.found.clone() } else { Matches::default() })
    }
}

/// What the judge itself makes of the rows of a cell.
fn judged(bundle: &Bundle, key: &CellKey, declared: Truth) -> Outcome {
    let mut asked = question(&every_flow());
    asked.profile = Some(key.profile);
    let component = &mut asked.components[0];
    component.regimes.retain(|_| false);
    component.regimes.extend((key.regime != "-").then(|| key.regime.clone()));
    component.identifiability = match declared {
        Truth::True => Some(Identifiability::NonPersonal),
        Truth::False => Some(Identifiability::Personal),
        Truth::Unknown => None,
    };
    let found = bundle.match_cell(key).unwrap_or_else(|it| panic!("{}", it.what));
    let decision =
        decide_with(bundle.rules(), &asked, &mut Pretend { key, found }).expect("a question");
    let cell = decision.cells.iter().find(|cell| cell.at.flow == key.flow);
    cell.unwrap_or_else(|| panic!("no cell in {}", key.flow.name())).outcome
}

/// The Seoul question with something in every flow.
fn every_flow() -> Value {
    let mut asked = seoul();
    let party = json!({"entity": "kr-sub", "seat": "KR", "place": "KR"});
    asked["site"]["sub_processors"] = json!([party]);
    asked["onward"] = json!([{"place": "KR", "entity": "kr-tool", "what": "search"}]);
    asked
}

/// The table of the bundle as it stands, made once for all tests.
pub async fn table() -> &'static Table<'static> {
    static TABLE: OnceCell<Table<'static>> = OnceCell::const_new();
    TABLE.get_or_init(|| async { Table::new(bundle().await.rules(), AT).unwrap() }).await
}

/// The predicates that may be unknown, as the table says it.
pub fn unsure(table: &Table<'_>) -> BTreeSet<String> {
    let lines = table.pages.iter().flat_map(|page| &page.lines);
    let wanted = lines.flat_map(|line| line.when.any.iter().chain(&line.when.unless).flatten());
    wanted.filter(|it| it.unsure).map(|it| it.atom.clone()).collect()
}

#[tokio::test]
async fn the_table_says_what_the_judge_says() {
    let bundle = bundle().await;
    let rules = bundle.rules();
    let table = table().await;
    let unsure = unsure(table);
    let regimes: Vec<String> = table.pages.iter().map(|page| page.regime.clone()).collect();
    let places = ["KR", "DE", "GB", "US", "CN", "HK", "JP", "CA", "BR", "ZZ"];
    let cells = (
        prop::sample::select(regimes),
        prop::sample::select(vec![Profile::Statutory, Profile::Sovereign]),
        prop::sample::select(Flow::ALL.to_vec()),
        prop::sample::select(places.to_vec()),
        prop::collection::vec(0_u8..12, 64),
        0_u8..3,
    );
    let mut outcomes: BTreeMap<Outcome, u32> = BTreeMap::new();
    let count = std::env::var("HAETAE_TABLE_CELLS").map_or(800, |it| it.parse().unwrap());
    let config = ProptestConfig { cases: count, failure_persistence: None, ..Default::default() };
    let seen = std::cell::RefCell::new(&mut outcomes);
    TestRunner::new(config)
        .run(&cells, |(regime, profile, flow, place, values, declared)| {
            let cell = (profile, regime.as_str(), flow);
            let key = drawn(rules, &unsure, cell, place, &values);
            let declared = [Truth::True, Truth::False, Truth::Unknown][usize::from(declared)];
            let line = table.line(&key, declared).expect("a line for every cell");
            prop_assert_eq!(
                line.outcome,
                judged(bundle, &key, declared),
                "{:?} {}",
                key,
                line.when
            );
            *seen.borrow_mut().entry(line.outcome).or_default() += 1;
            Ok(())
        })
        .unwrap();
    assert!(outcomes.len() >= 3, "{outcomes:?}");
}

/// A cell that ends in a place and whose other predicates are drawn, most of them false; one predicate is the same in
/// every rulebook.
pub fn drawn(
    rules: &Rulebook,
    unsure: &BTreeSet<String>,
    (profile, regime, flow): (Profile, &str, Flow),
    place: &str,
    values: &[u8],
) -> CellKey {
    let truth = |symbol: Symbol| {
        let atom = rules.atom(symbol).unwrap();
        let text = atom.to_string();
        let place_of_value =
            text.bytes().fold(7_usize, |sum, byte| sum * 31 % 1009 + usize::from(byte));
        match (&atom.test, values[place_of_value % values.len()]) {
            (verdict::atom::Test::To(area), _) => rules.reaches(regime, area, place, AT),
            // every rule of the bundle is in force then
            (verdict::atom::Test::InForce(_), _) | (_, 0) => Truth::True,
            (_, 1) if unsure.contains(&text) => Truth::Unknown,
            _ => Truth::False,
        }
    };
    let symbols = rules.symbols(profile, regime, flow);
    let of = |wanted: Truth| symbols.iter().copied().filter(|it| truth(*it) == wanted).collect();
    CellKey {
        profile,
        regime: regime.to_owned(),
        flow,
        holds: of(Truth::True),
        unknown: of(Truth::Unknown),
    }
}

/// Keeps each cell that a question met.
#[derive(Default)]
struct Record(Vec<CellKey>);

impl Matcher for Record {
    fn matches(&mut self, rules: &Rulebook, key: &CellKey) -> Result<Matches, Disagreement> {
        self.0.push(key.clone());
        Pure.matches(rules, key)
    }
}

/// Facts as an organisation has them: whatever they are, the table has a line for each of their cells, with its outcome.
#[tokio::test]
async fn every_question_finds_its_lines() {
    let bundle = bundle().await;
    let table = table().await;
    let mut met = 0;
    let places = ["KR", "US", "DE", "HK"].map(|place| [(place, "statutory"), (place, "sovereign")]);
    let categories = ["pd:General", "kr:RRN", "kr:NCT", "us:PHI", "pd:EmploymentHistory"];
    let data = ["KR.PIPA", "EU.GDPR", "CN.PIPL", "US.28CFR202", "US.HIPAA"]
        .map(|regime| categories.map(|category| (regime, category)));
    let told = |(cell, key): (&CellOutcome, &CellKey)| {
        table.line(key, Truth::False).expect("a line").outcome == cell.outcome
    };
    for (regime, category) in data.into_iter().flatten() {
        for (place, profile) in places.into_iter().flatten() {
            let mut asked = every_flow();
            asked["profile"] = json!(profile);
            asked["components"][0]["regimes"] = json!([regime]);
            asked["components"][0]["categories"] = json!([category]);
            asked["components"][0]["class"] = json!("restricted");
            asked["site"]["backups"] = json!([place]);
            asked["onward"][0]["place"] = json!(place);
            asked["site"].as_object_mut().unwrap().remove("accelerators");
            let mut record = Record::default();
            let decision = decide_with(bundle.rules(), &question(&asked), &mut record).unwrap();
            assert_eq!(decision.cells.len(), record.0.len());
            assert!(decision.cells.iter().zip(&record.0).all(told), "{regime} {category} {place}");
            met += decision.cells.len();
        }
    }
    assert!(met > 1_500, "{met}");
}

#[tokio::test]
async fn two_runs_give_the_same_bytes() {
    let again = Bundle::read(&policies(), AT).await.unwrap();
    // later, but before anything dated turns
    let again = Table::new(again.rules(), AT + 86_400).unwrap();
    let [first, again] =
        [table().await, &again].map(|it| (it.text(), it.csv().unwrap(), it.html()));
    assert_eq!(first, again);
    assert!(first.0.contains("R04") && first.1.lines().count() > 200);
    // the decision for the United Kingdom runs out
    let end = verdict::stamp::Stamp::parse("2031-12-28").unwrap().starts();
    assert_eq!(table().await.until, Some(end));
}
