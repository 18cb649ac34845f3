//! The rows and links of one organisation in one form: rendered for casbin, read by the pure matcher, shown to people.
//!
//! *Invariant:* every name that goes to casbin carries the organisation's prefix, so that no row can name a role, person
//! or service of another.

use std::collections::{BTreeMap, BTreeSet};

use verdict::access::{Access as Evidence, AccessOut, AccessRow, OWN_SERVICES};
pub(crate) use verdict::access::{MANAGEMENT, MODELS};

use crate::registry::access::{OwnAccess, RowOut, chain_fault, long_chain, role_node};

use super::super::engine::{Engine, EngineError};

/// Rows and links that one engine is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    /// The organisation, or `*` for those that have nothing of their own.
    org: String,
    pub rows: Vec<Row>,
    links: BTreeSet<(String, String)>,
    /// Each member to every role that it has, by whatever chain.
    has: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub id: String,
    pub out: Out,
    /// `role:NAME`; absent for everybody.
    pub role: Option<String>,
    pub service: Of,
    /// Absent for every operation.
    pub operation: Option<String>,
    /// True for the organisation's own; false for the bundle's.
    pub own: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Out {
    Allow,
    /// Allows, and lets whoever has it give it to others.
    Delegate,
    Deny,
}

/// Which services a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    /// Services that run models.
    Models,
    /// Services of the gateway itself: `haetae:access` and the like.
    Management,
    Named(String),
}

impl Out {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Delegate => "delegate",
            Self::Deny => "deny",
        }
    }

    pub(crate) const fn allows(self) -> bool {
        matches!(self, Self::Allow | Self::Delegate)
    }
}

impl Of {
    fn holds(&self, service: &str) -> bool {
        match self {
            Self::Models => !is_management(service),
            Self::Management => is_management(service),
            Self::Named(name) => name == service,
        }
    }

    pub(crate) fn word(&self) -> &str {
        match self {
            Self::Models => MODELS,
            Self::Management => MANAGEMENT,
            Self::Named(name) => name,
        }
    }
}

impl Grants {
    /// The bundle's rows and links for an organisation, each as the cells of its sheet.
    pub(crate) fn of_sheets(org: &str, rows: &[Vec<String>], links: &[Vec<String>]) -> Self {
        let links = links.iter().filter_map(|link| match link.as_slice() {
            [member, group, ..] => Some((member.clone(), group.clone())),
            _ => None,
        });
        let rows = rows.iter().filter_map(|cells| row_of_cells(cells)).collect();
        let mut grants =
            Self { org: org.to_owned(), rows, links: links.collect(), has: BTreeMap::new() };
        grants.close();
        grants
    }

    /// The same with what the organisation granted itself.
    pub(crate) fn with(&self, own: &OwnAccess) -> Self {
        let mut grants = self.clone();
        grants.org.clone_from(&own.org);
        for row in own.rows.values() {
            let out = match row.out {
                RowOut::Allow if row.delegable => Out::Delegate,
                RowOut::Allow => Out::Allow,
                RowOut::Deny => Out::Deny,
            };
            let named = row.services.iter().cloned().map(Of::Named);
            let services: Vec<Of> = named.chain(row.every_service.then_some(Of::Models)).collect();
            for (service, operation) in
                services.iter().flat_map(|one| row.operations.iter().map(move |op| (one, op)))
            {
                grants.rows.push(Row {
                    id: row.id.clone(),
                    out,
                    role: Some(role_node(&row.role)),
                    service: service.clone(),
                    operation: Some(operation.clone()),
                    own: true,
                });
            }
        }
        grants.links.extend(own.links());
        grants.close();
        grants
    }

    /// The casbin engine of exactly these rows.
    pub(crate) async fn engine(&self, model: &str) -> Result<Engine, EngineError> {
        let domain = self.domain();
        let rows = self.rows.iter().map(|row| {
            vec![
                row.id.clone(),
                row.out.word().to_owned(),
                row.role.as_ref().map_or_else(|| ANY.to_owned(), |role| self.name(role)),
                if row.own { domain.clone() } else { ANY.to_owned() },
                match &row.service {
                    Of::Named(name) => self.service(name),
                    class => class.word().to_owned(),
                },
                row.operation.clone().unwrap_or_else(|| ANY.to_owned()),
            ]
        });
        let link = |(member, group): &(String, String)| {
            vec![self.name(member), self.name(group), domain.clone()]
        };
        Engine::new(model, rows.collect(), self.links.iter().map(link).collect(), &[]).await
    }

    /// What casbin is asked: role, organisation, service, class of the service, operation.
    pub(crate) fn request(&self, node: &str, service: &str, operation: &str) -> Vec<String> {
        let class = if is_management(service) { MANAGEMENT } else { MODELS };
        vec![
            self.name(node),
            self.domain(),
            self.service(service),
            class.to_owned(),
            operation.to_owned(),
        ]
    }

    /// The rows that hold for one role or person, by the pure reading.
    pub(crate) fn matching<'a>(
        &'a self,
        node: &'a str,
        service: &'a str,
        operation: &'a str,
    ) -> impl Iterator<Item = &'a Row> {
        let has = self.has.get(node);
        let holds = move |role: &String| role == node || has.is_some_and(|all| all.contains(role));
        self.rows.iter().filter(move |row| {
            row.role.as_ref().is_none_or(holds)
                && row.service.holds(service)
                && row.operation.as_deref().is_none_or(|own| own == operation)
        })
    }

    /// What a record keeps of a question, so that it can be judged again: the roles of who asks, and every row about it.
    pub(crate) fn about(&self, nodes: &[String], service: &str, operation: &str) -> Evidence {
        let named: BTreeSet<&str> = self.nodes().collect();
        let own = |node: &String| named.get(node.as_str()).copied();
        let all = nodes.iter().flat_map(|node| self.has(node).chain(own(node)));
        let roles: BTreeSet<&str> = all.filter_map(|node| node.strip_prefix(ROLE)).collect();
        let about = self.rows.iter().filter(|row| {
            row.service.holds(service) && row.operation.as_deref().is_none_or(|it| it == operation)
        });
        let rows = about.map(|row| AccessRow {
            id: row.id.clone(),
            out: match row.out {
                Out::Allow => AccessOut::Allow,
                Out::Delegate => AccessOut::Delegate,
                Out::Deny => AccessOut::Deny,
            },
            role: row.role.as_deref().map(|it| it.strip_prefix(ROLE).unwrap_or(it).to_owned()),
            service: row.service.word().to_owned(),
            operation: row.operation.clone(),
        });
        Evidence {
            service: service.to_owned(),
            operation: operation.to_owned(),
            rows: rows.collect(),
            roles: roles.into_iter().map(str::to_owned).collect(),
            state: None,
        }
    }

    /// Every role and person that a row or link names.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        let of_links = self.links.iter().flat_map(|(member, group)| [member, group]);
        of_links.chain(self.rows.iter().filter_map(|row| row.role.as_ref())).map(String::as_str)
    }

    /// Every service that a row names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(|row| match &row.service {
            Of::Named(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Members with the role that each was given.
    pub(crate) const fn links(&self) -> &BTreeSet<(String, String)> {
        &self.links
    }

    /// Every role that this one has beside itself.
    pub(crate) fn has(&self, node: &str) -> impl Iterator<Item = &str> {
        self.has.get(node).into_iter().flatten().map(String::as_str)
    }

    /// What is wrong with the links of the bundle and the organisation's own together, if something is.
    pub(crate) fn fault(&self) -> Option<String> {
        let links = self.links.iter().map(|(member, group)| (member.as_str(), group.as_str()));
        long_chain(links).map(|start| chain_fault(&start))
    }

    fn close(&mut self) {
        let mut up: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (member, group) in &self.links {
            up.entry(member).or_default().push(group);
        }
        let has = up.keys().map(|member| ((*member).to_owned(), above(&up, member))).collect();
        self.has = has;
    }

    fn domain(&self) -> String {
        format!("org:{}", self.org)
    }

    fn name(&self, node: &str) -> String {
        format!("org:{}/{node}", self.org)
    }

    fn service(&self, service: &str) -> String {
        format!("org:{}/service:{service}", self.org)
    }
}

/// Every role that links lead to from this member.
fn above(up: &BTreeMap<&str, Vec<&str>>, member: &str) -> BTreeSet<String> {
    let (mut all, mut next) = (BTreeSet::new(), vec![member]);
    while let Some(name) = next.pop() {
        let new = up.get(name).into_iter().flatten();
        next.extend(new.filter(|group| all.insert((**group).to_owned())));
    }
    all
}

/// Services of the gateway itself have a prefix that no registered model has.
pub(crate) fn is_management(service: &str) -> bool {
    service.starts_with(OWN_SERVICES)
}

fn row_of_cells(cells: &[String]) -> Option<Row> {
    let [id, out, role, _, service, operation] = cells else { return None };
    let out = match out.as_str() {
        "allow" => Out::Allow,
        "delegate" => Out::Delegate,
        _ => Out::Deny,
    };
    let service = match service.as_str() {
        // never the gateway's own: a right to manage is given, and refused, by name or class
        ANY | MODELS => Of::Models,
        MANAGEMENT => Of::Management,
        name => Of::Named(name.to_owned()),
    };
    let not_any = |word: &String| (word != ANY).then(|| word.clone());
    Some(Row {
        id: id.clone(),
        out,
        role: not_any(role),
        service,
        operation: not_any(operation),
        own: false,
    })
}

const ANY: &str = "*";
/// How nodes that are roles begin ([`role_node`]).
const ROLE: &str = "role:";
