//! What the demo sends and what it expects: the story as data, over the registry of `deploy/registry-example`.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::issuer::Mint;

/// One line of the story.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// In plain words: who sends what where.
    pub title: &'static str,
    /// What happens before it is sent.
    pub first: Option<Act>,
    pub ask: Ask,
    pub expect: Expect,
}

/// Something the demo does between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Puts the ground of `deploy/ground-example.toml` on file.
    RegisterGround,
    StopPostgres,
    StartPostgres,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub who: Who,
    pub call: Call,
    /// Dataset ids for `Haetae-Datasets`; none means the service's default profile.
    pub datasets: &'static [&'static str],
    /// `Haetae-Site`.
    pub site: Option<&'static str>,
}

/// How the caller shows who it is.
#[derive(Debug, Clone, Copy)]
pub enum Who {
    Token(&'static str, Mint),
    /// A client certificate with the organisation's SPIFFE id, and no token.
    Certificate(&'static str),
    /// With the gateway's own certificate, straight to a site.
    AtSite(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Chat,
    ChatStream,
    Embeddings,
    Responses,
}

/// What must come back.
#[derive(Debug, Clone, Copy)]
pub struct Expect {
    pub status: u16,
    /// `error.code`.
    pub code: Option<&'static str>,
    /// The rule that the refusal names.
    pub rule: Option<&'static str>,
    /// The one site that must have computed the answer; `None`: no site may have seen the request.
    pub site: Option<&'static str>,
}

impl Call {
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat | Self::ChatStream => "/v1/chat/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Responses => "/v1/responses",
        }
    }

    /// What the SDKs would send.
    #[must_use]
    pub fn body(self) -> Value {
        let messages =
            json!([{ "role": "user", "content": "Summarise the complaints of this week." }]);
        match self {
            Self::Chat => json!({ "model": CHAT_MODEL, "messages": messages }),
            Self::ChatStream => json!({
                "model": CHAT_MODEL, "messages": messages, "stream": true,
                "stream_options": { "include_usage": true },
            }),
            Self::Embeddings => {
                json!({ "model": EMBEDDING_MODEL, "input": ["a blue kettle", "a red kettle"] })
            }
            Self::Responses => {
                json!({ "model": CHAT_MODEL, "input": "What is left to do?", "store": false })
            }
        }
    }
}

impl Expect {
    const fn allowed(site: &'static str) -> Self {
        Self { status: 200, code: None, rule: None, site: Some(site) }
    }

    const fn refused(status: u16, code: &'static str, rule: Option<&'static str>) -> Self {
        Self { status, code: Some(code), rule, site: None }
    }
}

const fn token(org: &'static str) -> Who {
    Who::Token(org, Mint::Right(Algorithm::EdDSA))
}

const fn ask(who: Who, call: Call, datasets: &'static [&'static str]) -> Ask {
    Ask { who, call, datasets, site: None }
}

const fn pinned(who: Who, datasets: &'static [&'static str], site: &'static str) -> Ask {
    Ask { who, call: Call::Chat, datasets, site: Some(site) }
}

/// Organisations of the example registry that send something.
pub const ORGANISATIONS: [&str; 3] = ["kr-retailer", "kr-hospital", "de-bank"];

pub const CHAT_MODEL: &str = "llama-3.3-70b";
pub const EMBEDDING_MODEL: &str = "bge-m3";

const ORDERS: &[&str] = &["kr-retail/orders@1"];
const TICKETS: &[&str] = &["de-bank/tickets@3"];
const CREDIT: &[&str] = &["de-bank/seoul-credit@1"];
const REPORTS: &[&str] = &["kr-med/ct-reports@2026"];

/// What the demo adds to the example registry: (path in it, content).
pub const ADDITIONS: [(&str, &str); 2] = [
    ("datasets/seoul-credit.toml", include_str!("registry/seoul-credit.toml")),
    ("grounds/seoul-consent.toml", include_str!("registry/seoul-consent.toml")),
];

/// The story of the first run, in order.
pub const STORY: [Scenario; 16] = [
    Scenario {
        title: "Korean orders, to be computed in Seoul",
        first: None,
        ask: pinned(token("kr-retailer"), ORDERS, "kr-seo-1"),
        expect: Expect::allowed("kr-seo-1"),
    },
    Scenario {
        title: "The same orders, to be computed in Virginia",
        first: None,
        ask: pinned(token("kr-retailer"), ORDERS, "us-va-1"),
        expect: Expect::refused(403, "data_residency_denied", Some("R04")),
    },
    Scenario {
        title: "Korean credit data, asked near Frankfurt: only Seoul may",
        first: None,
        ask: ask(token("de-bank"), Call::Chat, CREDIT),
        expect: Expect::allowed("kr-seo-1"),
    },
    Scenario {
        title: "Radiology reports, to wherever they may go (RS256 token)",
        first: None,
        ask: ask(
            Who::Token("kr-hospital", Mint::Right(Algorithm::RS256)),
            Call::Responses,
            REPORTS,
        ),
        expect: Expect::allowed("kr-seo-1"),
    },
    Scenario {
        title: "The orders to Virginia again, with a live consent on file",
        first: Some(Act::RegisterGround),
        ask: pinned(token("kr-retailer"), ORDERS, "us-va-1"),
        expect: Expect::allowed("us-va-1"),
    },
    Scenario {
        title: "A streamed answer (ES256 token)",
        first: None,
        ask: Ask {
            who: Who::Token("kr-retailer", Mint::Right(Algorithm::ES256)),
            call: Call::ChatStream,
            datasets: ORDERS,
            site: Some("kr-seo-1"),
        },
        expect: Expect::allowed("kr-seo-1"),
    },
    Scenario {
        title: "A dataset that is in no catalogue",
        first: None,
        ask: ask(token("kr-retailer"), Call::Chat, &["kr-retail/not-registered@1"]),
        expect: Expect::refused(403, "unknown_dataset", None),
    },
    Scenario {
        title: "Another organisation's dataset",
        first: None,
        ask: ask(token("kr-retailer"), Call::Chat, TICKETS),
        expect: Expect::refused(403, "unknown_dataset", None),
    },
    Scenario {
        title: "A forged token under a key id that the issuer publishes",
        first: None,
        ask: ask(Who::Token("kr-retailer", Mint::Forged), Call::Chat, ORDERS),
        expect: Expect::refused(401, "unauthenticated", None),
    },
    Scenario {
        title: "An expired token",
        first: None,
        ask: ask(Who::Token("kr-retailer", Mint::Expired), Call::Chat, ORDERS),
        expect: Expect::refused(401, "unauthenticated", None),
    },
    Scenario {
        title: "A token meant for another service",
        first: None,
        ask: ask(Who::Token("kr-retailer", Mint::WrongAudience), Call::Chat, ORDERS),
        expect: Expect::refused(401, "unauthenticated", None),
    },
    Scenario {
        title: "German tickets, a client certificate (SPIFFE id), no token",
        first: None,
        ask: pinned(Who::Certificate("de-bank"), TICKETS, "eu-fra-1"),
        expect: Expect::allowed("eu-fra-1"),
    },
    Scenario {
        title: "Product texts to embed, on the service's default profile",
        first: None,
        ask: Ask {
            who: token("kr-retailer"),
            call: Call::Embeddings,
            datasets: &[],
            site: Some("eu-fra-1"),
        },
        expect: Expect::allowed("eu-fra-1"),
    },
    Scenario {
        title: "Straight to a site with the gateway's certificate",
        first: None,
        ask: ask(Who::AtSite("kr-seo-1"), Call::Chat, &[]),
        expect: Expect::refused(403, "receipt_missing", None),
    },
    Scenario {
        title: "Postgres stopped: no record possible, nothing forwarded",
        first: Some(Act::StopPostgres),
        ask: pinned(token("kr-retailer"), ORDERS, "kr-seo-1"),
        expect: Expect::refused(503, "audit_unavailable", None),
    },
    Scenario {
        title: "Postgres is back",
        first: Some(Act::StartPostgres),
        ask: pinned(token("kr-retailer"), ORDERS, "kr-seo-1"),
        expect: Expect::allowed("kr-seo-1"),
    },
];
