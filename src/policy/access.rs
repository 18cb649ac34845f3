//! Who may do what: roles of an organisation, a service and an operation become leave or a refusal.
//!
//! An ordinary RBAC with domains, one domain and one engine an organisation. The bundle's sheets ([`sheets`]) are the
//! floor, the roles that all organisations share and whatever the operator wrote for one of them; what an organisation
//! grants itself comes from the registry as typed entries. A row of `floor.csv` refuses whatever an organisation grants.
//! casbin and the pure reading ([`grants`]) must agree, here as in residency.
//!
//! *Invariant:* the role graph here is never shared with the residency engines; an organisation that has entries of its
//! own is judged with exactly those of the snapshot, or refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use verdict::access::Access as Asked;
use verdict::decision::{Text, Why};
use verdict::reason::Reason;

use super::engine::{Engine, EngineError};
use crate::registry::access::{OwnAccess, role_node};

mod change;
mod grants;
mod sheets;

pub use change::{Acting, Because, ChangeError, Leave};
use grants::{Grants, Out, is_management};
use sheets::SHARED;
pub(crate) use sheets::Sheets;

/// Who asks, in the access model's words.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    pub org: &'a str,
    pub roles: &'a [Arc<str>],
    /// The person or service as [`crate::registry::access::actor_node`] calls it; absent where no entry names anybody.
    pub actor: Option<&'a str>,
    /// What the organisation granted itself, by the snapshot that is judged on.
    pub own: Option<&'a OwnAccess>,
}

/// The access half of a bundle.
#[derive(Debug)]
pub(crate) struct Access {
    model: String,
    /// The bundle's rows for each organisation that has a sheet, and for all others.
    sheets: BTreeMap<String, Grants>,
    by_sheet: BTreeMap<String, Tenant>,
    /// With what organisations granted themselves, by the digest of all of it: while some requests are still judged on an
    /// older snapshot, both engines are here. Filled by [`Access::build`] alone.
    own: Cache<[u8; 32], Arc<Built>>,
    /// So that a change that touches many organisations does not take all cores from requests.
    builds: Arc<Semaphore>,
}

/// The engine of one organisation.
#[derive(Debug)]
struct Tenant {
    grants: Grants,
    engine: Engine,
    /// Roles, persons and services that some row or link names: every other word behaves alike and is asked as `-`, so
    /// that the words of callers cannot fill the memo.
    named: BTreeSet<String>,
    memo: Cache<Ask, Answer>,
}

/// An organisation's engine for one state of its entries, or why there is none.
type Built = Result<Tenant, String>;

/// The full key of a memo entry: roles and person in order, service, operation.
type Ask = (Vec<String>, String, String);

/// What the rows say, with the id of the row that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Granted,
    NotGranted,
    Refused(String),
    Disagreement,
    Broken,
}

impl Access {
    pub(crate) async fn new(sheets: &Sheets, model: &str) -> Result<Self, EngineError> {
        let sheets = sheets.grants();
        let mut by_sheet = BTreeMap::new();
        for (org, grants) in &sheets {
            by_sheet.insert(org.clone(), Tenant::new(grants.clone(), model, MEMO_MAX).await?);
        }
        Ok(Self {
            model: model.to_owned(),
            sheets,
            by_sheet,
            own: Cache::new(TENANTS_MAX),
            builds: Arc::new(Semaphore::new(BUILDS_MAX)),
        })
    }

    /// May this caller do `operation` on `service`? A floor row refuses first, then any other `deny` row, then one that
    /// allows is enough; nothing that matches is a refusal.
    #[expect(clippy::result_large_err, reason = "a refusal is rare and is rendered whole")]
    pub(crate) fn ask(&self, asker: &Asker<'_>, service: &str, operation: &str) -> Result<(), Why> {
        let Some(own) = asker.own else {
            let tenant = self.by_sheet.get(asker.org).or_else(|| self.by_sheet.get(SHARED));
            return tenant.map_or(Answer::NotGranted, |it| it.ask(asker, service, operation)).why();
        };
        match self.own.get(own.digest()).as_deref() {
            Some(Ok(tenant)) => tenant.ask(asker, service, operation).why(),
            Some(Err(_)) | None => Answer::Broken.why(),
        }
    }

    /// What the rows say of this question, for the record. `None` when [`Access::ask`] could not ask them.
    pub(crate) fn about(&self, asker: &Asker<'_>, service: &str, operation: &str) -> Option<Asked> {
        let about = |tenant: &Tenant| tenant.grants.about(&nodes_of(asker), service, operation);
        let Some(own) = asker.own else {
            return self.by_sheet.get(asker.org).or_else(|| self.by_sheet.get(SHARED)).map(about);
        };
        self.own.get(own.digest()).as_deref().and_then(|built| built.as_ref().ok()).map(about)
    }

    /// Whether the engine of these entries is there, or is known not to come.
    pub(crate) fn is_built(&self, own: &OwnAccess) -> bool {
        self.own.get(own.digest()).is_some()
    }

    /// Builds the engine of these entries, off the async workers. At most [`BUILDS_MAX`] at a time, and once for one state
    /// of them, however many wait for it.
    pub(crate) async fn build(self: &Arc<Self>, own: &OwnAccess) {
        let Ok(permit) = Arc::clone(&self.builds).acquire_owned().await else { return };
        if self.is_built(own) {
            return;
        }
        let (access, own) = (Arc::clone(self), own.clone());
        let runtime = tokio::runtime::Handle::current();
        let building = tokio::task::spawn_blocking(move || {
            let tenant = runtime.block_on(access.tenant(&own));
            if let Err(fault) = &tenant {
                let org = &own.org;
                tracing::error!(org, fault, "access entries cannot be used: all is refused");
            }
            access.own.insert(*own.digest(), Arc::new(tenant));
            drop(permit);
        });
        // If it failed there is no engine, and the organisation is refused.
        let _ = building.await;
    }

    async fn tenant(&self, own: &OwnAccess) -> Result<Tenant, String> {
        if let Some(fault) = own.fault() {
            return Err(fault);
        }
        let grants = self.grants(&own.org, Some(own));
        if let Some(fault) = grants.fault() {
            return Err(fault);
        }
        Tenant::new(grants, &self.model, OWN_MEMO_MAX).await.map_err(|error| error.to_string())
    }

    /// Every row and link that counts for an organisation.
    fn grants(&self, org: &str, own: Option<&OwnAccess>) -> Grants {
        let base = self.sheets.get(org).or_else(|| self.sheets.get(SHARED));
        let base = base.cloned().unwrap_or_default();
        match own {
            Some(own) => base.with(own),
            None => base,
        }
    }
}

impl Tenant {
    async fn new(grants: Grants, model: &str, memo_max: usize) -> Result<Self, EngineError> {
        let engine = grants.engine(model).await?;
        let named = grants.nodes().chain(grants.services()).map(str::to_owned).collect();
        Ok(Self { grants, engine, named, memo: Cache::new(memo_max) })
    }

    fn ask(&self, asker: &Asker<'_>, service: &str, operation: &str) -> Answer {
        let known = |word: &str| self.named.contains(word);
        let mut nodes = nodes_of(asker);
        nodes.retain(|node| known(node));
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() {
            // a caller without any known role still meets the rows written for everybody
            nodes.push("role:-".to_owned());
        }
        let unnamed = if is_management(service) { "haetae:-" } else { "-" };
        let service = if known(service) { service } else { unnamed };
        let operation = if OPERATIONS.contains(&operation) { operation } else { "-" };
        let ask = (nodes, service.to_owned(), operation.to_owned());
        self.memo.get(&ask).unwrap_or_else(|| {
            let answer = self.judge(&ask);
            // what failed is asked again, so that it is seen each time
            if !matches!(answer, Answer::Broken | Answer::Disagreement) {
                self.memo.insert(ask, answer.clone());
            }
            answer
        })
    }

    fn judge(&self, (nodes, service, operation): &Ask) -> Answer {
        let mut granted = false;
        for node in nodes {
            let pure: Vec<_> = self.grants.matching(node, service, operation).collect();
            let Ok(rows) = self.engine.matching(self.grants.request(node, service, operation))
            else {
                return Answer::Broken;
            };
            let casbin = rows.iter().map(|row| row.first().map_or("", String::as_str));
            if !casbin.eq(pure.iter().map(|row| row.id.as_str())) {
                tracing::error!("the access engines disagree: the request is refused");
                return Answer::Disagreement;
            }
            if let Some(row) = pure.iter().find(|row| row.out == Out::Deny) {
                return Answer::Refused(row.id.clone());
            }
            granted |= pure.iter().any(|row| row.out.allows());
        }
        if granted { Answer::Granted } else { Answer::NotGranted }
    }
}

/// What the rows may call this caller.
fn nodes_of(asker: &Asker<'_>) -> Vec<String> {
    let roles = asker.roles.iter().map(|role| role_node(role));
    roles.chain(asker.actor.map(str::to_owned)).collect()
}

impl Answer {
    #[expect(clippy::result_large_err, reason = "a refusal is rare and is rendered whole")]
    fn why(self) -> Result<(), Why> {
        let (code, rule, en, ko) = match self {
            Self::Granted => return Ok(()),
            Self::Broken => (Reason::EngineError, None, BROKEN.0, BROKEN.1),
            Self::Disagreement => (Reason::EngineDisagreement, None, DISAGREE.0, DISAGREE.1),
            Self::NotGranted => (Reason::AccessDenied, None, NOT_GRANTED.0, NOT_GRANTED.1),
            Self::Refused(id) => (Reason::AccessDenied, Some(id), REFUSED.0, REFUSED.1),
        };
        Err(Why {
            code,
            rule,
            basis: vec!["house".into()],
            cell: None,
            text: Text { en: en.into(), ko: ko.into() },
            citation: None,
            missing: Vec::new(),
            ground: None,
            facts: Vec::new(),
        })
    }
}

const BROKEN: (&str, &str) = (
    "The organisation's access entries cannot be judged with at present, so the request is refused.",
    "현재 조직의 접근 권한 항목을 평가할 수 없어 요청을 거부합니다.",
);
const DISAGREE: (&str, &str) = (
    "Two access engines did not agree, so the request is refused.",
    "두 접근 정책 엔진의 판단이 일치하지 않아 요청을 거부합니다.",
);
const NOT_GRANTED: (&str, &str) = (
    "No role of the caller is granted this operation on this service.",
    "호출자의 어떤 역할에도 이 서비스에 대한 이 작업이 허용되어 있지 않습니다.",
);
const REFUSED: (&str, &str) = (
    "The national floor or the organisation's own policy refuses this operation.",
    "국가 공통 하한 또는 해당 조직의 정책이 이 작업을 금지합니다.",
);

/// What the gateway lets a caller do; `workload` reads one of them from each route.
pub const OPERATIONS: [&str; 6] = crate::registry::access::OPERATIONS;
/// Keys come from a closed set of words (sheets), about 200 bytes each: 4,096 of them are under 1 MB.
const MEMO_MAX: usize = 4_096;
/// The same for one of many organisations: 512 x 512 x 200 bytes are 50 MB at the very most.
const OWN_MEMO_MAX: usize = 512;
/// Organisations whose engines are kept at once, some 200 kB each; another's is built when it is asked for.
const TENANTS_MAX: usize = 512;
/// Of two cores one is left to requests.
const BUILDS_MAX: usize = 1;
