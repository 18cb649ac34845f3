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
    question::{Entity, Party, Question, Role, Site},
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
    Leg {
        flow: Flow::Result,
        to: recipient.place.as_deref(),
        to_path: "recipient.place".to_owned(),
        recipient: Some(Cow::Owned(party_of(question))),
        recipient_path: "recipient".to_owned(),
        role: if recipient.same_entity {
            recipient.role.or(question.role)
        } else {
            Some(Role::Provision)
        },
        role_path: "recipient.role",
    }
}

/// Who gets the result. The subject itself need not be named again.
fn party_of(question: &Question) -> Party {
    let party = question.recipient.party();
    let own = || question.subject.entity.clone().filter(|_| question.recipient.same_entity);
    Party { entity: party.entity.clone().or_else(own), ..party }
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
