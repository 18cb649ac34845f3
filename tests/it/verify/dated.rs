//! A decision is recorded while what it was judged on still holds, and judged before it is recorded. What the gateway does
//! when its clock goes back is no finding.

use haetae_verify::{
    Finding,
    finding::{Judged, RecordFault},
    report::{Exit, Open},
};
use serde_json::{Value, json};
use verdict::Rulebook;

use super::export::{BUNDLE, Decided, Export, JUDGED, Lane, Texts, facts};
use super::{at, check, forged::typed, in_force::followed};

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

/// What is not checked of it, by both.
fn open(texts: &Texts, decided: &Decided, says: Value) -> Vec<Open> {
    let mut lane = Lane::open(0);
    lane.announce(decided);
    lane.decision(decided, says);
    lane.checkpoints = vec![3];
    let open = check(&Export::of(&[&lane], texts)).open;
    assert_eq!(open, followed(&lane, texts).open);
    open
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
/// written 160 seconds before it was judged. Further apart they are no finding either: builds before the gateway held the two
/// against each other wrote it whenever their clock had jumped.
#[test]
fn an_instant_that_is_yet_to_come_is_said_and_no_finding() {
    let mut texts = Texts::default();
    let decided = texts.decide("KR", "d@1");
    let says = json!({ "judged": JUDGED + 160, "clock": "2026-11-23T15:02:40.000000000Z" });
    assert_eq!(open(&texts, &decided, says), []);
    for judged_for in [JUDGED + 601, JUDGED + 86_400] {
        let says = json!({ "judged": judged_for });
        assert_eq!(found(&texts, &decided, says.clone()), []);
        assert_eq!(open(&texts, &decided, says), [Open::Ahead(1)]);
    }
    let said = Open::Ahead(7).text();
    assert!(said.en.starts_with("7 decisions were judged for an instant more than ten minutes"));
    assert!(said.ko.starts_with("결정 7건은"), "{}", said.ko);

    // That they do follow from their facts is looked at all the same.
    let mut lane = Lane::open(0);
    lane.announce(&decided);
    for rule in ["R9", "R8"] {
        lane.decision(&decided, json!({ "judged": JUDGED + 601, "rule": rule }));
    }
    lane.checkpoints = vec![4];
    let report = check(&Export::of(&[&lane], &texts));
    let wrong = |index| at(0, index, RecordFault::Judged(Judged::Rule));
    assert_eq!((report.findings, report.open), (vec![wrong(2), wrong(3)], vec![Open::Ahead(2)]));
}

/// It was made and has written nothing yet: only the header names it.
#[test]
fn a_lane_without_a_checkpoint_is_empty_until_somebody_saw_records_of_it() {
    const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.py");
    const MORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify_more.py");
    let (mut main, mut empty) = (Lane::open(0), Lane::open(1));
    (main.checkpoints, empty.checkpoints) = (vec![1], vec![]);
    let mut export = Export::of(&[&main, &empty], &Texts::default());
    let keys = export.keys.clone();
    export.keys.truncate(1);
    assert_eq!(check(&export).exit(), Exit::Whole);
    let read = |script, what, export: &Export| typed(script, what, &export.bytes(), &export.keys);
    let whole = "whole: 1 records in 1 lanes under signed roots";
    assert_eq!(read(READER, "export", &export), (Some(0), whole.to_owned()));
    let heads = format!("{whole}; 0 heads in heartbeats");
    assert_eq!(read(MORE, "heartbeats", &export), (Some(0), heads));
    export.keys = keys;
    let wrong = "WRONG: nothing is shown of ['gw.example/log/1'], whose key was given";
    assert_eq!(read(READER, "export", &export), (Some(1), wrong.to_owned()));

    let mut seen = |created: &str| {
        main.leaves.truncate(1);
        main.push("heartbeat", json!({ "heads": [empty.head(1)] }));
        main.checkpoints = vec![2];
        let mut export = Export::of(&[&main, &empty], &Texts::default());
        export.lines[0]["created"] = created.into();
        export.keys.truncate(1);
        (check(&export).exit(), read(MORE, "heartbeats", &export))
    };
    let part = "part: 2 records in 1 lanes under signed roots; 1 heads in heartbeats; nothing is shown of lanes [1], which they name";
    let young = seen("2026-11-23T16:00:20.000000000Z");
    assert_eq!(young, (Exit::Incomplete, (Some(3), part.to_owned())));
    let shorter = "WRONG: lane 0, index 1: lane 1 had 1 records then, and 0 are shown";
    let late = seen("2026-11-23T16:01:20.000000000Z");
    assert_eq!(late, (Exit::Finding, (Some(1), shorter.to_owned())));
}
