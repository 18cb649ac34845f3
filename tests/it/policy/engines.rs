//! Proves that casbin and the pure matcher give one answer for every cell that the bundle can meet.

use std::collections::BTreeSet;

use verdict::Rulebook;
use verdict::cell::CellKey;
use verdict::decision::Flow;
use verdict::question::Profile;

use super::bundle;

/// A row's match is a function of its own predicates. So for each (profile, regime, flow) and each row: every assignment
/// of true, false and unknown to its predicates, with all others true, false and unknown.
#[tokio::test]
async fn casbin_and_the_pure_matcher_agree_over_the_whole_table() {
    let bundle = bundle().await;
    let rules = bundle.rules();
    let regimes = rules.book().regimes.iter().map(|regime| regime.id.clone()).chain(["-".into()]);
    let mut asked = 0;
    let mut matched = BTreeSet::new();
    let mut done = BTreeSet::new();
    let profiles = [Profile::Statutory, Profile::Sovereign];
    for (regime, flow, profile) in regimes.flat_map(|regime| {
        FLOWS.into_iter().flat_map(move |flow| profiles.map(|it| (regime.clone(), flow, it)))
    }) {
        // where another slice has the same rows, every 31st cell shows that its own names are read right
        let rows = rules.rows(profile, &regime, flow).to_vec();
        let step = if done.insert(rows) { 1 } else { 31 };
        for cell in cells(rules, profile, &regime, flow).iter().step_by(step) {
            let found = bundle.match_cell(cell).unwrap_or_else(|it| panic!("{}", it.what));
            asked += 1;
            matched.extend(found.sure);
        }
    }
    assert_eq!(matched.len(), rules.book().rows.len(), "a row that no cell reaches");
    assert!(asked > 1_000, "{asked}");
}

fn cells(rules: &Rulebook, profile: Profile, regime: &str, flow: Flow) -> BTreeSet<CellKey> {
    let all = rules.symbols(profile, regime, flow);
    let mut cells = BTreeSet::new();
    for row in rules.rows(profile, regime, flow) {
        let own: Vec<u16> = rules.literals(*row).iter().map(|literal| literal.symbol).collect();
        for background in 0..3 {
            for assignment in 0..3_u32.pow(u32::try_from(own.len()).unwrap()) {
                let value = |symbol: &u16| match own.iter().position(|own| own == symbol) {
                    Some(index) => assignment / 3_u32.pow(u32::try_from(index).unwrap()) % 3,
                    None => background,
                };
                let of = |wanted: u32| all.iter().copied().filter(|s| value(s) == wanted).collect();
                let regime = regime.to_owned();
                cells.insert(CellKey { profile, regime, flow, holds: of(1), unknown: of(2) });
            }
        }
    }
    cells
}

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
