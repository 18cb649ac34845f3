//! What can go wrong with a site, what it is called, and whether a caller should try again.

/// Why an attempt failed or was cut. The published codes stand in records and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    #[error("the site's entry changed after the decision")]
    SiteChanged,
    #[error("the body is not the one that was permitted")]
    BodyChanged,
    #[error("the site's entry cannot be used")]
    SiteInvalid,
    #[error("the site cannot be reached")]
    Unreachable,
    #[error("the site could not be reached in time")]
    ConnectTimeout,
    #[error("the site did not prove its identity")]
    Identity,
    #[error("the site closed the connection before it answered")]
    Closed,
    #[error("the site did not answer in time")]
    FirstByteTimeout,
    #[error("the site fell silent in the middle of its answer")]
    IdleTimeout,
    #[error("the site ended its answer in the middle")]
    Broken,
    #[error("the site did not accept the gateway's credentials or receipt")]
    Refused,
    #[error("the site gave an answer that is not carried (an upgrade or a redirect)")]
    Protocol,
    #[error("the site's answer is larger than is accepted")]
    TooLarge,
    /// The token or certificate ended.
    #[error("the authority of the request ended")]
    AuthorityEnded,
    /// Judged again on what is now true, it is refused.
    #[error("what was allowed when the answer began no longer is")]
    NoLongerAllowed,
}

/// No response: why, and whether anything may have reached the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct ForwardError {
    pub failure: Failure,
    /// True when at least the head may have reached the site.
    pub reached: bool,
}

impl ForwardError {
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.failure.status()
    }

    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.failure.code()
    }

    /// Seconds, where a new request may succeed: nothing was sent, and a new decision may choose another site.
    #[must_use]
    pub const fn retry_after_s(&self) -> Option<u32> {
        if self.failure.status() == 503 { Some(RETRY_AFTER_S) } else { None }
    }
}

impl Failure {
    /// 503 nothing was sent and a retry may help, 502 the site is at fault, 504 it was too slow.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::SiteChanged
            | Self::BodyChanged
            | Self::SiteInvalid
            | Self::Unreachable
            | Self::ConnectTimeout => 503,
            Self::FirstByteTimeout | Self::IdleTimeout => 504,
            Self::AuthorityEnded | Self::NoLongerAllowed => 403,
            Self::Identity
            | Self::Closed
            | Self::Broken
            | Self::Refused
            | Self::Protocol
            | Self::TooLarge => 502,
        }
    }

    /// The published code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SiteChanged => "site_changed",
            Self::BodyChanged => "body_changed",
            Self::SiteInvalid => "site_invalid",
            Self::Unreachable => "site_unreachable",
            Self::ConnectTimeout => "site_timeout_connect",
            Self::Identity => "site_identity_mismatch",
            Self::Closed => "site_closed",
            Self::FirstByteTimeout => "site_timeout_first_byte",
            Self::IdleTimeout => "site_timeout_idle",
            Self::Broken => "site_broken",
            Self::Refused => "site_refused",
            Self::Protocol => "site_protocol",
            Self::TooLarge => "response_too_large",
            Self::AuthorityEnded => "authority_ended",
            Self::NoLongerAllowed => "no_longer_allowed",
        }
    }

    /// True for what a bare connection can disprove: a probe that connects clears it.
    pub(super) const fn is_of_connection(self) -> bool {
        matches!(self, Self::Unreachable | Self::ConnectTimeout | Self::Identity)
    }

    /// True for what speaks against the site's health, not against one request.
    pub(super) const fn is_of_site(self) -> bool {
        match self {
            Self::Unreachable
            | Self::ConnectTimeout
            | Self::Identity
            | Self::Closed
            | Self::FirstByteTimeout
            | Self::IdleTimeout
            | Self::Broken => true,
            Self::SiteChanged
            | Self::BodyChanged
            | Self::SiteInvalid
            | Self::Refused
            | Self::Protocol
            | Self::TooLarge
            | Self::AuthorityEnded
            | Self::NoLongerAllowed => false,
        }
    }
}

/// One probe interval is two seconds; another site is chosen at once.
const RETRY_AFTER_S: u32 = 1;
