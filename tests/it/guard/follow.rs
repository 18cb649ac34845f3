//! A guard that follows the published log: receipts of the tree that everybody sees open its site; of another history they
//! do not, not even once the guard was restarted; and without the log it goes on for a while, and then lets nothing in.

mod spoilt;

use std::sync::mpsc;

use haetae::guard::FollowConfig;
use tokio::task::{block_in_place, spawn_blocking};

use super::*;
use crate::support::served::Served;

/// A guard of the site that follows what is served.
struct Follower {
    site: Site,
    served: Served,
    config: Config,
    guard: Arc<Guard>,
    stop: CancellationToken,
}

impl Follower {
    async fn open() -> Self {
        // One lane, so that it is known which is longer.
        let site = Site::with(1).await;
        let (served, url) = Served::start(&site.lab.pool).await;
        let mut config = site.config.clone();
        config.journal = config.journal.with_extension("following");
        let state = config.journal.with_extension("followed");
        let remote = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let log = ORIGIN.to_owned();
        config.follow = Some(FollowConfig { log, remote, state, every_s: 1, alone_s: 300 });
        let stop = CancellationToken::new();
        let guard = start(&config, &site.clock, &stop);
        Self { site, served, config, guard, stop }
    }

    async fn send(&self, proof: &Proof) -> (u16, String) {
        let (status, code) = send(&self.guard, request(proof)).await;
        (status.as_u16(), code)
    }

    /// The next tile that is asked for waits until what this gives, once it is asked for, is dropped.
    fn hold_a_tile(&self) -> impl Future<Output = mpsc::Sender<()>> + use<> {
        let ((asked, is_asked), (answer, may_answer)) = (mpsc::channel(), mpsc::channel());
        let waits = Mutex::new(Some((asked, may_answer)));
        self.served.spoil(move |path, _| {
            // Of several that are asked for at once, one waits.
            let first = path.contains("/tile/").then(|| waits.lock().unwrap().take());
            let Some((asked, may_answer)) = first.flatten() else { return };
            asked.send(()).unwrap();
            let _there_is_nobody_to_say_so = block_in_place(|| may_answer.recv());
        });
        async move {
            spawn_blocking(move || is_asked.recv()).await.unwrap().unwrap();
            answer
        }
    }

    /// Waits until both lanes were followed to what is committed now.
    async fn caught_up(&self) {
        eventually("the log is followed", async || {
            let sizes: Vec<i64> = sqlx::query_scalar("select size from log_head order by lane")
                .fetch_all(&self.site.lab.pool)
                .await
                .unwrap();
            let stands = self.guard.stands();
            stands.iter().zip(sizes).all(|(lane, size)| i64::try_from(lane.size).unwrap() == size)
        })
        .await;
    }

    /// A guard that followed so many records, and a lab with another history.
    async fn beside_a_fork(records: usize) -> (Self, Fresh, Lab) {
        let it = Self::open().await;
        for _ in 0..records {
            it.site.allow().await;
        }
        it.caught_up().await;
        let (fresh, forked) = it.fork().await;
        (it, fresh, forked)
    }

    /// Another process, with the same state.
    fn restarted(self) -> Self {
        self.stop.cancel();
        let (mut config, stop) = (self.config, CancellationToken::new());
        config.journal = config.journal.with_extension("again");
        let guard = start(&config, &self.site.clock, &stop);
        Self { config, guard, stop, ..self }
    }

    /// The same key signs another history.
    async fn fork(&self) -> (Fresh, Lab) {
        let fresh = fresh_database().await;
        let (clock, key) = (self.site.clock.clone(), Arc::clone(&self.site.lab.key));
        let lab = Lab::start_at(&fresh.pool, 1, clock, key).await;
        (fresh, lab)
    }

    async fn refuses(&self, code: &'static str) {
        eventually(code, async || {
            let proof = self.site.allow().await;
            self.send(&proof).await.1 == code
        })
        .await;
        let kept = entries(&self.config.journal).unwrap();
        assert!(kept.iter().any(|entry| entry.why.as_deref() == Some(code)), "it is recorded");
    }
}

async fn allow(site: &Site, lab: &Lab) -> Proof {
    site.clock.set(site.clock.unix_ns() + 1_000);
    let mut draft = draft(Outcome::Allow, 0);
    draft.body_digest = hex::encode(Sha256::digest(BODY));
    draft.body_bytes = BODY.len() as u64;
    let Recorded::Permit(permit) = lab.audit.record(draft).await.unwrap() else { panic!() };
    permit.proof().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_the_published_log_open_the_site() {
    let it = Follower::open().await;
    for _ in 0..3 {
        for _ in 0..40 {
            let proof = it.site.allow().await;
            assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
        }
        it.caught_up().await;
    }
    // Older than what was followed: proven at once to be a part of it.
    let proof = it.site.allow().await;
    for _ in 0..10 {
        it.site.allow().await;
    }
    it.caught_up().await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    assert!(it.guard.stands().iter().all(|lane| lane.open && lane.trouble.is_none()));
    it.site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_a_history_that_nobody_else_sees_closes_its_lane() {
    let (it, _fresh, forked) = Follower::beside_a_fork(40).await;
    // Signed with the real key, in time, for this very request: and of another tree.
    let proof = allow(&it.site, &forked).await;
    assert_eq!(it.send(&proof).await, (403, "receipt_of_a_forked_log".to_owned()));
    assert_eq!(it.site.reached(), 0);
    let stands = it.guard.stands();
    let closed = stands.iter().find(|lane| !lane.open).unwrap();
    assert!(closed.forked.as_deref().unwrap().contains("does not extend"), "{closed:?}");
    it.refuses("receipt_of_a_forked_log").await;
    forked.stop().await;

    // A restart forgets nothing.
    let it = it.restarted();
    assert_eq!(it.guard.stands().iter().filter(|lane| !lane.open).count(), 1);
    it.site.lab.stop().await;
}

/// The disk was full when it was found: as soon as there is room it is kept, though nothing else changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_could_not_be_kept_is_kept_as_soon_as_it_can_be() {
    let (it, _fresh, forked) = Follower::beside_a_fork(40).await;
    let state = it.config.follow.as_ref().unwrap().state.clone();
    // What nothing can be written over, in the place of a full disk.
    while std::fs::create_dir(&state).is_err() {
        let _written_again_meanwhile = std::fs::remove_file(&state);
    }
    let proof = allow(&it.site, &forked).await;
    assert_eq!(it.send(&proof).await, (403, "receipt_of_a_forked_log".to_owned()));
    forked.stop().await;
    std::fs::remove_dir(&state).or_else(|_| std::fs::remove_dir_all(&state)).unwrap();
    eventually("it is kept", async || state.is_file()).await;
    let it = it.restarted();
    assert_eq!(it.guard.stands().iter().filter(|lane| !lane.open).count(), 1);
    it.site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_ahead_of_the_log_is_found_out_at_the_next_look() {
    let (it, _fresh, forked) = Follower::beside_a_fork(1).await;
    for _ in 0..30 {
        allow(&it.site, &forked).await;
    }
    let proof = allow(&it.site, &forked).await;
    // It might be of a tree that is not published yet: let in, and held against the log when that has grown past it.
    it.send(&proof).await;
    for _ in 0..60 {
        it.site.allow().await;
    }
    it.refuses("receipt_of_a_forked_log").await;
    forked.stop().await;
    it.site.lab.stop().await;
}

/// A receipt's tree needs tiles that the look, at a log of three tiles, does not ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_comes_during_a_look_is_held_against_the_log_at_the_next() {
    let (it, proof, answer) = long_look(false).await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    drop(answer);
    // Twice: that it was held against the log, too.
    it.caught_up().await;
    it.site.allow().await;
    it.caught_up().await;
    let proof = it.site.allow().await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    it.site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_history_that_comes_during_a_look_is_found_out() {
    let (it, proof, answer) = long_look(true).await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    drop(answer);
    it.refuses("receipt_of_a_forked_log").await;
    it.site.lab.stop().await;
}

/// A guard whose look waits for a tile until what comes back with it is dropped, and a receipt of a tree of some 300 records
/// of 900, or of as many of another history.
async fn long_look(is_forked: bool) -> (Follower, Proof, mpsc::Sender<()>) {
    let it = Follower::open().await;
    it.site.allow().await;
    it.caught_up().await;
    it.served.is_away(true);
    let (_fresh, forked) = it.fork().await;
    let lab = if is_forked { &forked } else { &it.site.lab };
    let mut proof = allow(&it.site, lab).await;
    for _ in 0..300 {
        proof = allow(&it.site, lab).await;
    }
    forked.stop().await;
    for _ in 0..600 {
        it.site.allow().await;
    }
    let held = it.hold_a_tile();
    it.served.is_away(false);
    let answer = held.await;
    assert!(
        it.guard.stands().iter().all(|lane| lane.size < 10),
        "it was not followed that far yet"
    );
    (it, proof, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_is_found_during_a_look_stays_one() {
    let (it, _fresh, forked) = Follower::beside_a_fork(40).await;
    let proof = allow(&it.site, &forked).await;
    let held = it.hold_a_tile();
    it.site.allow().await;
    let answer = held.await;
    assert_eq!(it.send(&proof).await, (403, "receipt_of_a_forked_log".to_owned()));
    drop(answer);
    // The look comes to its end, and by itself found nothing.
    it.caught_up().await;
    let proof = it.site.allow().await;
    assert_eq!(it.send(&proof).await, (403, "receipt_of_a_forked_log".to_owned()));
    forked.stop().await;
    it.site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_log_that_does_not_extend_what_was_followed_opens_nothing() {
    let (it, fresh, forked) = Follower::beside_a_fork(1).await;
    for _ in 0..30 {
        allow(&it.site, &forked).await;
    }
    it.served.show(&fresh.pool).await;
    it.refuses("receipt_of_a_forked_log").await;
    forked.stop().await;
    it.site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_log_receipts_are_enough_for_a_while_and_then_nothing_is_let_in() {
    let it = Follower::open().await;
    it.site.allow().await;
    it.caught_up().await;
    it.served.is_away(true);
    let troubled = async || it.guard.stands().iter().all(|lane| lane.trouble.is_some());
    eventually("the trouble is said", troubled).await;
    let proof = it.site.allow().await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    it.site.clock.set(it.site.clock.unix_ns() + 301 * NS);
    let proof = it.site.allow().await;
    assert_eq!(it.send(&proof).await, (503, "log_not_followed".to_owned()));
    assert!(it.guard.stands().iter().all(|lane| !lane.open));
    it.served.is_away(false);
    eventually("it is followed again", async || it.guard.stands().iter().all(|lane| lane.open))
        .await;
    let proof = it.site.allow().await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    it.site.lab.stop().await;
}
