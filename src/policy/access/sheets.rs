//! The access sheets of a bundle, read strictly.
//!
//! *Invariant:* no organisation's sheet holds a row or a link of another domain.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fault::{Fault, Faults};
use super::super::sheet::{self, Section, SheetRow, listed};
use super::OPERATIONS;
use super::grants::{Grants, MANAGEMENT, MODELS};
use crate::registry::access::{CHAIN_MAX, long_chain};

/// All sheets of a bundle's `access/`, read and checked, in the order of their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheets {
    /// Organisation (or [`SHARED`]) to its rows and links.
    by_org: BTreeMap<String, Cells>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Cells {
    /// `id, out, role, org, service, operation`.
    rows: Vec<Vec<String>>,
    /// `member, group, org`.
    links: Vec<Vec<String>>,
}

impl Sheets {
    /// Reads one sheet. `name` is the file's name without `.csv`: `floor`, `roles`, or an organisation.
    pub(crate) fn read(&mut self, file: &str, name: &str, text: &str, found: &mut Vec<Fault>) {
        let mut faults = Faults { file, found };
        let mut grants = Cells::default();
        for row in sheet::read(text, SECTIONS, &mut faults) {
            if row.section == "g" {
                read_link(&row, name, &mut grants, &mut faults);
            } else {
                read_row(&row, name, &mut grants, &mut faults);
            }
        }
        let links = grants.links.iter().filter_map(|link| match link.as_slice() {
            [member, group, ..] => Some((member.as_str(), group.as_str())),
            _ => None,
        });
        if let Some(chain) = long_chain(links) {
            faults.add(
                0,
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

    /// The bundle's part of every engine: of each organisation that has a sheet, and of all others ([`SHARED`]).
    pub(crate) fn grants(&self) -> BTreeMap<String, Grants> {
        let shared = self.by_org.get(SHARED).cloned().unwrap_or_default();
        let mut all = BTreeMap::from([(
            SHARED.to_owned(),
            Grants::of_sheets(SHARED, &shared.rows, &shared.links),
        )]);
        for (org, own) in self.by_org.iter().filter(|(org, _)| *org != SHARED) {
            let rows: Vec<_> = shared.rows.iter().chain(&own.rows).cloned().collect();
            let links: Vec<_> = shared.links.iter().chain(&own.links).cloned().collect();
            all.insert(org.clone(), Grants::of_sheets(org, &rows, &links));
        }
        all
    }
}

fn read_row(row: &SheetRow, name: &str, grants: &mut Cells, faults: &mut Faults<'_>) {
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
    if service.starts_with("class:") && !CLASSES.contains(&service.as_str()) {
        let mend = format!("write {}", listed(CLASSES.into_iter()));
        faults.unknown(row.line, "class of services", service, CLASSES.into_iter(), mend);
    }
    prefixed(row.line, "role", role, faults);
    domain(row.line, name, org, faults);
    if faults.found.len() == before {
        let cells = [id, out, role, org, service, operation].map(Clone::clone);
        grants.rows.push(cells.to_vec());
    }
}

fn read_link(row: &SheetRow, name: &str, grants: &mut Cells, faults: &mut Faults<'_>) {
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

const OUTS: [&str; 3] = ["allow", "delegate", "deny"];
const SECTIONS: &[Section] = &[
    Section { name: "p", columns: &["id", "out", "role", "org", "service", "operation"] },
    Section { name: "g", columns: &["member", "group", "org"] },
];
const CLASSES: [&str; 2] = [MODELS, MANAGEMENT];
const FLOOR: &str = "floor";
const ROLES: &str = "roles";
/// The engine of organisations that have nothing of their own; no organisation can be called so.
pub(crate) const SHARED: &str = "*";
