//! The gateway's side: has the right bundles at hand before they are needed, and says whether what is in force is in order.
//!
//! One task looks at every change of the facts and once a second. It follows the history and vouches for a version only if
//! its row follows from the one before, those signed it who must, and it keeps the canaries of the bundle that it replaced; it
//! loads and tries bundles that may soon be in force,
//! away from requests; it ends a break-glass whose time is over; it tells the others how it stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry as MetricsRegistry;
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::metrics::Metrics;
use super::promise::{self, Promises};
use super::replica::{self, Replica};
use super::{Chain, Enacted, How, MandateError, store};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::policy::{Bundle, BundleError, Folder, Policy, Shelved};
use crate::registry::{InForce, Registry};

/// The keeper of this process, as others see it.
#[derive(Debug, Clone)]
pub struct Mandate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    metrics: Metrics,
    health: Mutex<Health>,
}

/// How the policy stands, for `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether there is a bundle to judge with.
    pub ready: bool,
    /// Which is in force, or why it cannot be used; loud while it is a break-glass.
    pub cause: String,
}

/// What a keeper works with.
pub struct Parts {
    pub pool: PgPool,
    pub clock: Clock,
    pub policy: Arc<Policy>,
    pub registry: Arc<Registry>,
    pub audit: Arc<Audit>,
}

struct Keeper {
    parts: Parts,
    shared: Arc<Shared>,
    instance: Uuid,
    chain: Option<Chain>,
    /// Of the row that the chain ends with.
    last: Option<Enacted>,
    promises: Promises,
    /// The last error of the database that was told.
    told: Option<String>,
}

impl Mandate {
    /// Looks once, so that a gateway that serves has its bundle, then follows until `stop`.
    pub async fn start(
        parts: Parts,
        instance: Uuid,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared { metrics: Metrics::default(), health: Mutex::default() });
        let mandate = Self(Arc::clone(&shared));
        let (chain, last, told, promises) = (None, None, None, Promises::default());
        let mut keeper = Keeper { parts, shared, instance, chain, last, promises, told };
        // If it takes longer, then it starts unready, and says so.
        let _ = timeout(FIRST_LOOK_MAX, keeper.turn()).await;
        tracker.spawn(stop.run_until_cancelled_owned(keeper.run()));
        mandate
    }

    #[must_use]
    pub fn health(&self) -> Health {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn register(&self, registry: &mut MetricsRegistry) {
        self.0.metrics.register(registry);
    }
}

impl Keeper {
    async fn run(mut self) {
        let mut changed = self.parts.registry.changed();
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                seen = changed.changed() => if seen.is_err() { return },
            }
            self.turn().await;
        }
    }

    async fn turn(&mut self) {
        let error = self.look().await.err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|error| self.told.as_ref() != Some(*error)) {
            tracing::warn!(error, "the policies could not be looked at: what is in force stays");
        }
        self.told = error;
        self.note();
    }

    /// What is in force first: requests may wait for it.
    async fn look(&mut self) -> Result<(), MandateError> {
        let mut moved = self.parts.registry.changed();
        let snapshot = self.parts.registry.current();
        let now = self.parts.clock.unix_s();
        if let Some(named) = snapshot.in_force() {
            self.end_box(named, now).await?;
            self.follow(named, now).await?;
            self.note();
            self.stage(&named.digest, now).await?;
            self.note();
        }
        let mut wanted = replica::store::wanted(&self.parts.pool).await?;
        wanted.truncate(SHELF_MAX);
        let named = snapshot.in_force().map(|named| Arc::clone(&named.digest));
        wanted.extend(
            named.filter(|digest| !wanted.contains(digest)).into_iter().collect::<Vec<_>>(),
        );
        for digest in &wanted {
            // A swap does not wait for what is only likely: that is begun again afterwards.
            tokio::select! {
                biased;
                _ = moved.changed() => return Ok(()),
                staged = self.stage(digest, now) => staged?,
            }
        }
        self.parts.policy.keep(&wanted);
        if let Some(named) = snapshot.in_force() {
            let parts = (&self.parts.pool, &*self.parts.policy);
            self.promises.look(parts, &wanted, &named.digest, now).await?;
        }
        Ok(replica::store::report(&self.parts.pool, &self.as_replica()).await?)
    }

    /// Another version ends a break-glass. Whichever replica sees it first writes it; the others find it written.
    async fn end_box(&self, named: &InForce, now: i64) -> Result<(), MandateError> {
        if named.until.is_none_or(|until| until > now) {
            return Ok(());
        }
        if let Some(version) = store::fall_back(&self.parts.pool, named.since, now).await? {
            tracing::warn!(version, "a break-glass is over: the bundle of before is in force");
        }
        Ok(())
    }

    /// Vouches for the version that put this bundle in force, or says what is wrong with it.
    async fn follow(&mut self, named: &InForce, now: i64) -> Result<(), MandateError> {
        if self.parts.policy.is_vouched(named.since) {
            return Ok(());
        }
        let pool = &self.parts.pool;
        let after = self.chain.as_ref().map_or(0, Chain::version);
        let (approvers, rows) = (store::approvers(pool).await?, store::history(pool, after).await?);
        let (mut chain, rest) = match self.chain.take() {
            Some(chain) => (chain, rows.as_slice()),
            None => Chain::starting(store::deployment(pool).await?, &rows),
        };
        for row in rest {
            let mut next = chain.clone();
            let found = match next.follow(row, &approvers, now).map_err(Wrong::Mandate) {
                // Those of before judge nothing any more.
                Ok(()) if row.version >= named.since => self.promised(row, now).await,
                found => Ok(found),
            };
            let Ok(found) = found else {
                self.chain = Some(chain);
                return found.map(drop);
            };
            chain = next;
            self.told_of(row, found.as_ref().err());
            self.parts.policy.vouch(row.version, found.map_err(|wrong| wrong.why()));
            self.last = Some(row.clone());
        }
        self.chain = Some(chain);
        Ok(())
    }

    /// Whether it keeps what the bundle of before promised.
    async fn promised(&self, row: &Enacted, now: i64) -> Result<Result<(), Wrong>, MandateError> {
        self.stage(&row.bundle, now).await?;
        let parts = (&self.parts.pool, &*self.parts.policy);
        Ok(promise::breaks(parts, row, now).await?.map_or(Ok(()), |why| Err(Wrong::Canaries(why))))
    }

    /// By whom, `haetae policy history` says: log lines go where no erasure follows.
    fn told_of(&self, row: &Enacted, wrong: Option<&Wrong>) {
        let (bundle, version, how) = (&*row.bundle, row.version, row.how.name());
        if let Some(wrong) = wrong {
            let why = wrong.why();
            tracing::error!(bundle, version, how, %why, "a bundle that was put in force is not used: everything is refused");
            self.shared.metrics.refused.inc();
            self.alarm(wrong.alarm(), format!("version {version}, bundle {bundle}: {why}"));
            return;
        }
        self.shared.metrics.swaps.inc();
        if row.how == How::BreakGlass {
            let until = row.until_s.unwrap_or_default();
            tracing::error!(
                bundle,
                version,
                until,
                reason = row.reason,
                "BREAK-GLASS: one person put a bundle in force"
            );
        } else {
            tracing::info!(bundle, version, how, "another bundle is in force");
        }
    }

    /// Loads and tries a bundle, unless it was.
    async fn stage(&self, digest: &Arc<str>, now: i64) -> Result<(), MandateError> {
        if self.parts.policy.staged(digest).is_some() {
            return Ok(());
        }
        let files = store::files(&self.parts.pool, digest).await?;
        let tried = match tried(&files, digest, now).await {
            Ok(bundle) => Shelved::Ready(Arc::new(bundle)),
            Err(error) => {
                let why = short(&error);
                tracing::error!(
                    bundle = &**digest,
                    why,
                    "a bundle cannot be used: it cannot be activated"
                );
                self.shared.metrics.refused.inc();
                self.alarm("bundle_unusable", format!("{digest}: {} faults", error.faults.len()));
                Shelved::Bad(why.into())
            }
        };
        self.parts.policy.stage(digest, tried);
        Ok(())
    }

    fn alarm(&self, what: &'static str, about: String) {
        self.parts.audit.alarm(what, about, None);
    }

    fn as_replica(&self) -> Replica {
        let snapshot = self.parts.registry.current();
        let named = snapshot.in_force();
        let (mut staged, mut bad) = (Vec::new(), Vec::new());
        for (digest, shelved) in self.parts.policy.all_staged() {
            match shelved {
                Shelved::Ready(_) => staged.push(digest.to_string()),
                Shelved::Bad(why) => bad.push((digest.to_string(), why.to_string())),
            }
        }
        let judges =
            named.filter(|named| self.parts.policy.named(&named.digest, named.since).is_ok());
        Replica {
            instance: self.instance,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            bundle: judges.map(|named| Arc::clone(&named.digest)),
            since: judges.map(|named| named.since),
            staged,
            bad,
            breaks: self.promises.broken(),
        }
    }

    /// For `/readyz` and the metrics.
    fn note(&self) {
        let snapshot = self.parts.registry.current();
        let named = snapshot.in_force();
        let judges = match named {
            None => self.parts.policy.own(),
            Some(named) => self.parts.policy.named(&named.digest, named.since),
        };
        let last =
            self.last.as_ref().filter(|last| named.is_some_and(|one| one.since == last.version));
        let glass = last.filter(|last| last.how == How::BreakGlass);
        let cause = match (&judges, named, glass) {
            (Err(unready), _, _) => unready.to_string(),
            (Ok(_), Some(named), Some(glass)) => format!(
                "BREAK-GLASS until unix second {} (`{}`): bundle {} since version {}; `haetae policy history` says by whom",
                glass.until_s.unwrap_or_default(),
                glass.reason,
                named.digest,
                named.since
            ),
            (Ok(_), Some(named), None) => {
                format!("bundle {} is in force since version {}", named.digest, named.since)
            }
            (Ok(bundle), None, _) => format!(
                "bundle {} of the configuration's directory: none was activated",
                bundle.content_digest()
            ),
        };
        let since = named.map_or(0, |named| named.since);
        self.shared.metrics.look(since, judges.is_err(), glass.is_some());
        let all = self.parts.policy.all_staged();
        let good = all.iter().map(|(digest, one)| (&**digest, matches!(one, Shelved::Ready(_))));
        self.shared.metrics.shelf(good);
        let mut health = self.shared.health.lock().unwrap_or_else(PoisonError::into_inner);
        *health = Health { ready: judges.is_ok(), cause };
    }
}

/// Why a bundle that was put in force is not judged with.
#[derive(Debug)]
enum Wrong {
    /// Its row does not follow from the one before, or signatures are missing.
    Mandate(String),
    /// It breaks a canary of the bundle that it replaced.
    Canaries(Arc<str>),
}

impl Wrong {
    fn why(&self) -> Arc<str> {
        match self {
            Self::Mandate(why) => why.as_str().into(),
            Self::Canaries(why) => Arc::clone(why),
        }
    }

    const fn alarm(&self) -> &'static str {
        match self {
            Self::Mandate(_) => "policy_without_mandate",
            Self::Canaries(_) => "policy_breaks_canaries",
        }
    }
}

/// A stored bundle, if it is what its name says and passes its cases. On a thread of its own: it takes a second of it.
pub async fn tried(files: &[u8], digest: &str, at_unix_s: i64) -> Result<Bundle, BundleError> {
    let one = |fault| BundleError { faults: vec![fault] };
    let folder = Folder::from_bytes(files).map_err(one)?;
    let found = folder.digest();
    if found != digest {
        return Err(one(crate::policy::Fault {
            file: "bundle".into(),
            line: 0,
            found: format!("what is stored as {digest} is {found}"),
            meant: None,
            mend: "somebody changed it: propose it again from its directory".into(),
        }));
    }
    let runtime = tokio::runtime::Handle::current();
    let load = move || runtime.block_on(Bundle::of(&folder, at_unix_s)).and_then(Bundle::tried);
    tokio::task::spawn_blocking(load).await.unwrap_or_else(|error| {
        Err(one(crate::policy::Fault {
            file: "bundle".into(),
            line: 0,
            found: format!("loading it stopped: {error}"),
            meant: None,
            mend: "this is a fault of ours: report it with the bundle".into(),
        }))
    })
}

/// The first faults, for one line.
pub(super) fn short(error: &BundleError) -> String {
    let shown: Vec<String> =
        error.faults.iter().take(FAULTS_SHOWN_MAX).map(ToString::to_string).collect();
    match error.faults.len().saturating_sub(FAULTS_SHOWN_MAX) {
        0 => shown.join(" | "),
        more => format!("{} | and {more} more", shown.join(" | ")),
    }
}

/// A bundle and its engines take 5 to 20 MB, its memos up to 40 more when it has been judged with.
const SHELF_MAX: usize = 8;
/// Proposals and approvals are seen within a second; what is in force is told by the registry at once.
const POLL: Duration = Duration::from_secs(1);
/// A bundle loads in a second; on a machine that does other things in some.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(20);
const FAULTS_SHOWN_MAX: usize = 3;
