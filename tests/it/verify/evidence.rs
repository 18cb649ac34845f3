//! What a record keeps of its caller's access is about what the record says was asked, and no allow of a lane is without
//! it once one had it.

use haetae_verify::{
    Beside, Finding, Follower, Piece, Report, Texts as Kept,
    evidence::right,
    export::Digest,
    finding::{Judged, RecordFault},
    report::Exit,
};
use hyper::http::Method;
use serde_json::{Value, json};
use tlog::{Frontier, Hash};
use verdict::decision::Outcome;

use haetae::workload::{Operation, haetae::ROUTES, route};

use super::export::{Decided, Export, Lane, Texts};
use super::{at, check};

const LLAMA: Option<(&str, &str)> = Some(("llama", "submit"));

/// The faults of one record with this evidence and these words of its own, judged from an export.
fn faults(place: &str, about: Option<(&str, &str)>, says: &Value) -> Vec<Finding> {
    let (mut texts, mut lane) = (Texts::default(), Lane::open(0));
    let decided = texts.decide_let_in(place, "d@1", about);
    let id = lane.decision(&decided, says.clone());
    if decided.outcome == json!(Outcome::Allow) {
        lane.forward(&id);
    }
    lane.checkpoints = vec![lane.leaves.len()];
    check(&Export::of(&[&lane], &texts)).findings
}

#[test]
fn evidence_about_something_else_is_found() {
    let found = |judged| vec![at(0, 1, RecordFault::Judged(judged))];
    let (chat, admin) = (json!({}), Some(("llama", "admin")));
    // KR allows, JP refuses: a refusal that keeps evidence is held against it too.
    for place in ["KR", "JP"] {
        assert_eq!(faults(place, LLAMA, &chat), []);
        assert_eq!(faults(place, Some(("other", "submit")), &chat), found(Judged::Access));
        assert_eq!(faults(place, admin, &chat), found(Judged::AccessOperation));
    }
    let says = |protocol, operation| json!({ "protocol": protocol, "operation": operation });
    let other = |protocol, operation| faults("KR", LLAMA, &says(protocol, operation));
    assert_eq!(other("openai", "models.list"), found(Judged::AccessOperation));
    assert_eq!(other("haetae", "holds.list"), found(Judged::AccessOperation));
    // of a gateway later than this verifier: nothing is known of it
    assert_eq!(other("openai", "images.generate"), []);
    assert_eq!(other("haetae", "holds.count"), []);
    let fault = at(0, 1, RecordFault::Judged(Judged::AccessOperation)).text();
    assert!(fault.en.ends_with("about another operation than the one that was asked for"));
    assert!(fault.ko.ends_with("다른 작업에 관한 것입니다"), "{}", fault.ko);
}

/// The verifier's list against the gateway's routes: one that it lacks would never be compared.
#[test]
fn every_route_of_the_gateway_has_its_right() {
    let named = |operation| match operation {
        Operation::Submit => "submit",
        Operation::Metadata => "metadata",
        Operation::Admin => "admin",
    };
    for (method, path) in [
        (Method::POST, "/v1/chat/completions"),
        (Method::POST, "/v1/completions"),
        (Method::POST, "/v1/embeddings"),
        (Method::POST, "/v1/responses"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/v1/models/m"),
    ] {
        let route = route(&method, path, None).unwrap();
        assert_eq!(right("openai", route.name), Some(named(route.operation)), "{path}");
    }
    for row in ROUTES {
        let wanted = match row.name {
            "decide" => Some("submit"),
            // Of an organisation's own records: no row gives the right, and no record says that it was used.
            "decisions.leaf" | "decisions.receipt" => None,
            _ => Some("admin"),
        };
        assert_eq!(right("haetae", row.name), wanted, "{}", row.name);
    }
    assert_eq!(right("openai", "unknown"), None);
    assert_eq!(right("haetae", "unknown"), None);
}

/// An allow without evidence, one with it, a refusal without any, and one that allows without again.
fn mixed(texts: &mut Texts) -> Lane {
    let [bare, kept] = [None, LLAMA].map(|about| texts.decide_let_in("KR", "d@1", about));
    let refused = texts.decide("JP", "d@1");
    let mut lane = Lane::open(0);
    allow(&mut lane, &bare);
    allow(&mut lane, &kept);
    lane.decision(&refused, json!({}));
    allow(&mut lane, &bare);
    lane.checkpoints = vec![lane.leaves.len()];
    lane
}

fn allow(lane: &mut Lane, decided: &Decided) {
    let id = lane.decision(decided, json!({}));
    lane.forward(&id);
}

#[test]
fn an_allow_without_evidence_is_accepted_only_before_the_first_that_has_it() {
    let mut texts = Texts::default();
    let mut lane = mixed(&mut texts);
    let report = check(&Export::of(&[&lane], &texts));
    assert_eq!((&report.findings[..], report.counts.without_access), (&[lacks()][..], 1));
    assert_eq!(report.json()["findings"][0]["code"], "record_no_access");
    assert_eq!(report.json()["counts"]["without_access"], 1);
    let text = lacks().text();
    assert!(text.en.contains("without saying by which access rows"), "{}", text.en);
    assert!(text.ko.contains("접근 권한 항목으로 허용했는지"), "{}", text.ko);

    // A part that begins behind the evidence shows none: nothing can be said but how many.
    lane.from = 7;
    let mut shown = Texts::default();
    shown.decide("JP", "d@1");
    shown.decide("KR", "d@1");
    let report = check(&Export::of(&[&lane], &shown));
    assert_eq!((&report.findings[..], report.counts.without_access), (&[][..], 1));

    // What another lane keeps says nothing of this one: another gateway may have written it.
    let mut texts = Texts::default();
    let [bare, kept] = [None, LLAMA].map(|about| texts.decide_let_in("KR", "d@1", about));
    let (mut first, mut second) = (Lane::open(0), Lane::open(1));
    allow(&mut first, &kept);
    first.announce(&kept);
    allow(&mut second, &bare);
    first.checkpoints = vec![first.leaves.len()];
    second.checkpoints = vec![second.leaves.len()];
    let report = check(&Export::of(&[&first, &second], &texts));
    assert_eq!((report.exit(), report.counts.without_access), (Exit::Whole, 1));
    let said = report.counts.unproved().unwrap();
    assert!(said.en.starts_with("1 allowing records carry no access evidence"), "{}", said.en);
    assert!(said.ko.starts_with("허용 기록 1건에는 접근 권한 근거가 없으며"), "{}", said.ko);
    first.checkpoints = vec![first.leaves.len()];
    let only_kept =
        Texts(texts.0.into_iter().filter(|(digest, _)| names(&first, digest)).collect());
    assert_eq!(check(&Export::of(&[&first], &only_kept)).counts.unproved(), None, "nothing to say");
}

/// The allow that stands behind the one with evidence: index 0 opens the lane, an allow takes three, a refusal one.
fn lacks() -> Finding {
    at(0, 8, RecordFault::NoAccess)
}

fn names(lane: &Lane, digest: &[u8; 32]) -> bool {
    let text = Digest(*digest).to_string();
    lane.leaves.iter().any(|leaf| std::str::from_utf8(leaf).unwrap().contains(&text))
}

/// A witness that was started anew in between remembers what the lane had.
#[test]
fn a_follower_remembers_it_from_piece_to_piece_and_over_a_restart() {
    let mut texts = Texts::default();
    let lane = mixed(&mut texts);
    let origin = "gw.example/log";
    let piece = |follower: &mut Follower, to: usize| -> Report {
        let from = usize::try_from(follower.size(0)).unwrap();
        let mut tree = Frontier::new();
        lane.leaves[..to].iter().for_each(|leaf| tree.append(Hash::leaf(leaf)));
        let leaves = &lane.leaves[from..to];
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| Hash::leaf(leaf)).collect();
        let piece = Piece { lane: 0, leaves, hashes: &hashes, root: tree.root(), now_ns: 0 };
        follower.follow(&piece, &Shelf(&texts))
    };
    let lacking =
        |report: &Report| report.findings.iter().filter(|found| **found == lacks()).count();
    let mut follower = Follower::new(origin, None);
    let before = piece(&mut follower, 4);
    assert_eq!(before.counts.without_access, 1);
    assert!(!follower.written().contains("evidence"), "as it was written before there was any");
    let mut follower = Follower::resume(origin, None, &follower.written()).unwrap();
    assert_eq!(lacking(&piece(&mut follower, 8)), 0);
    let mut follower = Follower::resume(origin, None, &follower.written()).unwrap();
    let report = piece(&mut follower, lane.leaves.len());
    assert_eq!((lacking(&report), report.counts.without_access), (1, 0), "{:?}", report.findings);
}

/// The texts that a follower asks for.
pub struct Shelf<'t>(pub &'t Texts);

impl Kept for Shelf<'_> {
    fn has(&self, digest: &Digest) -> bool {
        self.0.0.contains_key(&digest.0)
    }

    fn text(&self, digest: &Digest) -> Option<Vec<u8>> {
        Some(self.0.0.get(&digest.0)?.1.clone())
    }
}

impl Beside for Shelf<'_> {
    fn root(&self, _: u16, _: u64) -> Option<Hash> {
        None
    }
}
