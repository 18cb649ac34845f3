//! Rules decide when the log says that they came into force. Where a file shows all that was written, others are found; where
//! it does not, they are named.

use haetae_verify::{
    Brought, Finding, Follower, Piece, Report, Trust,
    export::Digest,
    finding::RecordFault,
    report::{Exit, Open},
    verify_against,
};
use serde_json::{Value, json};
use tlog::{Frontier, Hash};
use verdict::{
    Rulebook,
    facts::{Facts, Gap},
    reason::Reason,
};

use super::evidence::Shelf;
use super::export::{Decided, Export, JUDGED, Lane, ORIGIN, Texts};
use super::{at, check};

/// What is found by who follows this lane from its beginning.
pub fn followed(lane: &Lane, texts: &Texts) -> Report {
    let (hashes, root) = hashed(lane);
    let piece = Piece { lane: lane.number, leaves: &lane.leaves, hashes: &hashes, root, now_ns: 0 };
    Follower::new(ORIGIN, None).follow(&piece, &Shelf(texts))
}

fn digest(decided: &Decided) -> Digest {
    Digest::parse(decided.fields["bundle"].as_str().unwrap()).unwrap()
}

/// A decision at 16:00:00, and heartbeats over this and further lanes: then, at this time, and after it.
fn decided(decided: &Decided, beat: &str, others: &[Value]) -> Lane {
    let mut lane = Lane::open(0);
    let id = lane.decision(decided, json!({}));
    if decided.outcome == "ALLOW" {
        lane.forward(&id);
    }
    for at in [FIRST, beat, LAST] {
        heartbeat(&mut lane, at, others);
    }
    lane
}

fn heartbeat(lane: &mut Lane, at: &str, others: &[Value]) {
    let mut heads = vec![lane.head(lane.leaves.len())];
    heads.extend_from_slice(others);
    lane.push("heartbeat", json!({ "heads": heads, "at": at }));
    lane.checkpoints = vec![lane.leaves.len()];
}

const FIRST: &str = "2026-11-23T16:00:00.000000009Z";
const MINUTE: &str = "2026-11-23T16:01:00.000000009Z";
const LATER: &str = "2026-11-23T16:01:00.000000010Z";
const LAST: &str = "2026-11-23T16:05:00.000000000Z";

#[test]
fn rules_that_never_came_into_force_are_found_where_all_is_shown() {
    let mut texts = Texts::default();
    let home = texts.decide("KR", "d@1");
    let open = || vec![Open::Bundles(vec![digest(&home)])];
    let said = |lanes: &[&Lane]| {
        let report = check(&Export::of(lanes, &texts));
        (report.exit(), report.findings, report.open)
    };
    let unknown = at(0, 1, RecordFault::BundleUnknown { digest: digest(&home) });
    let lane = decided(&home, LATER, &[]);
    assert_eq!(said(&[&lane]), (Exit::Finding, vec![unknown.clone()], vec![]));

    // It may be announced yet: within a minute, and after the last heartbeat.
    let lane = decided(&home, MINUTE, &[]);
    assert_eq!(said(&[&lane]), (Exit::Incomplete, vec![], open()));
    let mut lane = Lane::open(0);
    for at in [FIRST, LATER, LAST] {
        heartbeat(&mut lane, at, &[]);
    }
    lane.decision(&home, json!({ "at": "2026-11-23T16:05:00.000000001Z" }));
    lane.checkpoints = vec![5];
    assert_eq!(said(&[&lane]), (Exit::Incomplete, vec![], open()));
    // So is what another gateway decided after it, whose clock is slow.
    let (mut lane, mut slow) = (Lane::open(0), Lane::open(1));
    for at in [
        "2026-11-23T16:05:00.000000000Z",
        "2026-11-23T16:07:00.000000000Z",
        "2026-11-23T16:09:00.000000000Z",
    ] {
        heartbeat(&mut lane, at, &[slow.head(1)]);
    }
    slow.decision(&home, json!({}));
    slow.checkpoints = vec![2];
    assert_eq!(said(&[&lane, &slow]), (Exit::Incomplete, vec![], open()));
    // Nothing says what there is; and there is more than is shown.
    let mut lane = Lane::open(0);
    lane.decision(&home, json!({}));
    lane.checkpoints = vec![2];
    assert_eq!(said(&[&lane]), (Exit::Incomplete, vec![], open()));
    let other = Lane::open(1);
    let lane = decided(&home, LATER, &[other.head(1)]);
    let (exit, findings, all) = said(&[&lane]);
    assert_eq!((exit, findings), (Exit::Incomplete, vec![]));
    assert!(all.contains(&open()[0]) && all.contains(&Open::LaneNotShown { lane: 1 }), "{all:?}");
    // All of it is shown: the lanes together say no more than one.
    let mut other = other;
    other.checkpoints = vec![1];
    assert_eq!(said(&[&lane, &other]), (Exit::Finding, vec![unknown], vec![]));

    let text = open()[0].text();
    for (sentence, part) in
        [(text.en, "bundles decided of which no record"), (text.ko, "시행되었다는")]
    {
        assert!(sentence.contains(part), "{sentence}");
        assert!(sentence.ends_with(&format!("`{}`", digest(&home))), "{sentence}");
    }
}

/// A minute is one of one clock: another's may be ahead, and a heartbeat may have waited for longer than that to be written.
#[test]
fn a_minute_between_two_clocks_is_none() {
    let mut texts = Texts::default();
    let home = texts.decide("KR", "d@1");
    let mut lane = Lane::open(0);
    let id = lane.decision(&home, json!({}));
    lane.forward(&id);
    lane.checkpoints = vec![lane.leaves.len()];
    let beats = |times: &[&str], clock: Option<&str>| {
        let mut other = Lane::open(1);
        for at in times {
            heartbeat(&mut other, at, &[lane.head(lane.leaves.len())]);
        }
        if let Some(at) = clock {
            other.push("clock", json!({ "seen": "2026-11-23T16:00:02.000000000Z", "at": at }));
            let clamped = at.replace("0Z", "1Z");
            heartbeat(&mut other, &clamped, &[lane.head(lane.leaves.len())]);
        }
        let report = check(&Export::of(&[&lane, &other], &texts));
        assert!(report.findings.iter().all(|found| found.code() == "bundle_unknown"), "{report:?}");
        report.findings.len()
    };
    let (ahead, then) = ("2026-11-23T16:20:00.000000000Z", "2026-11-23T16:22:00.000000000Z");
    let end = "2026-11-23T16:25:00.000000000Z";
    assert_eq!(beats(&[ahead], None), 0);
    assert_eq!(beats(&[ahead, end], None), 0, "the second may have waited");
    assert_eq!(beats(&[ahead, then, end], None), 1);
    assert_eq!(
        beats(&["2026-11-23T16:00:01.500000000Z", ahead, then], Some(end)),
        0,
        "they were ahead"
    );
    assert_eq!(beats(&[], Some(ahead)), 0);
}

/// However many others there are.
#[test]
fn rules_that_nobody_announced_are_told_after_thousands() {
    let mut texts = Texts::default();
    let home = texts.decide("KR", "d@1");
    let unknown = |lane: &mut Lane, number: u16| {
        let bundle = Hash::leaf(&number.to_be_bytes()).to_string();
        lane.decision(&home, json!({ "bundle": bundle }));
    };
    let mut lane = Lane::open(0);
    (0..4_100).for_each(|number| unknown(&mut lane, number));
    let (hashes, root) = hashed(&lane);
    let piece = Piece { lane: 0, leaves: &lane.leaves, hashes: &hashes, root, now_ns: 0 };
    let told = |report: &Report| report.findings.len() as u64 + report.more;
    let approved = Follower::new(ORIGIN, Some(vec![])).follow(&piece, &Shelf(&texts));
    assert_eq!(told(&approved), 4_100);

    let mut follower = Follower::new(ORIGIN, None);
    assert_eq!(told(&follower.follow(&piece, &Shelf(&texts))), 0);
    assert_eq!(told(&follower.settle(i64::MAX)), 4_096);
    let from = lane.leaves.len();
    unknown(&mut lane, 5_000);
    let (hashes, root) = hashed(&lane);
    let (leaves, hashes) = (&lane.leaves[from..], &hashes[from..]);
    follower.follow(&Piece { lane: 0, leaves, hashes, root, now_ns: 0 }, &Shelf(&texts));
    assert_eq!(told(&follower.settle(i64::MAX)), 1);
}

#[test]
fn what_says_that_they_did_may_come_late_and_in_any_lane() {
    let mut texts = Texts::default();
    let home = texts.decide("KR", "d@1");
    let bundle = &home.fields["bundle"];
    for (kind, act, in_force) in [
        ("policy_change", None, true),
        ("policy_change", Some("activate"), true),
        ("policy_change", Some("rollback"), true),
        ("policy_change", Some("fall_back"), true),
        ("override", Some("break_glass"), true),
        ("policy_change", Some("propose"), false),
        ("policy_change", Some("approve"), false),
        ("policy_change", Some("shadow_start"), false),
        ("key_event", Some("activate"), false),
    ] {
        let mut said = json!({ "bundle": bundle, "at": "2026-11-23T16:00:59.000000000Z" });
        if let Some(act) = act {
            said["act"] = act.into();
        }
        let mut other = Lane::open(1);
        other.push(kind, said);
        other.checkpoints = vec![2];
        let lane = decided(&home, LATER, &[other.head(2)]);
        let report = check(&Export::of(&[&lane, &other], &texts));
        assert_eq!(report.exit() == Exit::Whole, in_force, "{kind} {act:?}: {report:?}");
        assert_eq!(report.findings.len(), usize::from(!in_force), "{kind} {act:?}");
    }
}

/// What a part that begins later cannot say: what was announced before.
#[test]
fn of_a_part_that_begins_later_the_rules_are_named() {
    let mut texts = Texts::default();
    let home = texts.decide("KR", "d@1");
    let mut lane = Lane::open(0);
    lane.announce(&home);
    let id = lane.decision(&home, json!({}));
    lane.forward(&id);
    heartbeat(&mut lane, "2026-11-23T16:02:00.000000000Z", &[]);
    assert_eq!(check(&Export::of(&[&lane], &texts)).exit(), Exit::Whole);
    lane.from = 2;
    let report = check(&Export::of(&[&lane], &texts));
    assert_eq!(report.findings, []);
    assert!(report.open.contains(&Open::Bundles(vec![digest(&home)])), "{:?}", report.open);
}

/// While no rules are at hand the gateway refuses with the rulebook that has none, which nobody announces: be the reason that
/// one, or that the request cannot be read.
#[test]
fn a_refusal_without_any_rules_needs_none_in_force() {
    for reason in [Reason::PolicyUnavailable, Reason::DeclarationInvalid] {
        let mut texts = Texts::default();
        let gap = Gap { reason, what: "a test".to_owned() };
        let facts = Facts { gaps: vec![gap], ..Facts::default() };
        let refused = texts.judge(&Rulebook::none(), &facts, JUDGED);
        assert_eq!(refused.outcome, "DENY");
        let lane = decided(&refused, LATER, &[]);
        let report = check(&Export::of(&[&lane], &texts));
        assert_eq!((report.exit(), report.findings), (Exit::Whole, vec![]), "{reason:?}");
        let mut follower = Follower::new(ORIGIN, None);
        let (hashes, root) = hashed(&lane);
        let piece = Piece { lane: 0, leaves: &lane.leaves, hashes: &hashes, root, now_ns: 0 };
        assert_eq!(follower.follow(&piece, &Shelf(&texts)).findings, []);
        assert_eq!(follower.settle(i64::MAX).findings, [] as [Finding; 0], "{reason:?}");
    }
}

fn hashed(lane: &Lane) -> (Vec<Hash>, Hash) {
    let mut tree = Frontier::new();
    let hashes: Vec<Hash> = lane.leaves.iter().map(|leaf| Hash::leaf(leaf)).collect();
    for hash in &hashes {
        tree.append(*hash);
    }
    (hashes, tree.root())
}

/// Who holds the key of a log can announce any rules in it; who knows which were approved is not taken in.
#[test]
fn rules_that_are_announced_and_were_not_approved_are_found_by_who_knows_those_that_were() {
    let (main, beat, texts) = super::lanes();
    let export = Export::of(&[&main, &beat], &texts);
    let (_folder, path) = super::export::on_disk(&export.bytes());
    let under = |bundles: &[Digest]| {
        let brought = Brought { checkpoints: Vec::new(), bundles: Some(bundles.to_vec()) };
        verify_against(&path, &Trust::Keys(export.keys.clone()), &brought).unwrap()
    };
    let (ours, other) = (super::rules(), Digest([7; 32]));
    assert_eq!(under(&[other, ours]).exit(), Exit::Whole);
    for approved in [&[other][..], &[]] {
        let report = under(approved);
        // Once for each bundle, at the first record.
        let [Finding::Record(place, RecordFault::BundleNotApproved { digest })] = &*report.findings
        else {
            panic!("{report:?}")
        };
        assert_eq!((place.lane, *digest, report.exit()), (0, ours, Exit::Finding));
    }
}
