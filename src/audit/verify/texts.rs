//! Every text that a decision names is there, is what its digest says, and gave the flows that are kept.

use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{At, Walk, What, store};
use crate::audit::{AuditError, row};

pub(super) async fn check(
    connection: &mut PgConnection,
    walk: &mut Walk,
) -> Result<(), AuditError> {
    let texts = std::mem::take(&mut walk.texts);
    for (digest, (kind, at)) in &texts {
        let kind = *kind;
        walk.report.texts += 1;
        match store::text(connection, digest).await? {
            None => walk.find(at, What::Text, format!("its `{kind}` text is missing")),
            Some((found, _)) if found != kind => {
                walk.find(at, What::Text, format!("its `{kind}` text is kept as `{found}`"));
            }
            Some((_, bytes)) if *Sha256::digest(&bytes) != **digest => {
                walk.find(
                    at,
                    What::Text,
                    format!("its `{kind}` text was edited: the bytes have another digest"),
                );
            }
            Some((_, bytes)) if kind == "detail" => {
                flows(connection, walk, digest, &bytes, at).await?;
            }
            Some(_) => {}
        }
    }
    walk.texts = texts;
    Ok(())
}

async fn flows(
    connection: &mut PgConnection,
    walk: &mut Walk,
    digest: &[u8],
    detail: &[u8],
    at: &At,
) -> Result<(), AuditError> {
    // Only details that are projected already have flows.
    let Some(facts) = walk.details.get(digest) else { return Ok(()) };
    let facts = store::text(connection, facts).await?.unwrap_or_default().1;
    if store::flows(connection, digest).await? != row::flows(detail, &facts) {
        walk.find(
            at,
            What::Row,
            "the flows of its `detail` are not those that follow from the text",
        );
    }
    Ok(())
}
