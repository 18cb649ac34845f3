//! One ask against one snapshot: pure, and the same bytes for the same ask and version.
//!
//! Nothing unique to a request enters the facts (no id, no time, no host that the caller made up), so that their text
//! repeats and is kept once. Counters are empty: no counter is kept yet.

use std::{cmp::Ordering, sync::Arc};

use verdict::{
    facts::{Facts, Gap},
    question::{
        Component, ComponentKind, Ground, Identifiability, List, Onward, Order, Purpose, Question,
        Recipient, Site, Subject, Workload,
    },
    reason::Reason,
};

use super::{
    Ask, Resolved, Snapshot,
    entity::{Organisation, Service, SiteEntry},
    places, text,
    words::{self, Known},
};

impl Snapshot {
    /// The facts of an ask, for every candidate site. Pure. What could not be established is a gap, hence a refusal.
    #[must_use]
    pub fn resolve(&self, ask: &Ask) -> Resolved {
        let mut facts = self.facts(ask);
        facts.gaps.sort();
        facts.gaps.dedup();
        Resolved { facts, version: self.version(), valid_until: self.valid_until() }
    }

    fn facts(&self, ask: &Ask) -> Facts {
        let known = self.organisation(&ask.org).and_then(|organisation| {
            organisation.services.get(&ask.service).map(|service| (organisation, service))
        });
        let Some((organisation, service)) = known else {
            let what = "this organisation has no such service registered";
            return Facts {
                gaps: vec![gap(Reason::UnknownOrganisation, what)],
                ..Facts::default()
            };
        };
        let mut gaps = Vec::new();
        let place = place(ask, &mut gaps);
        let subject = subject(organisation, ask, place);
        let components = self.components(ask, service, &mut gaps);
        let sites = self.candidates(organisation, service, &mut gaps);
        let pinned = pinned(ask, &sites, &mut gaps);
        let question = Question {
            profile: organisation.profile,
            recipient: recipient(&subject),
            purpose: purpose(ask, service, &mut gaps),
            role: service.role,
            onward: self.onward(ask),
            grounds: self.grounds_for(&ask.org, &components),
            orders: self.orders_for(&ask.org),
            lists: self.lists_for(&components),
            subject,
            components,
            ..Question::default()
        };
        Facts { question, sites, pinned, gaps, access: None }
    }

    /// Declared datasets as the catalogue labels them, then what is actually sent: it has every label of the default
    /// profile and of each dataset, so declaring can only add.
    fn components(&self, ask: &Ask, service: &Service, gaps: &mut Vec<Gap>) -> Vec<Component> {
        let kind = kind(ask.workload);
        let mut declared: Vec<&Arc<str>> = ask.datasets.iter().collect();
        declared.sort_unstable();
        declared.dedup();
        let mut components: Vec<Component> = Vec::new();
        for name in declared {
            match self.dataset(&ask.org, name) {
                Some(component) => components.push(component.clone()),
                // One answer whether it is missing, run out or somebody else's: no oracle.
                None => gaps.push(gap(
                    Reason::UnknownDataset,
                    &format!("dataset `{name}` is not in the catalogue of this organisation: name it as `name@version`"),
                )),
            }
        }
        components.sort_by(|one, other| one.dataset.cmp(&other.dataset));
        components.dedup_by(|one, other| one.dataset == other.dataset);
        for component in &mut components {
            component.kind = Some(kind);
        }
        let profile = service.data.as_ref();
        if ask.no_data && (!ask.datasets.is_empty() || profile.is_some_and(has_data)) {
            let what = "the request says that it carries no data, its datasets or the service's data profile say that it does";
            gaps.push(gap(Reason::Contradiction, what));
        }
        if profile.is_none() && ask.datasets.is_empty() {
            let what = "no dataset is declared and the service has no default data profile";
            gaps.push(gap(Reason::NoDataProfile, what));
        }
        let labels: Vec<&Component> = profile.into_iter().chain(&components).collect();
        let Some((first, others)) = labels.split_first() else {
            return components;
        };
        let sent = others.iter().fold((*first).clone(), |sent, one| inherit(sent, one));
        components.push(Component {
            dataset: Some(SENT.into()),
            kind: Some(kind),
            selection_digest: None,
            ..sent
        });
        components
    }

    fn dataset(&self, org: &str, name: &str) -> Option<&Component> {
        let dataset =
            if name.contains("://") { self.dataset_at(name)? } else { self.datasets.get(name)? };
        let may_use = dataset.use_by.iter().any(|user| &**user == org || &**user == "*");
        may_use.then_some(&dataset.component)
    }

    /// The dataset whose address is the longest prefix, on a segment's boundary. Never a shorter one that the
    /// organisation may use instead: what lies there is the longer one's.
    fn dataset_at(&self, address: &str) -> Option<&super::entity::Dataset> {
        let address = text::uri(address).ok()?;
        let covers = |prefix: &str| {
            address
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.datasets
            .values()
            .flat_map(|dataset| dataset.uris.iter().map(move |prefix| (prefix, dataset)))
            .filter(|(prefix, _)| covers(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, dataset)| dataset)
    }

    fn candidates(
        &self,
        organisation: &Organisation,
        service: &Service,
        gaps: &mut Vec<Gap>,
    ) -> Vec<Site> {
        let listed = |list: &Option<Vec<Arc<str>>>, site: &SiteEntry| {
            list.as_ref().is_none_or(|list| list.contains(&site.id))
        };
        let sites: Vec<Site> = self
            .sites()
            .filter(|site| site.serves.contains(&service.name))
            .filter(|site| listed(&service.sites, site) && listed(&organisation.sites, site))
            .map(|site| site.facts.clone())
            .collect();
        if sites.is_empty() {
            gaps.push(gap(Reason::NoSite, "no registered site serves this service"));
        }
        sites
    }

    fn onward(&self, ask: &Ask) -> Vec<Onward> {
        let mut onward: Vec<Onward> = Vec::new();
        for (what, host) in &ask.onward {
            let known = host.as_deref().and_then(|host| self.outside_of(host));
            let entry = Onward {
                place: known.map(|known| known.place.clone()),
                entity: known.map(|known| known.entity.clone()),
                what: Some(what.to_string()),
            };
            if !onward.contains(&entry) {
                onward.push(entry);
            }
        }
        onward.sort_by(by_what_and_place);
        onward
    }

    /// The registered host that is this one, or the nearest one above it.
    fn outside_of(&self, host: &str) -> Option<&super::entity::Outside> {
        let above = std::iter::successors(Some(host), |name| Some(name.split_once('.')?.1));
        above.into_iter().find_map(|name| self.outside.get(name))
    }

    fn grounds_for(&self, org: &str, components: &[Component]) -> Vec<Ground> {
        self.grounds
            .values()
            .filter(|entry| &*entry.org == org || &*entry.org == "*")
            .filter(|entry| concerns(entry.ground.regime.as_deref(), components))
            .map(|entry| entry.ground.clone())
            .collect()
    }

    /// Every order that is not another organisation's: what else an order matches is for the decision to say.
    fn orders_for(&self, org: &str) -> Vec<Order> {
        let matches = |order: &&Order| {
            order.r#match.org.as_deref().is_none_or(|other| other == org || other == "*")
        };
        self.orders.values().filter(matches).cloned().collect()
    }

    fn lists_for(&self, components: &[Component]) -> Vec<List> {
        let concerned = |list: &&List| concerns(list.regime.as_deref(), components);
        self.lists.values().filter(concerned).cloned().collect()
    }
}

/// A regime of components concerns those that are under it; one that applies by party or accelerator concerns all.
fn concerns(regime: Option<&str>, components: &[Component]) -> bool {
    regime.is_none_or(|regime| {
        !words::known(Known::Regime).any(|known| known == regime)
            || components.iter().any(|one| one.regimes.iter().any(|other| other == regime))
    })
}

/// The site asked for, if it is a candidate: one that is not there and one that is not for this organisation look the
/// same, and no name that the caller made up is kept.
fn pinned(ask: &Ask, sites: &[Site], gaps: &mut Vec<Gap>) -> Option<String> {
    let pin = ask.site.as_deref()?;
    let known = sites.iter().any(|site| site.id.as_deref() == Some(pin));
    if !known {
        let what = "the site asked for does not serve this service for this organisation";
        gaps.push(gap(Reason::PinRefused, what));
    }
    known.then(|| pin.to_owned())
}

fn place(ask: &Ask, gaps: &mut Vec<Gap>) -> Option<String> {
    let place = ask.place.as_deref()?;
    let read = places::place(place).ok();
    if read.is_none() {
        gaps.push(gap(Reason::MissingFact, "subject.place"));
    }
    read
}

fn subject(organisation: &Organisation, ask: &Ask, place: Option<String>) -> Subject {
    let mut subject = organisation.subject.clone();
    subject.actor_kind = Some(ask.actor_kind);
    subject.place = place.or(subject.place);
    subject
}

/// The answer goes back to who asked: the organisation itself, where the actor is, else at its seat.
fn recipient(subject: &Subject) -> Recipient {
    let party = subject.party();
    Recipient {
        entity: party.entity,
        place: subject.place.clone().or_else(|| party.seat.clone()),
        seat: party.seat,
        parents: party.parents,
        sectors: party.sectors,
        supervised_by: party.supervised_by,
        regulated_under: party.regulated_under,
        person: party.person,
        designated: party.designated,
        critical_infrastructure: party.critical_infrastructure,
        significant_fiduciary: party.significant_fiduciary,
        dpf: party.dpf,
        baa: party.baa,
        same_entity: true,
        role: None,
    }
}

/// A declared purpose chooses among those that the organisation registered for the service: what a purpose rests on
/// is not the caller's to say.
fn purpose(ask: &Ask, service: &Service, gaps: &mut Vec<Gap>) -> Purpose {
    let chosen = match ask.purpose.as_deref() {
        None => service.purposes.first(),
        Some(code) => {
            let found = service.purposes.iter().find(|one| one.code.as_deref() == Some(code));
            if found.is_none() {
                let what = "the purpose declared is not registered for this service";
                gaps.push(gap(Reason::DeclarationInvalid, what));
            }
            found
        }
    };
    Purpose { workload: Some(ask.workload), ..chosen.cloned().unwrap_or_default() }
}

/// What data is in a workload.
const fn kind(workload: Workload) -> ComponentKind {
    match workload {
        Workload::Infer | Workload::Evaluate => ComponentKind::Prompt,
        Workload::FineTune => ComponentKind::FineTune,
        Workload::Train | Workload::Etl | Workload::Store => ComponentKind::Training,
    }
}

fn has_data(profile: &Component) -> bool {
    let harmless = matches!(
        profile.identifiability,
        Some(Identifiability::NonPersonal | Identifiability::Synthetic)
    );
    !(profile.regimes.is_empty() && harmless)
}

/// `to` with the labels of `from` added: lists are joined, the stricter of two labels stays, and a number that one
/// of them does not know is unknown.
fn inherit(mut to: Component, from: &Component) -> Component {
    join(&mut to.regimes, &from.regimes);
    join(&mut to.origins, &from.origins);
    join(&mut to.categories, &from.categories);
    join(&mut to.layers, &from.layers);
    to.class = to.class.zip(from.class).map(|(one, other)| one.max(other));
    to.identifiability = to
        .identifiability
        .zip(from.identifiability)
        .map(|(one, other)| if closeness(other) > closeness(one) { other } else { one });
    to.from = to.from.filter(|place| from.from.as_ref() == Some(place));
    to.encrypted &= from.encrypted;
    to.stored |= from.stored;
    to.state_funded |= from.state_funded;
    to.subjects = sum(to.subjects, from.subjects);
    to.sensitive_subjects = sum(to.sensitive_subjects, from.sensitive_subjects);
    to.records = sum(to.records, from.records);
    to
}

fn join(to: &mut Vec<String>, from: &[String]) {
    for entry in from {
        if !to.contains(entry) {
            to.push(entry.clone());
        }
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one.saturating_add(other))
}

/// How near to a person.
const fn closeness(kind: Identifiability) -> u8 {
    match kind {
        Identifiability::Personal => 4,
        Identifiability::Pseudonymised => 3,
        Identifiability::Anonymised => 2,
        Identifiability::NonPersonal => 1,
        Identifiability::Synthetic => 0,
    }
}

fn by_what_and_place(one: &Onward, other: &Onward) -> Ordering {
    (&one.what, &one.place).cmp(&(&other.what, &other.place))
}

fn gap(reason: Reason, what: &str) -> Gap {
    Gap { reason, what: what.to_owned() }
}

pub use verdict::question::SENT;
