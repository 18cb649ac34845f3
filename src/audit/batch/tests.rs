//! A batch is what its parts say: places, marks, tiles, texts once; and what one leaf costs.

use bytes::Bytes;
use tokio::sync::oneshot;
use verdict::{decision::Outcome, reason::Reason};

use super::*;
use crate::audit::Draft;

fn tip() -> Tip {
    Tip {
        lane: 0,
        epoch: 1,
        frontier: Frontier::new(),
        edge: tile::Edge::new(),
        last_ns: 0,
        version: 0,
        erasures: 0,
        behind: false,
    }
}

fn memory() -> Memory {
    let keys = [("test".to_owned(), zeroize::Zeroizing::new([7; 32]))];
    Memory::new(Privacy::of(&keys).unwrap().map(Arc::new))
}

/// `count` decisions, and who waits for them.
fn items(count: usize) -> (Items, Vec<impl Sized>) {
    let text = |bytes: &'static [u8]| Arc::new(Text::new(Bytes::from_static(bytes)));
    let (detail, facts, bundle) = (text(b"detail"), text(b"facts"), text(b"bundle"));
    let draft = || Draft {
        org: "kr-retailer".into(),
        actor: "min-jun.kim@kr-retailer.example".into(),
        actor_kind: "human",
        actor_place: Some("KR".into()),
        credential: "token",
        issuer: Some("https://login.kr-retailer.example/realms/main".into()),
        token_digest: None,
        certificate_id: None,
        network: "203.0.113.0/24".to_owned(),
        protocol: "openai",
        operation: "chat.completions",
        service: "assistant".into(),
        datasets: vec!["kr-med/ct-2026".into()],
        purpose: Some("dpv:ServiceProvision".into()),
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        body_digest: String::new(),
        body_bytes: 12_345,
        outcome: Outcome::Deny,
        reason: Reason::NoGround,
        rule: Some("R02".into()),
        site: None,
        detail: Arc::clone(&detail),
        facts: Arc::clone(&facts),
        bundle: Arc::clone(&bundle),
        judged_at: 0,
        fact_version: 0,
        valid_until: None,
        retries: None,
        judges_again: None,
        keeps: crate::audit::Keeps::default(),
        retention: crate::audit::Retention::of([]),
        preflight: false,
        witnessed: false,
    };
    let mut waiting = Vec::new();
    let mut request = || {
        let (reply, answer) = oneshot::channel();
        waiting.push(answer);
        let decision = Decision { draft: draft(), body: [1; 32], token: Some([2; 32]) };
        Request { decision, reply, slot: None }
    };
    let decisions = (0..count).map(|_| request()).collect();
    (Items { notices: Vec::new(), decisions }, waiting)
}

/// A batch of `count` decisions that begins at an index.
pub fn committed(first: usize, count: usize) -> Arc<Committed> {
    let mut tip = tip();
    let before = vec![Hash::EMPTY; first];
    tip.frontier = tip.frontier.append_batch(&before).into_frontier();
    tip.edge = tile::Edge::from_partials(first as u64, vec![before]).unwrap();
    let (items, _waiting) = items(count);
    let (batch, _) = build(&tip, items, Facts::default(), 1_000, &mut memory()).unwrap();
    Arc::new(batch.unwrap().committed(String::new()).0)
}

#[test]
fn holds_each_text_once_and_full_tiles_only() {
    let (items, _waiting) = items(600);
    let mut memory = memory();
    let (batch, rest) = build(&tip(), items, Facts::default(), 1_000, &mut memory).unwrap();
    let batch = batch.unwrap();
    assert!(rest.is_empty());
    assert_eq!(batch.records(), 600);
    assert_eq!(batch.marks.len(), 600 * MARK_BYTES);
    assert_eq!(batch.texts.len(), 3);
    assert_eq!(batch.privates.len(), 1);
    let private = &batch.privates[0];
    assert_eq!((private.field, private.index), ("actor", 0));
    assert_eq!(private.made.as_ref().map(|made| made.id), Some(private.key));
    assert_eq!(batch.tiles.iter().map(|(id, _)| id.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(batch.tip.last_ns, 1_599);
    let mut frontier = Frontier::new();
    tlog::bundle::leaves(&batch.leaves).for_each(|leaf| frontier.append(Hash::leaf(leaf.unwrap())));
    assert_eq!(frontier.root(), batch.tree.root());
}

/// The clock was an hour ahead while it was judged, and is right when it is recorded.
#[test]
fn what_was_judged_for_an_instant_that_is_yet_to_come_is_judged_anew() {
    let second = 1_763_900_000;
    let recorded = |judged_at: i64, last_ns: i64| {
        let (mut items, _waiting) = items(1);
        let (reply, mut answer) = oneshot::channel();
        items.decisions[0].reply = reply;
        items.decisions[0].decision.draft.judged_at = judged_at;
        let tip = Tip { last_ns, ..tip() };
        let now_ns = second * NS;
        build(&tip, items, Facts::default(), now_ns, &mut memory()).unwrap();
        answer.try_recv().ok().map(|answer| answer.unwrap_err())
    };
    let anew = Some(RecordError::FactsMoved { now: 0 });
    assert_eq!(recorded(second + 3_600, 0), anew);
    assert_eq!(recorded(second + 61, 0), anew);
    // Others of that hour were recorded, so its own record comes after them.
    assert_eq!(recorded(second + 3_600, (second + 3_600) * NS), None);
    assert_eq!(recorded(second + 60, 0), None);
}

#[test]
fn keeps_nothing_of_who_is_in_no_record_and_one_key_of_who_is() {
    let (mut items, _waiting) = items(2);
    // The first is too long to be written.
    items.decisions[0].decision.draft.actor = "too-long".into();
    items.decisions[0].decision.draft.service = "s".repeat(DECISION_BYTES_MAX).into();
    let mut memory = memory();
    let (batch, _) = build(&tip(), items, Facts::default(), 1_000, &mut memory).unwrap();
    let batch = batch.unwrap();
    assert_eq!((batch.records(), batch.privates.len()), (1, 1));

    // The month after: another digest, under the same key.
    let (items, _waiting) = super::tests::items(1);
    let month = 32 * 86_400 * NS;
    let (next, _) = build(&batch.tip, items, Facts::default(), month, &mut memory).unwrap();
    let (before, after) = (&batch.privates[0], &next.unwrap().privates[0]);
    assert_eq!((before.key, &after.made), (after.key, &None));
    assert_ne!(before.digest, after.digest);
}

#[test]
#[ignore = "a measurement: run it with --release --ignored --nocapture"]
fn pace_of_building() {
    let mut memory = memory();
    let (mut tip, mut took) = (tip(), std::time::Duration::ZERO);
    for _ in 0..200 {
        let (items, _waiting) = items(500);
        let began = std::time::Instant::now();
        let (batch, _) = build(&tip, items, Facts::default(), 1_000, &mut memory).unwrap();
        took += began.elapsed();
        tip = batch.unwrap().tip;
    }
    println!("{:.2} us to write, hash and integrate a leaf", took.as_secs_f64() * 1e6 / 100_000.0);
}
