//! The claims of a verified token, read strictly, and what they mean by the issuer's configuration.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use verdict::question::ActorKind;

use super::CallerError;
use super::config::{ActorKindConfig, IssuerConfig, OrganisationConfig, RolesConfig, mapped};

/// Claims without a repeated key at any depth: two readers of a token must not see two organisations.
pub(super) struct Claims(Value);

/// Who a token says its bearer is, in our terms.
pub(super) struct Said {
    pub org: Arc<str>,
    pub actor: Arc<str>,
    pub actor_kind: ActorKind,
    pub roles: Arc<[Arc<str>]>,
    pub place: Option<Arc<str>>,
}

/// What an issuer's claims mean.
pub(super) struct Mapping {
    organisation: OrganisationConfig,
    roles: RolesConfig,
    actor_kind: ActorKindConfig,
    place_claim: Option<String>,
}

impl Mapping {
    pub fn new(config: &IssuerConfig) -> Result<Self, String> {
        let bad = |what: &str, id: &str| Err(format!("`{id}` is not an id for {what}"));
        let orgs: Vec<&String> = match &config.organisation {
            OrganisationConfig::Fixed(org) => vec![org],
            OrganisationConfig::Claim { values, .. } => values.values().collect(),
        };
        if let Some(org) = orgs.into_iter().find(|org| !is_id(org)) {
            return bad("an organisation", org);
        }
        let mut roles = config.roles.always.iter().chain(config.roles.values.values());
        if let Some(role) = roles.find(|role| !is_id(role)) {
            return bad("a role", role);
        }
        Ok(Self {
            organisation: config.organisation.clone(),
            roles: config.roles.clone(),
            actor_kind: config.actor_kind.clone(),
            place_claim: config.place_claim.clone(),
        })
    }

    pub fn read(&self, claims: &Claims) -> Result<Said, CallerError> {
        let actor =
            claims.text("sub").filter(|actor| is_subject(actor)).ok_or(CallerError::Claims)?;
        let place = match &self.place_claim {
            None => None,
            Some(claim) => match claims.get(claim) {
                None => None,
                // a place that cannot be read is not the same as no place
                Some(place) => {
                    Some(place.as_str().filter(|place| is_id(place)).ok_or(CallerError::Claims)?)
                }
            },
        };
        Ok(Said {
            org: self.org(claims)?.into(),
            actor: actor.into(),
            actor_kind: self.actor_kind(claims),
            roles: self.roles(claims)?,
            place: place.map(Into::into),
        })
    }

    fn org<'a>(&'a self, claims: &'a Claims) -> Result<&'a str, CallerError> {
        match &self.organisation {
            OrganisationConfig::Fixed(org) => Ok(org),
            OrganisationConfig::Claim { claim, values } => {
                let value = claims.text(claim).filter(|value| is_id(value));
                value.and_then(|value| mapped(values, value)).ok_or(CallerError::Claims)
            }
        }
    }

    fn roles(&self, claims: &Claims) -> Result<Arc<[Arc<str>]>, CallerError> {
        let mut roles: Vec<Arc<str>> =
            self.roles.always.iter().map(|role| role.as_str().into()).collect();
        let said = self.roles.claim.as_ref().and_then(|claim| claims.get(claim));
        let values: Vec<&str> = match said {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(words)) => words.split_ascii_whitespace().collect(),
            Some(Value::Array(items)) => {
                items.iter().map(Value::as_str).collect::<Option<_>>().ok_or(CallerError::Claims)?
            }
            Some(_) => return Err(CallerError::Claims),
        };
        if values.len() > ROLES_MAX {
            return Err(CallerError::Claims);
        }
        let known = values.into_iter().filter(|value| is_id(value));
        roles.extend(known.filter_map(|value| mapped(&self.roles.values, value)).map(Into::into));
        roles.sort();
        roles.dedup();
        Ok(roles.into())
    }

    fn actor_kind(&self, claims: &Claims) -> ActorKind {
        let value = self.actor_kind.claim.as_ref().and_then(|claim| claims.text(claim));
        match value {
            Some(value) if self.actor_kind.human.iter().any(|human| human == value) => {
                ActorKind::Human
            }
            _ => self.actor_kind.otherwise,
        }
    }
}

impl Claims {
    /// A claim by name, or by JSON pointer (RFC 6901) when it starts with `/`.
    fn get(&self, claim: &str) -> Option<&Value> {
        if claim.starts_with('/') { self.0.pointer(claim) } else { self.0.get(claim) }
    }

    pub fn text(&self, claim: &str) -> Option<&str> {
        self.get(claim)?.as_str()
    }

    /// A `NumericDate` (RFC 7519, section 2): seconds, perhaps with a fraction. `None` if absent.
    pub fn date(&self, claim: &str) -> Result<Option<i64>, CallerError> {
        let Some(value) = self.get(claim) else { return Ok(None) };
        let whole = value.as_i64().or_else(|| value.as_f64().and_then(floor));
        whole.filter(|date| (0..DATE_MAX).contains(date)).map(Some).ok_or(CallerError::Claims)
    }

    /// The certificate the token is bound to (RFC 8705, section 3.1). A `cnf` of another kind cannot be checked here,
    /// so it is refused.
    pub fn binding(&self) -> Result<Option<[u8; 32]>, CallerError> {
        let Some(cnf) = self.get("cnf") else { return Ok(None) };
        let thumbprint = cnf.get("x5t#S256").and_then(Value::as_str);
        let digest = thumbprint.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        digest.and_then(|digest| digest.try_into().ok()).map(Some).ok_or(CallerError::Binding)
    }

    /// Hex SHA-256 of `jti`, of the whole token when there is none.
    pub fn digest(&self, token: &str) -> Arc<str> {
        hex::encode(Sha256::digest(self.text("jti").unwrap_or(token).as_bytes())).into()
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(Strict).map(Self)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON without repeated keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Claims(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Claims(value))) = entries.next_entry::<String, Claims>()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is there twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

fn floor(date: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    (0.0..DATE_MAX_FRACTION).contains(&date).then(|| date.floor() as i64)
}

/// Ids of organisations, roles and places: refused, never folded, when they hold anything else.
pub(super) fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@=+-".contains(&byte);
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// Subjects may hold any printable ASCII (`auth0|5f7c`, `CN=batch`).
fn is_subject(subject: &str) -> bool {
    (1..=SUBJECT_BYTES_MAX).contains(&subject.len())
        && subject.bytes().all(|byte| byte.is_ascii_graphic())
}

const ID_BYTES_MAX: usize = 128;
/// `OpenID` Connect Core, section 2.
const SUBJECT_BYTES_MAX: usize = 255;
const ROLES_MAX: usize = 64;
/// 2^53: what a double still counts by one.
const DATE_MAX: i64 = 1 << 53;
const DATE_MAX_FRACTION: f64 = 9_007_199_254_740_992.0;
