//! What goes out by the clock: checkpoints for the world, the minute's strangers, heartbeats, a look at the database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{health::Look, key::Key, recorder::Shared};

mod look_back;
mod store;

/// Until the room stops and its lanes are closed: every second the newest checkpoints, every minute the strangers.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut tick = interval(CHECKPOINT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut published = BTreeMap::new();
    let (mut minute, mut beat) = (shared.clock.unix_s().div_euclid(60), 0_u64);
    while !shared.stop.is_cancelled() {
        tokio::select! { _ = tick.tick() => {}, () = shared.stop.cancelled() => {} }
        checkpoints(&shared, &mut published).await;
        let now = shared.clock.unix_s();
        // On the way out the lane that closes takes them: from here they might come after its last record.
        if now.div_euclid(60) != minute && !shared.stop.is_cancelled() {
            minute = now.div_euclid(60);
            shared.strangers.take(now).map(|notice| shared.queue.note(notice));
        }
        beat += 1;
        if beat % HEARTBEAT_CHECKPOINTS == 0 {
            heartbeat(&shared).await;
        }
    }
    let mut held = shared.board.watch();
    let _ = timeout(CLOSE_MAX, held.wait_for(|held| *held == 0)).await;
    checkpoints(&shared, &mut published).await;
}

/// Looks at the database's settings every ten seconds: a log on a database that forgets is not a log.
pub(super) async fn watch(shared: Arc<Shared>, keys: Arc<[Key]>) {
    let mut tick = interval(SETTINGS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut held = shared.board.watch();
    while !shared.stop.is_cancelled() {
        tokio::select! {
            _ = tick.tick() => {}
            // A lane was won or lost: the database may have come or gone.
            _ = held.changed() => {}
            () = shared.stop.cancelled() => {}
        }
        let unknown = |cause| Look { causes: vec![cause], durability: "unknown".to_owned() };
        let asked = store::settings(&shared.pool, shared.config.durability);
        let look = match timeout(QUERY_MAX, asked).await {
            Ok(Ok(look)) => look,
            Ok(Err(cause)) => unknown(format!("the audit database cannot be asked: {cause}")),
            Err(_) => unknown("the audit database does not answer".to_owned()),
        };
        shared.board.database(look);
        match timeout(QUERY_MAX, look_back::look_back(&shared, &keys)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => {
                tracing::warn!(%cause, "nobody looked whether the database still has what was committed");
            }
            Err(_) => tracing::warn!(
                "nobody looked whether the database still has what was committed: no answer"
            ),
        }
        let (decisions, notices) = shared.queue.depth();
        shared.metrics.look(decisions + notices, shared.board.lanes_held());
    }
}

async fn checkpoints(shared: &Arc<Shared>, published: &mut BTreeMap<u16, u64>) {
    let signed = shared.board.signed();
    // Remembered before the world sees it. If we stop between, we know more than was published.
    let water = Arc::clone(shared);
    let written = tokio::task::spawn_blocking(move || water.water.write()).await;
    let cause = match written {
        Ok(Ok(())) => None,
        Ok(Err(cause)) => Some(format!("the high-water file cannot be written: {cause}")),
        Err(_) => Some("the high-water file was not written".to_owned()),
    };
    let remembered = cause.is_none();
    shared.board.water(cause);
    if !remembered {
        return;
    }
    for signed in signed {
        let last = published.entry(signed.lane).or_insert(0);
        if *last == signed.size {
            continue;
        }
        // If we stop here, the next start publishes one again: the same tree, the same signature.
        match timeout(QUERY_MAX, store::publish(shared, &signed)).await {
            Ok(Ok(())) => *last = signed.size,
            Ok(Err(cause)) => tracing::warn!(%cause, "a checkpoint is not published"),
            Err(_) => tracing::warn!("a checkpoint is not published: no answer from the database"),
        }
    }
}

async fn heartbeat(shared: &Shared) {
    if shared.board.lanes_held() == 0 {
        return;
    }
    if let Ok(Ok(heads)) = timeout(QUERY_MAX, store::heads(&shared.pool)).await {
        shared.board.next_beat(heads);
    }
}

const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// Every 10 s, in one of the lanes held, by turns: rolling back one lane contradicts the others.
const HEARTBEAT_CHECKPOINTS: u64 = 10;
const SETTINGS_EVERY: Duration = Duration::from_secs(10);
const QUERY_MAX: Duration = Duration::from_secs(2);
/// What waits is written within this time, or the last checkpoint is made by the next start.
const CLOSE_MAX: Duration = Duration::from_secs(10);
