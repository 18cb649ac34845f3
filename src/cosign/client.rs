//! `add-checkpoint` as the log calls it. No redirects, bounded size and time.

use std::time::Duration;

use http_body_util::Full;
use hyper::http::Uri;
use hyper::{Request, StatusCode};
use tlog::Hash;

use super::{ConfigError, WitnessConfig};
use crate::dial::{Http, HttpError, Limits};

pub(super) struct Client {
    address: Uri,
    http: Http,
}

/// What a witness says, other than that it will not.
pub(super) enum Answer {
    /// Signature lines.
    Lines(String),
    /// The size that it has cosigned.
    Conflict(u64),
}

impl Client {
    pub fn new(config: &WitnessConfig) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Url(config.url.clone());
        let address: Uri = format!("{}/add-checkpoint", config.url.trim_end_matches('/'))
            .parse()
            .map_err(|_| wrong())?;
        let http =
            Http::new(&address, config.ca.as_deref(), None).map_err(|error| match error {
                HttpError::Address => wrong(),
                HttpError::Ca(cause) | HttpError::Certificate(cause) => {
                    ConfigError::Ca { url: config.url.clone(), cause }
                }
            })?;
        Ok(Self { address, http })
    }

    /// An error says in words what the witness answered, or that it did not.
    pub async fn add_checkpoint(
        &self,
        old: u64,
        proof: &[Hash],
        note: &str,
    ) -> Result<Answer, String> {
        let mut body = format!("old {old}\n");
        for hash in proof {
            hash.push_base64(&mut body);
            body.push('\n');
        }
        body.push('\n');
        body.push_str(note);
        let request = Request::post(self.address.clone())
            .body(Full::from(body))
            .map_err(|cause| cause.to_string())?;
        let limits = Limits { bytes: ANSWER_BYTES_MAX, wait: WAIT_MAX };
        let answer = self.http.send(request, limits).await;
        let (status, body) = answer.map_err(|cause| format!("the witness: {cause}"))?;
        let text = String::from_utf8(body.into())
            .map_err(|_| "the witness's answer is not text".to_owned())?;
        match status {
            StatusCode::OK => Ok(Answer::Lines(text)),
            StatusCode::CONFLICT => {
                let size = text.trim_end().parse();
                size.map(Answer::Conflict).map_err(|_| "the witness names no size".to_owned())
            }
            status => Err(format!("the witness answered {status}: {}", said(&text))),
        }
    }
}

/// Its words as far as they fit a line: they go into logs.
fn said(text: &str) -> String {
    let plain = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(SAID_MAX).collect()
}

const SAID_MAX: usize = 200;
const WAIT_MAX: Duration = Duration::from_secs(5);
/// 16 signature lines of 5 kB.
const ANSWER_BYTES_MAX: usize = 80 * 1024;
