//! What a record must say of itself, what it must fit, and of what kind it is, where a verifier knows no more.

use haetae_verify::{
    Finding,
    finding::{Contradiction, RecordFault},
    report::Exit,
};
use serde_json::json;

use super::export::{Export, Lane, Texts};
use super::{at, check, id, in_force::followed, whole};

fn follows(index: u64, contradiction: Contradiction) -> Finding {
    at(0, index, RecordFault::Follows(contradiction))
}

/// What is found of an announced decision that allows, and of what `then` adds to its lane.
fn allowed(identity: Option<&str>, then: impl Fn(&mut Lane, &str)) -> Vec<Finding> {
    let mut texts = Texts::default();
    let home = texts.decide("KR", "d@1");
    let mut lane = Lane::open(0);
    let says = identity.map_or(json!({}), |identity| json!({ "identity": identity }));
    let decision = lane.decision(&home, says);
    lane.announce(&home);
    then(&mut lane, &decision);
    lane.checkpoints = vec![lane.leaves.len()];
    let found = check(&Export::of(&[&lane], &texts)).findings;
    // A follower forgets what lies far back, so it never says that something is nowhere.
    let nowhere = |found: &Finding| *found == follows(3, Contradiction::Nowhere);
    let same = followed(&lane, &texts).findings;
    assert_eq!(
        found.iter().filter(|found| !nowhere(found)).collect::<Vec<_>>(),
        same.iter().collect::<Vec<_>>()
    );
    found
}

fn beat(lane: &mut Lane) {
    let heads = [lane.head(lane.leaves.len())];
    lane.push("heartbeat", json!({ "heads": heads }));
}

#[test]
fn what_follows_a_decision_that_is_nowhere_is_found_where_all_is_shown() {
    for kind in ["started", "ended"] {
        let of = |decision: String| json!({ "decision": decision, "identity": "spiffe://x/y" });
        let found = allowed(None, |lane, _| {
            lane.push(kind, of(id(0, 99)));
            beat(lane);
        });
        assert_eq!(found, [follows(3, Contradiction::Nowhere)]);
        // After the last heartbeat: its decision may stand in a lane that ends before it.
        let late = allowed(None, |lane, _| {
            beat(lane);
            lane.push(kind, of(id(0, 99)));
        });
        assert_eq!(late, []);
        // Where something else is wrong, that may be the decision.
        let found = allowed(None, |lane, _| {
            lane.push(kind, of(id(0, 99)));
            lane.push("alarm", json!({ "epoch": 2 }));
            beat(lane);
        });
        assert_eq!(
            found.iter().map(Finding::code).collect::<Vec<_>>(),
            ["record_lane_open", "record_epoch"]
        );
    }
    let text = follows(3, Contradiction::Nowhere).text();
    assert!(text.en.contains("is nowhere") && text.ko.contains("어디에도 없습니다"), "{text:?}");
}

#[test]
fn what_a_site_showed_is_what_its_decision_asks_for() {
    let (one, other) =
        (format!("spki:sha256/{}=", "A".repeat(43)), format!("spki:sha256/{}=", "B".repeat(43)));
    let turns = format!("{one},{other}");
    let pin = |letter: &str| format!("spki:sha256/{}=", letter.repeat(43));
    let several =
        |letters: &[&str]| letters.iter().map(|one| pin(one)).collect::<Vec<_>>().join(",");
    let eight = several(&["A", "C", "D", "E", "F", "G", "H", "B"]);
    // Of more than are kept, any may be shown.
    let nine = format!("{eight},{}", pin("J"));
    // A choice of what is no key is none.
    let no_keys = "spki:aa,spki:bb";
    let name = "spiffe://site.example/s-1,spiffe://site.example/s-2";
    let shown = |asked: &str, shown: Option<&str>| {
        allowed(Some(asked), |lane, decision| {
            let mut said = json!({ "decision": decision });
            if let Some(shown) = shown {
                said["identity"] = shown.into();
            }
            lane.push("started", said);
            lane.push("ended", json!({ "decision": decision }));
        })
    };
    for (asked, right) in [
        (&*one, &*one),
        (&*turns, &*one),
        (&*turns, &*other),
        (&*eight, &*other),
        (&*nine, &*other),
        (no_keys, no_keys),
        (name, name),
    ] {
        assert_eq!(shown(asked, Some(right)), [], "{asked} {right}");
    }
    let wrong = follows(3, Contradiction::Identity);
    for (asked, shows) in [
        (&*one, Some(&*other)),
        (&*one, None),
        (&*one, Some(&*turns)),
        (&*turns, Some("spki:sha256/")),
        (&*eight, Some(&pin("J"))),
        (no_keys, Some("spki:aa")),
        // A comma in a name makes it no choice.
        (name, Some("spiffe://site.example/s-1")),
    ] {
        assert_eq!(shown(asked, shows), [wrong.clone()], "{asked} {shows:?}");
    }
    let text = wrong.text();
    assert!(text.en.contains("another TLS identity") && text.ko.contains("TLS 신원"), "{text:?}");
}

#[test]
fn a_decision_says_whose_it_was_and_on_which_facts() {
    for (place, key) in [("KR", "org"), ("KR", "actor"), ("JP", "fact_version"), ("JP", "actor")] {
        let mut texts = Texts::default();
        let decided = texts.decide(place, "d@1");
        let mut lane = Lane::open(0);
        lane.projected = 0;
        lane.decision(&decided, json!({ key: null }));
        lane.checkpoints = vec![2];
        let found = check(&Export::of(&[&lane], &texts)).findings;
        assert_eq!(found, [at(0, 1, RecordFault::Unreadable(key))]);
        assert_eq!(found, followed(&lane, &texts).findings);
    }
}

#[test]
fn records_of_kinds_that_are_not_known_are_counted_and_named() {
    let report = check(&whole());
    assert_eq!((report.exit(), report.counts.unknown_kinds), (Exit::Whole, 67));
    let text = report.unknown_kinds().unwrap();
    let en = "67 records are of kinds that this program does not know and holds only to what every record has: `some_later_kind`";
    assert_eq!(text.en, en);
    assert!(
        text.ko.starts_with("기록 67건은") && text.ko.ends_with("`some_later_kind`"),
        "{}",
        text.ko
    );
    assert_eq!(report.json()["unknown_kinds"], json!(["some_later_kind"]));

    let mut lane = Lane::open(0);
    let long = "x".repeat(1_000);
    for kind in ["decision2", "\u{1b}[2K", &long, "a", "b", "c", "d", "e", "f"] {
        lane.push(kind, json!({}));
    }
    lane.checkpoints = vec![lane.leaves.len()];
    let text = check(&Export::of(&[&lane], &Texts::default())).unknown_kinds().unwrap();
    assert!(text.en.starts_with("9 records are of kinds"), "{}", text.en);
    let names = r"`\u{1b}[2K`, `a`, `b`, `c`, `d`, `decision2`, `e`, `f`, ...";
    assert!(text.en.ends_with(names) && !text.en.contains('\u{1b}'), "{}", text.en);

    let mut known = Lane::open(0);
    known.checkpoints = vec![1];
    assert_eq!(check(&Export::of(&[&known], &Texts::default())).unknown_kinds(), None);
}
