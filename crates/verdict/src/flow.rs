//! A question becomes the flows it means: for each of them where it ends, who receives, and in which role. The rack's
//! place is one of many.

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
    vec::Vec,
};

use crate::{
    decision::Flow,
    place,
    question::{Entity, Parent, Party, Question, Role, Site},
};

/// One flow: what is unknown of it stays `None`, with the path that would say it.
#[derive(Debug, Clone)]
pub(crate) struct Leg<'a> {
    pub flow: Flow,
    pub to: Option<&'a str>,
    pub to_path: String,
    pub recipient: Option<Cow<'a, Party>>,
    pub recipient_path: String,
    pub role: Option<Role>,
    pub role_path: &'static str,
    /// Who receives as the subject describes itself, where it is the subject and the two descriptions differ.
    pub otherwise: Option<Party>,
}

/// Every flow of the question at this site, in the order of [`Flow`].
pub(crate) fn legs<'a>(question: &'a Question, site: &'a Site) -> Vec<Leg<'a>> {
    let mut legs = Vec::new();
    let at_site = |flow, to, to_path| Leg {
        flow,
        to,
        to_path,
        recipient: site.operator.as_ref().map(Cow::Borrowed),
        recipient_path: "site.operator".to_owned(),
        role: question.role,
        role_path: "role",
        otherwise: None,
    };
    legs.push(at_site(Flow::Compute, site.location.as_deref(), "site.location".to_owned()));
    for (flow, places, path) in [
        (Flow::Copy, &site.backups, "site.backups"),
        (Flow::Telemetry, &site.telemetry, "site.telemetry"),
        (Flow::ControlPlane, &site.control_plane, "site.control_plane"),
    ] {
        for (number, place) in places.iter().enumerate() {
            let repeated = places.iter().take(number).any(|before| before == place);
            if !repeated {
                legs.push(at_site(flow, Some(place), format!("{path}[{number}]")));
            }
        }
    }
    for (number, access) in site.remote_access.iter().enumerate() {
        let path = format!("site.remote_access[{number}]");
        let (recipient, recipient_path) = party(site, access.entity.as_ref(), &path);
        let leg = at_site(Flow::OperatorAccess, access.place.as_deref(), format!("{path}.place"));
        legs.push(Leg { recipient, recipient_path, ..leg });
    }
    for (number, sub) in site.sub_processors.iter().enumerate() {
        let path = format!("site.sub_processors[{number}]");
        let leg = at_site(Flow::SubProcessor, sub.place.as_deref(), format!("{path}.place"));
        let recipient = Some(Cow::Owned(sub.party()));
        legs.push(Leg { recipient, recipient_path: path, ..leg });
    }
    legs.push(result(question));
    for (number, onward) in question.onward.iter().enumerate() {
        let path = format!("onward[{number}]");
        let (recipient, recipient_path) = party(site, onward.entity.as_ref(), &path);
        let leg = at_site(Flow::Onward, onward.place.as_deref(), format!("{path}.place"));
        // a tool or a callback is somebody with ends of its own
        legs.push(Leg { recipient, recipient_path, role: Some(Role::Provision), ..leg });
    }
    legs
}

fn result(question: &Question) -> Leg<'_> {
    let recipient = &question.recipient;
    let own = recipient.party();
    let received = if recipient.same_entity { over(&own, &question.subject.party()) } else { own };
    Leg {
        flow: Flow::Result,
        to: recipient.place.as_deref(),
        to_path: "recipient.place".to_owned(),
        otherwise: contradicting(question).map(|both| both.subject),
        recipient: Some(Cow::Owned(received)),
        recipient_path: "recipient".to_owned(),
        role: if recipient.same_entity {
            recipient.role.or(question.role)
        } else {
            Some(Role::Provision)
        },
        role_path: "recipient.role",
    }
}

/// The subject and who gets the result are one, and are described in two ways: each completed from the other.
pub(crate) struct Both {
    pub subject: Party,
    pub recipient: Party,
    /// Paths of the facts of the recipient that differ; each has its like at the subject.
    pub paths: Vec<String>,
}

/// `None` where they are two, or one and described alike. What who receives does not say is as the subject says it; what
/// the subject does not say is unknown, but for a flag that is not set and a list that is empty, which say something.
pub(crate) fn contradicting(question: &Question) -> Option<Both> {
    let (subject, recipient) = (&question.subject, &question.recipient);
    if !recipient.same_entity {
        return None;
    }
    let seats = subject.seat.as_deref().zip(recipient.seat.as_deref());
    let differ = [
        ("seat", seats.is_some_and(|(one, other)| !place::meets(one, other))),
        ("parents", !alike(&subject.parents, &recipient.parents)),
        ("designated", recipient.designated && !subject.designated),
        (
            "critical_infrastructure",
            recipient.critical_infrastructure && !subject.critical_infrastructure,
        ),
        (
            "significant_fiduciary",
            recipient.significant_fiduciary && !subject.significant_fiduciary,
        ),
        ("dpf", subject.dpf.as_ref().zip(recipient.dpf.as_ref()).is_some_and(|(a, b)| a != b)),
        ("baa", subject.baa.as_ref().zip(recipient.baa.as_ref()).is_some_and(|(a, b)| a != b)),
    ];
    let paths = differ.iter().filter(|(_, differs)| *differs);
    let paths: Vec<String> = paths.map(|(key, _)| format!("recipient.{key}")).collect();
    if paths.is_empty() {
        return None;
    }
    let (subject, recipient) = (subject.party(), recipient.party());
    let (subject, recipient) = (over(&subject, &recipient), over(&recipient, &subject));
    Some(Both { subject, recipient, paths })
}

/// The same parents in any order, or none said of who receives.
fn alike(subject: &[Parent], recipient: &[Parent]) -> bool {
    let within = |one: &[Parent], other: &[Parent]| one.iter().all(|parent| other.contains(parent));
    recipient.is_empty() || within(subject, recipient) && within(recipient, subject)
}

/// The party as it says, and as the other description of it says where it says nothing. What restricts holds by either.
fn over(own: &Party, other: &Party) -> Party {
    let longer = |own: &[String], other: &[String]| {
        let more = other.iter().filter(|term| !own.contains(term));
        own.iter().chain(more).cloned().collect()
    };
    let parents = if own.parents.is_empty() { &other.parents } else { &own.parents };
    Party {
        entity: own.entity.clone().or_else(|| other.entity.clone()),
        seat: own.seat.clone().or_else(|| other.seat.clone()),
        parents: parents.clone(),
        sectors: longer(&own.sectors, &other.sectors),
        supervised_by: longer(&own.supervised_by, &other.supervised_by),
        regulated_under: longer(&own.regulated_under, &other.regulated_under),
        person: own.person.or(other.person),
        designated: own.designated || other.designated,
        critical_infrastructure: own.critical_infrastructure || other.critical_infrastructure,
        significant_fiduciary: own.significant_fiduciary || other.significant_fiduciary,
        dpf: own.dpf.clone().or_else(|| other.dpf.clone()),
        baa: own.baa.clone().or_else(|| other.baa.clone()),
    }
}

/// The party named: a party as given, the operator when the name is its, else somebody of whom only the name is known.
fn party<'a>(
    site: &'a Site,
    entity: Option<&'a Entity>,
    path: &str,
) -> (Option<Cow<'a, Party>>, String) {
    let own_path = format!("{path}.entity");
    match entity {
        None => (None, own_path),
        Some(Entity::Party(party)) => (Some(Cow::Borrowed(party)), own_path),
        Some(Entity::Name(name)) => match &site.operator {
            Some(operator) if operator.entity.as_ref() == Some(name) => {
                (Some(Cow::Borrowed(operator)), "site.operator".to_owned())
            }
            _ => {
                let only_named = Party { entity: Some(name.clone()), ..Party::default() };
                (Some(Cow::Owned(only_named)), own_path)
            }
        },
    }
}
