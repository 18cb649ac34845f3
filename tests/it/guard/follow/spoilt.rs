//! What is served is not what was signed, or is kept back: that is no fork, hides none, and is not lived with for long.

use tlog::Hash;

use super::*;

impl Follower {
    async fn says(&self, trouble: &'static str) {
        eventually(trouble, async || {
            let stands = self.guard.stands();
            stands
                .iter()
                .any(|lane| lane.trouble.as_ref().is_some_and(|said| said.contains(trouble)))
        })
        .await;
        assert!(self.guard.stands().iter().all(|lane| lane.forked.is_none()), "that is no fork");
    }

    /// Longer than receipts alone are enough.
    fn time_passes(&self) {
        self.site.clock.set(self.site.clock.unix_ns() + 301 * NS);
    }

    async fn opens_again(self) {
        self.caught_up().await;
        let proof = self.site.allow().await;
        assert_eq!(self.send(&proof).await, (200, "let in".to_owned()));
        self.site.lab.stop().await;
    }

    /// And what is served is the log's own again.
    async fn opens_nothing_after_a_while(&self) {
        self.time_passes();
        let proof = self.site.allow().await;
        assert_eq!(self.send(&proof).await, (503, "log_not_followed".to_owned()));
        self.served.spoil(|_, _| ());
    }
}

/// The first full tile of a lab's lane.
async fn first_tile(lab: &Lab) -> Vec<u8> {
    let batches: Vec<Vec<u8>> =
        sqlx::query_scalar("select leaves from log_batch order by first_index")
            .fetch_all(&lab.pool)
            .await
            .unwrap();
    let leaves = batches.iter().flat_map(|bytes| tlog::bundle::leaves(bytes));
    let hashes: Vec<Hash> = leaves.take(256).map(|leaf| Hash::leaf(leaf.unwrap())).collect();
    assert_eq!(hashes.len(), 256);
    Hash::concat(&hashes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_of_the_other_history_does_not_hide_the_fork() {
    let (it, _fresh, forked) = Follower::beside_a_fork(1).await;
    for _ in 0..200 {
        allow(&it.site, &forked).await;
    }
    let proof = allow(&it.site, &forked).await;
    for _ in 0..80 {
        allow(&it.site, &forked).await;
    }
    let tile = first_tile(&forked).await;
    // The tile above it, which leads to the signed root, stays the log's own.
    it.served.spoil(move |path, body| {
        if path.ends_with("/tile/0/000") {
            body.clone_from(&tile);
        }
    });
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    // Not before its first tile is full.
    it.served.is_away(true);
    for _ in 0..600 {
        it.site.allow().await;
    }
    it.served.is_away(false);
    it.says("do not lead to the signed root").await;
    it.opens_nothing_after_a_while().await;
    it.refuses("receipt_of_a_forked_log").await;
    forked.stop().await;
    it.site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_tile_is_a_trouble_and_no_fork() {
    let it = Follower::open().await;
    let mut old = it.site.allow().await;
    for _ in 0..20 {
        old = it.site.allow().await;
    }
    for _ in 0..600 {
        it.site.allow().await;
    }
    it.caught_up().await;
    it.served.spoil(|path, body| {
        if path.ends_with("/tile/0/000") {
            body[0] ^= 1;
        }
    });
    // It cannot be proven now: let in for a while, and to be proven later.
    assert_eq!(it.send(&old).await, (200, "let in".to_owned()));
    it.site.allow().await;
    it.says("do not lead to the signed root").await;
    it.opens_nothing_after_a_while().await;
    it.opens_again().await;
}

/// The log answers, and shows what it showed before, while receipts come of trees that nobody else sees.
#[tokio::test(flavor = "multi_thread")]
async fn a_published_log_that_stands_still_is_not_enough_for_long() {
    let (it, _fresh, forked) = Follower::beside_a_fork(1).await;
    let shown: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    it.served.spoil(move |path, body| {
        if path.ends_with("/checkpoint") {
            body.clone_from(shown.lock().unwrap().get_or_insert_with(|| body.clone()));
        }
    });
    for _ in 0..20 {
        allow(&it.site, &forked).await;
    }
    let proof = allow(&it.site, &forked).await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    it.time_passes();
    it.says("is not shown").await;
    // A look keeps what waits.
    let is_looked_at = async || it.guard.stands().iter().all(|lane| lane.age_s == 0);
    eventually("it is looked at", is_looked_at).await;
    let it = it.restarted();
    assert!(it.guard.stands().iter().any(|lane| !lane.open), "a restart gives it no more time");
    let proof = allow(&it.site, &forked).await;
    assert_eq!(it.send(&proof).await, (503, "log_not_followed".to_owned()));
    // Shown again as it is, with what it has now: that the other is none of it is seen.
    for _ in 0..40 {
        it.site.allow().await;
    }
    it.served.spoil(|_, _| ());
    it.refuses("receipt_of_a_forked_log").await;
    forked.stop().await;
    it.site.lab.stop().await;
}

/// What is published of a lab's lane.
async fn published(lab: &Lab) -> Vec<u8> {
    let mut found = None;
    eventually("a checkpoint", async || {
        found = haetae::audit::checkpoint(&lab.pool, 0, 0).await.unwrap();
        found.is_some()
    })
    .await;
    found.unwrap().1.into_bytes()
}

/// Another replica lags, or a cache keeps what it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_tree_than_before_is_no_fork() {
    let it = Follower::open().await;
    it.site.allow().await;
    it.caught_up().await;
    let before = published(&it.site.lab).await;
    for _ in 0..40 {
        it.site.allow().await;
    }
    it.caught_up().await;
    let looks = Arc::new(Mutex::new(0));
    let count = Arc::clone(&looks);
    it.served.spoil(move |path, body| {
        if path.ends_with("/0/checkpoint") {
            body.clone_from(&before);
            *count.lock().unwrap() += 1;
        }
    });
    eventually("many looks", async || *looks.lock().unwrap() > 5).await;
    it.says("are published").await;
    let proof = it.site.allow().await;
    assert_eq!(it.send(&proof).await, (200, "let in".to_owned()));
    it.opens_nothing_after_a_while().await;
    it.opens_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_tree_of_another_history_is_a_fork() {
    let (it, _fresh, forked) = Follower::beside_a_fork(40).await;
    allow(&it.site, &forked).await;
    let other = published(&forked).await;
    it.served.spoil(move |path, body| {
        if path.ends_with("/0/checkpoint") {
            body.clone_from(&other);
        }
    });
    it.refuses("receipt_of_a_forked_log").await;
    forked.stop().await;
    it.site.lab.stop().await;
}
