//! Who may do what: roles of an organisation, a service and an operation become leave or a refusal.
//!
//! An ordinary RBAC with domains, one domain an organisation. The sheets of `access/` are read strictly and become one
//! engine for each organisation that has a sheet of its own and one for all others. A row of `floor.csv` refuses
//! whatever an organisation grants.
//!
//! *Invariant:* the role graph here is never shared with the residency engines, and no organisation's sheet holds a row
//! or a link of another domain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quick_cache::sync::Cache;
use verdict::decision::{Text, Why};
use verdict::reason::Reason;

use super::engine::{Engine, EngineError};
use super::fault::{Fault, Faults};
use super::sheet::{self, Section, SheetRow, listed};

/// The access half of a bundle.
#[derive(Debug)]
pub(crate) struct Access {
    engines: BTreeMap<String, Engine>,
    /// Roles and services that some row names: every other word behaves alike and is asked as `-`, so that the words
    /// of callers cannot fill the memo.
    named: BTreeSet<String>,
    memo: Cache<Ask, Leave>,
}

/// The full key of a memo entry: organisation's engine, roles in order, service, operation.
type Ask = (String, Vec<String>, String, String);

/// What the rows say, with the id of the row that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leave {
    Granted,
    NotGranted,
    Refused(String),
    Broken,
}

/// All sheets of a bundle's `access/`, read and checked, in the order of their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheets {
    /// Organisation (or [`SHARED`]) to its rows and links.
    by_org: BTreeMap<String, Grants>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Grants {
    /// `id, out, role, org, service, operation`.
    rows: Vec<Vec<String>>,
    /// `member, group, org`.
    links: Vec<Vec<String>>,
}

impl Sheets {
    /// Reads one sheet. `name` is the file's name without `.csv`: `floor`, `roles`, or an organisation.
    pub(crate) fn read(&mut self, file: &str, name: &str, text: &str, found: &mut Vec<Fault>) {
        let mut faults = Faults { file, found };
        let mut grants = Grants::default();
        for row in sheet::read(text, SECTIONS, &mut faults) {
            if row.section == "g" {
                read_link(&row, name, &mut grants, &mut faults);
            } else {
                read_row(&row, name, &mut grants, &mut faults);
            }
        }
        for (line, chain) in long_chains(&grants.links) {
            faults.add(
                line,
                format!("the chain of roles from `{chain}` has more than {CHAIN_MAX} links"),
                "shorten it: the engine silently stops following a longer chain",
            );
        }
        let org = if matches!(name, FLOOR | ROLES) { SHARED } else { name };
        let kept = self.by_org.entry(org.to_owned()).or_default();
        kept.rows.append(&mut grants.rows);
        kept.links.append(&mut grants.links);
    }

    /// How many organisations have a sheet of their own, and the one for all.
    pub(crate) fn len(&self) -> usize {
        self.by_org.len()
    }

    /// Every row and link in a fixed order, for the digest of the bundle.
    pub(crate) fn canonical(&self) -> BTreeSet<Vec<&str>> {
        let mut all = BTreeSet::new();
        for (org, grants) in &self.by_org {
            let rows = grants.rows.iter().map(|row| ("p", row));
            for (section, cells) in rows.chain(grants.links.iter().map(|link| ("g", link))) {
                let line = [org.as_str(), section].into_iter();
                all.insert(line.chain(cells.iter().map(String::as_str)).collect());
            }
        }
        all
    }

    /// Builds the engines: the shared rows alone, and the shared rows with each organisation's own.
    pub(crate) async fn build(&self, model: &str) -> Result<Access, EngineError> {
        let shared = self.by_org.get(SHARED).cloned().unwrap_or_default();
        let mut engines = BTreeMap::new();
        for (org, own) in &self.by_org {
            let (mut rows, mut links) = (shared.rows.clone(), shared.links.clone());
            if org != SHARED {
                rows.extend(own.rows.iter().cloned());
                links.extend(own.links.iter().cloned());
            }
            engines.insert(org.clone(), Engine::new(model, rows, links, &[]).await?);
        }
        let all = self.by_org.values();
        let named = all
            .flat_map(|grants| {
                let services = grants.rows.iter().filter_map(|row| row.get(4));
                let roles = grants.rows.iter().filter_map(|row| row.get(2));
                services.chain(roles).chain(grants.links.iter().filter_map(|link| link.first()))
            })
            .cloned()
            .collect();
        Ok(Access { engines, named, memo: Cache::new(MEMO_ENTRIES_MAX) })
    }
}

impl Access {
    /// May these roles of `org` do `operation` on `service`? A floor row refuses first, then the organisation's own
    /// `deny` rows, then one `allow` is enough; nothing that matches is a refusal.
    #[expect(clippy::result_large_err, reason = "a refusal is rare and is rendered whole")]
    pub(crate) fn ask(
        &self,
        org: &str,
        roles: &[Arc<str>],
        service: &str,
        operation: &str,
    ) -> Result<(), Why> {
        let org = if self.engines.contains_key(org) { org } else { SHARED };
        let known = |word: &str| self.named.contains(word);
        let mut asked: Vec<String> = roles.iter().map(|role| format!("role:{role}")).collect();
        asked.retain(|role| known(role));
        asked.sort_unstable();
        asked.dedup();
        let service = if known(service) || is_own(service) { service } else { "-" };
        let operation = if OPERATIONS.contains(&operation) { operation } else { "-" };
        let ask = (org.to_owned(), asked, service.to_owned(), operation.to_owned());
        let leave = self.memo.get(&ask).unwrap_or_else(|| {
            let leave = self.judge(&ask);
            self.memo.insert(ask, leave.clone());
            leave
        });
        match leave {
            Leave::Granted => Ok(()),
            Leave::NotGranted => Err(refusal(Reason::AccessDenied, None)),
            Leave::Refused(id) => Err(refusal(Reason::AccessDenied, Some(id))),
            Leave::Broken => Err(refusal(Reason::EngineError, None)),
        }
    }

    fn judge(&self, (org, roles, service, operation): &Ask) -> Leave {
        let Some(engine) = self.engines.get(org) else { return Leave::NotGranted };
        let mut granted = false;
        // a caller without any known role still meets the rows written for `*`
        let anyone = [String::from("role:-")];
        for role in if roles.is_empty() { &anyone[..] } else { roles } {
            let request =
                vec![role.clone(), format!("org:{org}"), service.clone(), operation.clone()];
            let Ok(mut rows) = engine.matching(request) else { return Leave::Broken };
            // `*` means the organisation's services, never the gateway's own: a right to manage is given by name
            rows.retain(|row| !is_own(service) || row.get(4).is_some_and(|named| named != "*"));
            let denying = rows.iter().find(|row| row.get(1).is_some_and(|out| out == "deny"));
            if let Some(row) = denying {
                return Leave::Refused(row.first().cloned().unwrap_or_default());
            }
            granted |= rows.iter().any(|row| row.get(1).is_some_and(|out| out == "allow"));
        }
        if granted { Leave::Granted } else { Leave::NotGranted }
    }
}

/// A service of the gateway's own, on which `admin` is what can be done.
fn is_own(service: &str) -> bool {
    OWN.contains(&service)
}

fn read_row(row: &SheetRow, name: &str, grants: &mut Grants, faults: &mut Faults<'_>) {
    let [id, out, role, org, service, operation] = row.cells.as_slice() else { return };
    let before = faults.found.len();
    if !OUTS.contains(&out.as_str()) {
        let mend =
            format!("write {}: another word would silently not count", listed(OUTS.into_iter()));
        faults.unknown(row.line, "outcome", out, OUTS.into_iter(), mend);
    } else if name == FLOOR && out != "deny" {
        faults.add(row.line, "the floor grants something", "write only `deny` rows here");
    }
    if grants.rows.iter().any(|earlier| earlier.first() == Some(id)) {
        faults.add(row.line, format!("id `{id}` is given twice"), "give each row an id of its own");
    }
    if operation != "*" && !OPERATIONS.contains(&operation.as_str()) {
        let mend = format!("write {}", listed(OPERATIONS.into_iter()));
        faults.unknown(row.line, "operation", operation, OPERATIONS.into_iter(), mend);
    }
    prefixed(row.line, "role", role, faults);
    domain(row.line, name, org, faults);
    if faults.found.len() == before {
        let cells = [id, out, role, org, service, operation].map(Clone::clone);
        grants.rows.push(cells.to_vec());
    }
}

fn read_link(row: &SheetRow, name: &str, grants: &mut Grants, faults: &mut Faults<'_>) {
    let [member, group, org] = row.cells.as_slice() else { return };
    let before = faults.found.len();
    prefixed(row.line, "member", member, faults);
    prefixed(row.line, "group", group, faults);
    if matches!(name, FLOOR | ROLES) || org == "*" {
        faults.add(
            row.line,
            "a link between roles outside the sheet of an organisation",
            "write it into `access/<organisation>.csv` with that organisation as its domain",
        );
    }
    domain(row.line, name, org, faults);
    if faults.found.len() == before {
        grants.links.push(row.cells.clone());
    }
}

/// A role is `*` or has its prefix: what has none could be mistaken for a name of another graph.
fn prefixed(line: usize, column: &str, word: &str, faults: &mut Faults<'_>) {
    if word != "*" && !word.starts_with("role:") {
        faults.add(
            line,
            format!("{column} `{word}` has no prefix"),
            format!("write `role:{word}`"),
        );
    }
}

fn domain(line: usize, name: &str, org: &str, faults: &mut Faults<'_>) {
    let shared = matches!(name, FLOOR | ROLES);
    let own = org.strip_prefix("org:").is_some_and(|own| own == name);
    if shared && org != "*" {
        faults.add(line, format!("domain `{org}` in a sheet for all"), "write `*`");
    } else if !shared && !own {
        faults.add(
            line,
            format!("domain `{org}` in the sheet of `{name}`"),
            format!("write `org:{name}`: an organisation grants only in its own domain"),
        );
    }
}

/// Members from which more than [`CHAIN_MAX`] links lead upwards; a circle counts as endless.
pub(crate) fn long_chains(links: &[Vec<String>]) -> Vec<(usize, String)> {
    let mut up: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for link in links {
        if let [member, group, ..] = link.as_slice() {
            up.entry(member).or_default().push(group);
        }
    }
    let too_long = |start: &&str| {
        let mut reach = vec![*start];
        for _ in 0..=CHAIN_MAX {
            reach = reach.iter().filter_map(|name| up.get(name)).flatten().copied().collect();
            reach.sort_unstable();
            reach.dedup();
        }
        !reach.is_empty()
    };
    up.keys()
        .filter(|start| too_long(start))
        .take(1)
        .map(|start| (0, (*start).to_owned()))
        .collect()
}

fn refusal(code: Reason, rule: Option<String>) -> Why {
    let text = if code == Reason::EngineError {
        Text {
            en: "The access engine failed, so the request is refused.".into(),
            ko: "접근 정책 엔진에 오류가 발생하여 요청을 거부합니다.".into(),
        }
    } else if rule.is_some() {
        Text {
            en: "The national floor or the organisation's own policy refuses this operation."
                .into(),
            ko: "국가 공통 하한 또는 해당 조직의 정책이 이 작업을 금지합니다.".into(),
        }
    } else {
        Text {
            en: "No role of the caller is granted this operation on this service.".into(),
            ko: "호출자의 어떤 역할에도 이 서비스에 대한 이 작업이 허용되어 있지 않습니다.".into(),
        }
    };
    Why {
        code,
        rule,
        basis: vec!["house".into()],
        cell: None,
        text,
        citation: None,
        missing: Vec::new(),
        ground: None,
    }
}

/// What the gateway lets a caller do; `workload` reads one of them from each route.
pub(crate) const OPERATIONS: [&str; 6] =
    ["submit", "upload", "read_derived", "cancel", "metadata", "admin"];
/// What an organisation manages itself.
pub(crate) const OWN: [&str; 5] =
    ["haetae:holds", "haetae:access", "haetae:policy", "haetae:obligations", "haetae:webhooks"];
const OUTS: [&str; 2] = ["allow", "deny"];
const SECTIONS: &[Section] = &[
    Section { name: "p", columns: &["id", "out", "role", "org", "service", "operation"] },
    Section { name: "g", columns: &["member", "group", "org"] },
];
const FLOOR: &str = "floor";
const ROLES: &str = "roles";
/// The engine of organisations without a sheet; no organisation can be called so.
const SHARED: &str = "*";
/// casbin 2.20 follows at most 10 levels of its graph, the member itself being the first.
pub(crate) const CHAIN_MAX: usize = 9;
/// Keys come from a closed set of words (sheets), about 200 bytes each: 4,096 of them are under 1 MB.
const MEMO_ENTRIES_MAX: usize = 4096;
