//! A decision is recorded while what it was judged on still holds, and judged before it is recorded. What the gateway does
//! when its clock goes back is no finding.

use haetae_verify::{
    Finding,
    finding::{Judged, RecordFault},
};
use serde_json::{Value, json};
use verdict::Rulebook;

use super::export::{BUNDLE, Decided, Export, JUDGED, Lane, Texts, facts};
use super::{at, check, in_force::followed};

/// From this second on the rule of [`dated`] keeps data from Japan.
const TURNS: i64 = JUDGED + 8 * 3_600;

fn dated(texts: &mut Texts, judged: i64) -> Decided {
    let mut book: Value = serde_json::from_str(BUNDLE).unwrap();
    book["rules"][0]["from"] = "2026-11-24".into();
    let book: Rulebook = serde_json::from_value(book).unwrap();
    texts.judge(&book, &facts("JP", "d@1"), judged)
}

/// What is found of one decision: in a file, and by who follows the log.
fn found(texts: &Texts, decided: &Decided, says: Value) -> Vec<Finding> {
    let mut lane = Lane::open(0);
    lane.decision(decided, says);
    lane.checkpoints = vec![2];
    let mut export = Export::of(&[&lane], texts);
    export.lines[0]["created"] = "2027-12-01T00:00:00.000000000Z".into();
    let report = check(&export);
    assert_eq!(report.findings, followed(&lane, texts).findings);
    report.findings
}

fn judged(judged: Judged) -> Vec<Finding> {
    vec![at(0, 1, RecordFault::Judged(judged))]
}

#[test]
fn what_was_judged_on_facts_that_have_run_out_is_found() {
    let mut texts = Texts::default();
    let decided = dated(&mut texts, JUDGED);
    assert_eq!(decided.outcome, "ALLOW");
    let recorded = |at: &str| found(&texts, &decided, json!({ "at": at }));
    assert_eq!(recorded("2026-11-23T23:59:59.999999999Z"), []);
    for late in ["2026-11-24T00:00:00.000000000Z", "2027-03-01T00:00:00.000000000Z"] {
        assert_eq!(recorded(late), judged(Judged::RanOut { until: TURNS }));
    }
    let said = judged(Judged::RanOut { until: TURNS })[0].text();
    let en = "held until 2026-11-24T00:00:00Z only, and the record was written then or later";
    assert!(said.en.ends_with(en), "{}", said.en);
    assert!(said.ko.contains("2026-11-24T00:00:00Z까지만"), "{}", said.ko);

    // A second later they refuse, and no date is left.
    let mut texts = Texts::default();
    let refused = dated(&mut texts, TURNS);
    assert_eq!(refused.outcome, "DENY");
    let says = json!({ "judged": TURNS, "at": "2027-03-01T00:00:00.000000000Z" });
    assert_eq!(found(&texts, &refused, says), []);
}

/// That something beside the facts of this decision changes (an entry of the registry comes) only the record says.
#[test]
fn what_a_record_says_of_its_own_end_holds_without_texts_too() {
    let (mut home, mut away) = (Texts::default(), Texts::default());
    let (allow, refusal) = (home.decide("KR", "d@1"), away.decide("JP", "d@1"));
    for (decided, texts) in [(&allow, &home), (&refusal, &away), (&allow, &Texts::default())] {
        for until in [JUDGED, JUDGED - 1] {
            let found = found(texts, decided, json!({ "valid_until": until }));
            assert_eq!(found, judged(Judged::RanOut { until }));
        }
        assert_eq!(found(texts, decided, json!({ "valid_until": JUDGED + 1 })), []);
    }
}

/// A request is judged, the clock is set back by an hour, and the record comes a nanosecond after the lane's last one, which was
/// written 160 seconds before it was judged.
#[test]
fn a_clock_that_is_set_back_is_no_lie_and_an_instant_that_is_yet_to_come_is() {
    let mut texts = Texts::default();
    let decided = texts.decide("KR", "d@1");
    let says = json!({ "judged": JUDGED + 160, "clock": "2026-11-23T15:02:40.000000000Z" });
    assert_eq!(found(&texts, &decided, says), []);
    for judged_for in [JUDGED + 601, JUDGED + 86_400] {
        let found = found(&texts, &decided, json!({ "judged": judged_for }));
        assert_eq!(found, judged(Judged::Ahead));
    }
    let said = judged(Judged::Ahead)[0].text();
    assert!(said.en.ends_with("judged for an instant that is later than the record itself"));
    assert!(said.ko.ends_with("나중 시점을 기준으로 판단했습니다"), "{}", said.ko);
}
