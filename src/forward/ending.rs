//! The end of an attempt, told exactly once.

use std::sync::Arc;

use super::{Failure, ForwardError, OnEnd, Sent, site::SiteState};

/// Told when consumed; when dropped instead, the caller has gone.
pub struct Ending {
    pub sent: Sent,
    on_end: Option<OnEnd>,
    site: Option<Arc<SiteState>>,
}

impl Ending {
    pub fn new(on_end: OnEnd) -> Self {
        let sent = Sent {
            status: None,
            bytes_out: 0,
            bytes_back: 0,
            reached: false,
            whole: false,
            why: Some("client_gone"),
        };
        Self { sent, on_end: Some(on_end), site: None }
    }

    /// From here on the attempt is a load on the site.
    pub fn at(&mut self, site: Arc<SiteState>) {
        site.began();
        self.site = Some(site);
    }

    pub fn whole(mut self) {
        self.sent.whole = true;
        self.sent.why = None;
    }

    pub fn fail(mut self, failure: Failure) -> ForwardError {
        self.sent.why = Some(failure.code());
        if let Some(site) = &self.site {
            site.failed(failure);
        }
        ForwardError { failure, reached: self.sent.reached }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(site) = self.site.take() {
            site.ended();
        }
        if let Some(on_end) = self.on_end.take() {
            on_end(self.sent.clone());
        }
    }
}
