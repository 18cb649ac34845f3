//! What goes out by the clock: checkpoints for the world, the minute's strangers, heartbeats, a look at the database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tlog::{Note, VerifierKey};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{
    health::{Look, Signed},
    key::Key,
    leaf::Notice,
    recorder::Shared,
    tables,
};

mod look_back;
mod store;

/// Until the room stops and its lanes are closed: every second the newest checkpoints, every minute the strangers.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut tick = interval(CHECKPOINT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut published = Published::default();
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
    let mut looked = Looked::new(Instant::now());
    while !shared.stop.is_cancelled() {
        tokio::select! {
            _ = tick.tick() => {}
            // A lane was won or lost: the database may have come or gone.
            _ = held.changed() => {}
            () = shared.stop.cancelled() => {}
        }
        let unknown = |cause| Look { causes: vec![cause], durability: "unknown".to_owned() };
        let asked = async {
            let mut look = store::settings(&shared.pool, shared.config.durability).await?;
            let changed = tables::changed(&shared.pool).await?;
            let hindering = changed.as_ref().filter(|changed| !changed.is_later);
            look.causes.extend(hindering.map(|changed| changed.about.clone()));
            Ok::<_, sqlx::Error>((look, changed))
        };
        let look = match timeout(QUERY_MAX, asked).await {
            Ok(Ok((look, changed))) => {
                tell_changed(&shared, &mut looked.changed, changed.map(|changed| changed.about));
                look
            }
            Ok(Err(cause)) => unknown(format!("the audit database cannot be asked: {cause}")),
            Err(_) => unknown("the audit database does not answer".to_owned()),
        };
        shared.board.database(look);
        let back = match timeout(LOOK_BACK_MAX, look_back::look_back(&shared, &keys)).await {
            Ok(Ok(Ok(()))) => Ok(()),
            // One lane is no reason to serve nobody from the others.
            Ok(Ok(Err(cause))) => Err((false, cause)),
            Ok(Err(cause)) => Err((true, cause.to_string())),
            Err(_) => Err((true, "no answer from the database".to_owned())),
        };
        let all = matches!(back, Err((true, _)));
        let blind = looked.note(back.map_err(|(_, cause)| cause), Instant::now());
        if let Some(about) = blind.as_ref().filter(|_| !looked.told) {
            let about = about.clone();
            let alarm = Notice::Alarm { what: "not_looked_back", about, decision: None };
            looked.told = shared.queue.note(alarm);
        }
        shared.board.unseen(blind.filter(|_| all));
        let (decisions, notices) = shared.queue.depth();
        shared.metrics.look(decisions + notices, shared.board.lanes_held());
    }
}

/// Into the log once for each state of the tables that is not as they were made.
fn tell_changed(shared: &Shared, told: &mut Option<String>, changed: Option<String>) {
    if let Some(about) = changed.clone().filter(|_| *told != changed) {
        tracing::error!(about, "the log's tables were changed");
        let alarm = Notice::Alarm { what: "tables_changed", about, decision: None };
        if !shared.queue.note(alarm) {
            return; // the next look tells it
        }
    }
    *told = changed;
}

/// When somebody could last hold the database against what is known of it.
#[derive(Debug)]
struct Looked {
    last: Instant,
    /// The log was told of it.
    told: bool,
    /// What the log was told of the tables.
    changed: Option<String>,
}

impl Looked {
    const fn new(now: Instant) -> Self {
        Self { last: now, told: false, changed: None }
    }

    /// What speaks against the log when nobody can look for longer than a database that was rolled back may go unseen.
    fn note(&mut self, back: Result<(), String>, now: Instant) -> Option<String> {
        let Err(cause) = back else {
            (self.last, self.told) = (now, false);
            return None;
        };
        tracing::warn!(cause, "nobody looked whether the database still has what was committed");
        let unseen = now.duration_since(self.last);
        (unseen >= UNSEEN_MAX).then(|| {
            let seconds = unseen.as_secs();
            format!("for {seconds} s nobody could look whether the database still has what was committed: {cause}")
        })
    }
}

/// By lane.
#[derive(Debug, Default)]
struct Published {
    /// Size of the last checkpoint that is there as it was signed.
    sizes: BTreeMap<u16, u64>,
    /// Why one is not.
    swallowed: BTreeMap<u16, String>,
}

impl Published {
    /// What the database has of a checkpoint after it was published.
    fn read_back(&mut self, signed: &Signed, kept: Option<(String, String)>) {
        let Signed { lane, size, .. } = *signed;
        let about = match kept {
            Some(kept) if is_kept(signed, &kept) => {
                self.swallowed.remove(&lane);
                self.sizes.insert(lane, size);
                return;
            }
            Some(_) => "is there as another one",
            None => "is not there",
        };
        let cause = format!(
            "of lane {lane} the signed checkpoint of size {size} {about} after the database took it: look for triggers and rules of \
             `log_checkpoint`"
        );
        if !self.swallowed.contains_key(&lane) {
            tracing::error!(cause, "a checkpoint is not published");
        }
        self.swallowed.insert(lane, cause);
    }
}

/// Whether what is kept says what was signed. While keys change it may have been signed by another one, of another replica.
fn is_kept(signed: &Signed, (note, vkey): &(String, String)) -> bool {
    if *note == signed.note {
        return true;
    }
    let (Ok(kept), Ok(ours)) = (note.parse::<Note>(), signed.note.parse::<Note>()) else {
        return false;
    };
    let key = vkey.parse::<VerifierKey>();
    kept.text() == ours.text() && key.is_ok_and(|key| kept.verify([&key]).is_ok())
}

async fn checkpoints(shared: &Arc<Shared>, published: &mut Published) {
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
        if published.sizes.get(&signed.lane) == Some(&signed.size) {
            continue;
        }
        // If we stop here, the next start publishes one again: the same tree, the same signature.
        match timeout(QUERY_MAX, store::publish(shared, &signed)).await {
            Ok(Ok(kept)) => published.read_back(&signed, kept),
            Ok(Err(cause)) => tracing::warn!(%cause, "a checkpoint is not published"),
            Err(_) => tracing::warn!("a checkpoint is not published: no answer from the database"),
        }
    }
    shared.board.unpublished(published.swallowed.values().next().cloned());
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
/// A gateway in service finds within a minute that a database was rolled back, or says that it cannot: the look after this one may
/// begin ten seconds later and take 22.
const UNSEEN_MAX: Duration = Duration::from_secs(25);
const QUERY_MAX: Duration = Duration::from_secs(2);
/// Each lane has its own time within it.
const LOOK_BACK_MAX: Duration = Duration::from_secs(20);
/// What waits is written within this time, or the last checkpoint is made by the next start.
const CLOSE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_look_says_so_within_a_minute_and_until_it_can() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut looked = Looked::new(began);
        let failed = || Err("permission denied".to_owned());
        assert_eq!(looked.note(failed(), at(24)), None);
        let longest_look = SETTINGS_EVERY + QUERY_MAX + LOOK_BACK_MAX;
        let said = looked.note(failed(), at(24) + longest_look).unwrap();
        assert!(said.starts_with("for 56 s ") && said.ends_with("permission denied"), "{said}");
        looked.told = true;
        assert!(looked.note(failed(), at(70)).is_some());
        assert_eq!((looked.note(Ok(()), at(80)), looked.told), (None, false));
        assert_eq!(looked.note(failed(), at(104)), None);
    }
}
