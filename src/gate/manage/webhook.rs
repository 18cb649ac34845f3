//! Webhooks of the caller's own organisation: listed, registered, tried, given another secret and removed.
//!
//! *Invariant:* whose webhook it is comes from the caller; a secret is in the one answer that makes it.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;
use verdict::reason::Reason;

use super::{Gate, Known, NotDone, Unavailable, answer, refused};
use crate::webhook::WebhookError;
use crate::webhook::store::Of;
use crate::workload::NotUnderstood;
use crate::workload::haetae::{Does, Errand, read};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    url: String,
}

impl Gate {
    pub(super) async fn webhook(
        &self,
        known: &Known,
        errand: &Errand,
        body: &Bytes,
    ) -> Result<Response<Body>, NotDone> {
        let (org, by) = (&*known.caller.org, &*known.caller.actor);
        let webhooks = &self.webhooks;
        if errand.does == Does::ListWebhooks {
            return Ok(answer::managed(&json!({ "webhooks": webhooks.list(org).await? })));
        }
        if errand.does == Does::AddWebhook {
            let (id, secret) = webhooks.add(org, &read::<Address>(body)?.url, by).await?;
            let told = json!({ "id": id.to_string(), "secret": secret.shown_once() });
            return Ok(answer::managed(&told));
        }
        let webhook = errand.id.as_deref().and_then(|id| id.parse::<Uuid>().ok());
        let webhook = webhook.ok_or_else(no_webhook)?;
        let (id, of) = (webhook.to_string(), Of { webhook, org: Some(org), by });
        Ok(answer::managed(&match errand.does {
            Does::TestWebhook => {
                let notice = webhooks.test(org, webhook, self.clock.unix_s()).await?;
                json!({ "notice": notice.to_string() })
            }
            Does::RotateWebhook => {
                json!({ "id": id, "secret": webhooks.rotate(of).await?.shown_once() })
            }
            _ => {
                webhooks.remove(of).await?;
                json!({ "id": id })
            }
        }))
    }
}

/// One answer whether there is none or it is another organisation's.
fn no_webhook() -> NotUnderstood {
    let message = "no such webhook of this organisation: `GET /v1/webhooks` lists those there are";
    refused(StatusCode::NOT_FOUND, Reason::NotFound, message.into())
}

impl From<WebhookError> for NotDone {
    fn from(error: WebhookError) -> Self {
        // A refusal is recorded as it is said, and an address may hold a secret of its receiver.
        let (status, reason, said) = match error {
            WebhookError::Database(error) => return error.into(),
            WebhookError::NotFound(_) => return no_webhook().into(),
            WebhookError::Twice { .. } => {
                (StatusCode::CONFLICT, Reason::NotOpen, "this address is registered already".into())
            }
            WebhookError::Many { .. } => (StatusCode::CONFLICT, Reason::NotOpen, error.to_string()),
            WebhookError::Address(_) => {
                (StatusCode::BAD_REQUEST, Reason::BodyInvalid, ADDRESS.to_owned())
            }
            WebhookError::Chance | WebhookError::Config(_) => {
                return Self::Unavailable(Unavailable::overloaded());
            }
        };
        Self::Refused(refused(status, reason, said))
    }
}

const ADDRESS: &str = "`url` is no address that can be told anything: https, up to 512 plain characters, a host that is public, \
                       no user and no `#`";
